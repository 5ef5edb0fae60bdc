package load_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
)

// endless is a plan that is over within the test's patience only if it ends early.
func endless(scenario, url string) result.Plan {
	p := hasty(url)
	p.Scenario, p.Duration, p.Timeout = scenario, time.Hour, 2*time.Hour
	return p
}

// wantEarly checks that the run ended early, soon, for this reason.
func wantEarly(t *testing.T, r *result.Result, took time.Duration, why string) {
	t.Helper()
	if !strings.Contains(r.EndedEarly, why) || took > patience {
		t.Errorf("ended early %q after %v, want %q; troubles %+v, notes %q", r.EndedEarly, took, why, r.Troubles, r.Notes)
	}
}

func wantTrouble(t *testing.T, r *result.Result, what string) {
	t.Helper()
	if !slices.ContainsFunc(r.Troubles, func(t result.Trouble) bool { return strings.Contains(t.What, what) }) {
		t.Errorf("troubles %+v, want one with %q", r.Troubles, what)
	}
}

func wantNote(t *testing.T, r *result.Result, what string) {
	t.Helper()
	if !strings.Contains(strings.Join(r.Notes, "\n"), what) {
		t.Errorf("notes %q, want one with %q", r.Notes, what)
	}
}

// runTimed runs a plan and says how long that took.
func runTimed(t *testing.T, p result.Plan, watch load.Watch) (*result.Result, time.Duration) {
	t.Helper()
	start := time.Now()
	r := run(t, p, watch)
	return r, time.Since(start)
}

// TestNoEcho: a server that reads and sends nothing back is told as soon as that is
// plain, whatever the rate and the duration.
func TestNoEcho(t *testing.T) {
	leavesNothing(t)
	for name, change := range map[string]func(*result.Plan){
		result.Echo: nil, result.Sweep: nil, result.Churn: nil, result.Slow: nil,
		result.Rate:             func(p *result.Plan) { p.Rate = 50_000 },
		"rate, unread":          func(p *result.Plan) { p.Rate, p.MinSize = 50_000, 16<<10 },
		"echo, two processes":   func(p *result.Plan) { p.Processes = 2 },
		"churn, two processes":  func(p *result.Plan) { p.Processes = 2 },
		"idle, short":           func(p *result.Plan) { p.Duration = 100 * time.Millisecond },
		"broadcast, of an echo": nil,
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, result.Echo, "rate, unread", "broadcast, of an echo")
			scenario, _, _ := strings.Cut(name, ",")
			url := scripted(t, func(p *peer) {
				for ok := p.upgrade(); ok; _, _, ok = p.next() {
					if name == "rate, unread" {
						p.hold()
					}
				}
			})
			why, advice := "no message came back within 300ms, of ", scenario+" needs a server that sends each message back"
			if scenario == result.Broadcast {
				url = serve(t, "127.0.0.1:0", &server.Server{Handler: plainEcho{}})
				why, advice = "no message arrived at another connection within 300ms, of ", "to one that sends it back, try echo"
			}
			p := endless(scenario, url)
			p.FirstReply = 300 * time.Millisecond
			if change != nil {
				change(&p)
			}
			r, took := runTimed(t, p, load.Watch{})
			wantEarly(t, r, took, why)
			wantTrouble(t, r, why)
			wantNote(t, r, advice)
			ownOnly := scenario == result.Broadcast && r.Publication.Own
			if r.Count != 0 && !ownOnly || r.Last.Count() != 0 || r.Lost != 0 {
				t.Errorf("%d done, %d at others, %d lost", r.Count, r.Last.Count(), r.Lost)
			}
		})
	}
}

// TestEchoOfAll: a server that sends each message to all is told, with what to try.
func TestEchoOfAll(t *testing.T) {
	url := serve(t, "127.0.0.1:0", &server.Server{Handler: &publisher{conns: map[*server.Conn]struct{}{}}})
	for _, scenario := range []string{result.Echo, result.Rate} {
		r, took := runTimed(t, endless(scenario, url), load.Watch{})
		if !strings.Contains(r.EndedEarly, " connections got other messages than they sent") { // unless all of them did at once
			wantEarly(t, r, took, "all connections had ended ")
		}
		wantNote(t, r, "for one that sends it to all there is broadcast")
	}
}

// TestServerKilled: the run ends with its server, says when, and knows nothing of what
// the server used.
func TestServerKilled(t *testing.T) {
	leavesNothing(t)
	for name, change := range map[string]func(*result.Plan){
		result.Echo: nil, result.Rate: nil, result.Churn: nil, result.Idle: nil, result.Sweep: nil,
		"echo, two processes": func(p *result.Plan) { p.Processes = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, result.Echo, "echo, two processes")
			scenario, _, _ := strings.Cut(name, ",")
			url, srv := startEcho(t)
			p := endless(scenario, url)
			p.ServerPID = srv.Pid
			if change != nil {
				change(&p)
			}
			var phase string
			r, took := runTimed(t, p, load.Watch{Phase: func(name string) {
				if name == "measure" || name == "idle" {
					phase = map[string]string{"measure": "measuring", "idle": "the idle time"}[name]
					time.AfterFunc(500*time.Millisecond, func() { _ = srv.Kill() })
				}
			}})
			why := fmt.Sprintf("the server's process %d (", srv.Pid)
			wantEarly(t, r, took, why)
			wantEarly(t, r, took, " s into "+phase)
			wantTrouble(t, r, why)
			if r.Server == nil || result.Known(r.Server.CPU) || result.Known(r.Server.Cores) || r.Server.After != 0 {
				t.Errorf("server %+v, want that nothing is known of a server that was killed", r.Server)
			}
			if phase == "measuring" && scenario != result.Sweep && (r.Count == 0 || r.Seconds > patience.Seconds()) {
				t.Errorf("%d done in %v s, want what was done before the end", r.Count, r.Seconds)
			}
		})
	}
}

// TestNothingOpens: connections that fail, one after the other, are not waited for, nor
// are those of churn after the server's end.
func TestNothingOpens(t *testing.T) {
	leavesNothing(t)
	p := endless(result.Echo, refusing(t))
	p.ConnectRate, p.Connections = 20, 1000
	r, took := runTimed(t, p, load.Watch{})
	wantEarly(t, r, took, "no connection could be opened within 1s")
	wantNote(t, r, "nobody listens on 127.0.0.1:")
	url, srv := startEcho(t)
	r, took = runTimed(t, endless(result.Churn, url), load.Watch{Phase: func(name string) {
		if name == "measure" {
			time.AfterFunc(200*time.Millisecond, func() { _ = srv.Kill() })
		}
	}})
	wantEarly(t, r, took, "no connection could be opened within 1s, ")
}

// TestLocalhost: whichever of its addresses is listened on is loaded, and told.
func TestLocalhost(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		url := serve(t, address, &server.Server{Handler: plainEcho{}})
		listening := strings.Trim(strings.TrimPrefix(url, "ws://"), "/")
		host, port, err := net.SplitHostPort(listening)
		if err != nil {
			t.Fatal(err)
		}
		for _, processes := range []int{0, 2} {
			p := brief(result.Echo, "ws://localhost:"+port)
			p.Processes = processes
			r := run(t, p, load.Watch{})
			wantSane(t, r)
			wantNote(t, r, host+" is loaded, the first that listens")
			if r.Address != listening {
				t.Errorf("%s is loaded, want %s", r.Address, listening)
			}
		}
	}
}
