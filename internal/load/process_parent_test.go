package load_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The test binary is a child of its runs too. With childRole set it is a bad one.
const (
	childVariable = "MILLBENCH_CHILD"
	childRole     = "MILLRACE_BENCH_TEST_CHILD"
	childFile     = "MILLRACE_BENCH_TEST_FILE" // a mortal child that can remove it dies
)

func init() {
	if os.Getenv(childVariable) != "" {
		misbehave(os.Getenv(childRole))
	}
	if isChild, exitCode := load.RunChild(); isChild {
		os.Exit(exitCode)
	}
	// Else each child would wait a second at its end, in case of races to come.
	_ = os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
}

func misbehave(role string) {
	switch role {
	case "mortal":
		go func() {
			for os.Remove(os.Getenv(childFile)) != nil {
				time.Sleep(5 * time.Millisecond)
			}
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			panic(err)
		}()
		return
	case "exits":
		fmt.Fprintln(os.Stderr, "no room\nnowhere")
		os.Exit(3)
	case "panics":
		panic("at the disco")
	case "babbles":
		fmt.Println("hello")
	case "is elsewhere":
		fmt.Println(`{"reached":{"at":"the end"}}`)
	case "repeats itself":
		fmt.Println(strings.Repeat(`{"reached":{"at":"connect"}}`, 100))
	case "hangs up":
		_ = os.Stdout.Close() // all it could say was said
	case "is silent":
	default:
		return
	}
	time.Sleep(time.Hour)
}

// TestProcesses runs scenarios shared among processes: the results must be as if
// one had done it all.
func TestProcesses(t *testing.T) {
	for _, tt := range []struct {
		scenario  string
		processes []int
		check     func(*testing.T, *result.Result, *echo)
	}{
		{result.Echo, []int{2, 3}, wantEcho},
		{result.Rate, []int{2, 3}, wantRate},
		{result.Idle, []int{2, 3}, wantIdle},
		{result.Churn, []int{2, 3}, wantChurn},
		{result.Storm, []int{2}, wantStorm},
		{result.Wave, []int{2}, wantWave},
		{result.Slow, []int{2, 3}, wantSlow},
		{result.Receive, []int{2}, wantReceive},
	} {
		for _, n := range tt.processes {
			t.Run(fmt.Sprintf("%s/%d", tt.scenario, n), func(t *testing.T) {
				everyday(t, fmt.Sprintf("%s/%d", tt.scenario, n), "echo/2", "receive/2")
				leavesNothing(t)
				e := &echo{}
				srv := &server.Server{Handler: e}
				if tt.scenario == result.Receive {
					srv.Handler = newTicker(t)
				}
				p := brief(tt.scenario, serve(t, "127.0.0.1:0", srv))
				if tt.scenario == result.Rate {
					p.Connections = 18 // equally many in each loop, so that all have the same weight in Seconds
				}
				p.Processes, p.ServerPID = n, -1 // the server's process is the parent's here
				r := run(t, p, load.Watch{})
				wantSane(t, r)
				tt.check(t, r, e)
			})
		}
	}
}

// TestProcessesWatched looks at a run, and at its server from outside.
func TestProcessesWatched(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: TestWatch with processes")
	}
	url, srv := startEcho(t)
	p := result.Plan{
		Scenario: result.Echo, URL: url, Connections: 31, Processes: 2,
		Warmup: time.Millisecond, Duration: 2500 * time.Millisecond, ServerPID: srv.Pid,
	}
	var phases []string
	var samples []result.Sample
	r := run(t, p, load.Watch{
		Phase:  func(name string) { phases = append(phases, name) },
		Sample: func(s result.Sample) { samples = append(samples, s) },
	})
	wantSane(t, r)
	if want := []string{"connect", "warm up", "measure", "close"}; !slices.Equal(phases, want) {
		t.Errorf("phases %q, want %q", phases, want)
	}
	if len(samples) == 0 || len(r.Samples) <= len(samples) {
		t.Errorf("%d samples watched, %d in the result", len(samples), len(r.Samples))
	}
	wantInOrder(t, r.Samples)
	count := int64(0)
	for _, s := range r.Samples {
		if s.Measured && (s.Connections != 31 || s.RSS == 0) {
			t.Errorf("sample %+v", s)
		}
		count += s.Count
	}
	if count < r.Count {
		t.Errorf("%d messages in the samples, %d in the window", count, r.Count)
	}
	if r.Server == nil || r.Server.PID != srv.Pid || r.Server.Before == 0 || r.Server.After == 0 || r.Server.Cores <= 0 {
		t.Errorf("server %+v", r.Server)
	}
	if r.Client.Cores <= 0 || r.Client.Memory == 0 {
		t.Errorf("client %+v", r.Client)
	}
}

// bounded is a server that takes at most 1,000 messages a second.
type bounded struct {
	plainEcho
	mu sync.Mutex
}

func (b *bounded) Message(c *server.Conn, m ws.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	time.Sleep(time.Millisecond)
	b.plainEcho.Message(c, m)
}

// TestProcessesSweep: all go from rate to rate together.
func TestProcessesSweep(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: a sweep and processes have tests of their own")
	}
	leavesNothing(t)
	p := brief(result.Sweep, serve(t, "127.0.0.1:0", &server.Server{Handler: &bounded{}}))
	p.Connections, p.Processes, p.Duration, p.SweepLimit = 6, 2, 200*time.Millisecond, time.Minute
	p.Rate, p.SweepFactor, p.SweepPrecision, p.ServerPID, p.Timeout = 100, 8, 0.5, -1, 3*patience
	r := run(t, p, load.Watch{})
	wantSane(t, r)
	wantMessages(t, r)
	for _, s := range r.Steps {
		wantDue(t, s.Name, s.Latency, s.Offered, s.Seconds, 1)
	}
	if r.Knee == nil { // a very bad moment
		t.Skipf("no rate held on this machine: %+v", r.Steps)
	}
	wantStepsOf(t, r)
	if r.Knee.Low > 1200 { // the server does not do more than 1,000, and a try has a margin
		t.Errorf("knee %+v", r.Knee)
	}
}

// TestProcessesServerEnds: the server goes in the middle.
func TestProcessesServerEnds(t *testing.T) {
	leavesNothing(t)
	url, srv := startEcho(t)
	p := brief(result.Echo, url)
	p.Processes, p.Duration, p.ServerPID = 2, time.Minute, -1
	r := run(t, p, load.Watch{Phase: func(name string) {
		if name == "measure" {
			time.AfterFunc(500*time.Millisecond, func() { _ = srv.Kill() })
		}
	}})
	lost := 0
	for _, trouble := range r.Troubles {
		lost += trouble.Count
		if !strings.Contains(trouble.What, "the server") {
			t.Errorf("trouble %+v, want only what the server did", trouble)
		}
	}
	if lost != 20 || r.Lost != 20 || r.Count == 0 || r.Seconds > 30 {
		t.Errorf("%d lost, troubles %+v, %d messages in %v s", r.Lost, r.Troubles, r.Count, r.Seconds)
	}
}

func TestProcessesInterrupted(t *testing.T) {
	leavesNothing(t)
	p := brief(result.Echo, serve(t, "127.0.0.1:0", &server.Server{Handler: plainEcho{}}))
	p.Processes, p.Duration, p.ServerPID = 2, time.Minute, -1
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := load.Run(ctx, p, load.Watch{Phase: func(name string) {
		if name == "measure" {
			time.AfterFunc(200*time.Millisecond, cancel)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantSane(t, r)
	if len(r.Notes) == 0 || !strings.HasPrefix(r.Notes[0], "interrupted: ") || r.Seconds > 30 { // a busy machine may have more to note
		t.Errorf("notes %q, %v s", r.Notes, r.Seconds)
	}
}

// TestChildDies: one of two is killed in the middle; the other goes on.
func TestChildDies(t *testing.T) {
	leavesNothing(t)
	file := filepath.Join(t.TempDir(), "die")
	t.Setenv(childRole, "mortal")
	t.Setenv(childFile, file)
	for _, scenario := range []string{result.Echo, result.Wave} {
		e := &echo{}
		p := brief(scenario, serve(t, "127.0.0.1:0", &server.Server{Handler: e}))
		p.Processes, p.Duration = 2, 500*time.Millisecond
		r := run(t, p, load.Watch{Phase: func(name string) {
			if name == "measure" || name == "stay" {
				_ = os.WriteFile(file, nil, 0o600) // if not, no child dies
			}
		}})
		if scenario == result.Echo {
			wantTroubles(t, r, result.Trouble{What: "a child process ended: signal: killed", Count: 1})
			if r.Opened != 10 || r.Peak != 10 || r.Lost != 0 || r.Count == 0 || r.Latency.Count() != r.Count {
				t.Errorf("%d opened, at most %d at once, %d lost, %d of %d timed; want what the living one did",
					r.Opened, r.Peak, r.Lost, r.Latency.Count(), r.Count)
			}
			if math.Abs(r.PerSecond*r.Seconds-float64(r.Count)) > 1 {
				t.Errorf("%v a second for %v s, want %d", r.PerSecond, r.Seconds, r.Count)
			}
		} else { // one dies in the first, the other in the second
			wantTroubles(t, r, result.Trouble{What: "a child process ended: signal: killed", Count: 2})
		}
		_ = os.Remove(file)
	}
}

// TestBadChildren: whatever the children do, the run ends, and says why.
func TestBadChildren(t *testing.T) {
	url := serve(t, "127.0.0.1:0", &server.Server{Handler: plainEcho{}})
	for role, why := range map[string]string{
		"exits":          "exit status 3: no room",
		"panics":         "exit status 2: panic: at the disco",
		"babbles":        "it says what makes no sense: invalid character 'h' looking for beginning of value",
		"is elsewhere":   `it is at "the end", and its parent at "connect"`,
		"repeats itself": "it says what makes no sense: it is not its turn",
		"hangs up":       "it said no more, but did not exit",
		"is silent":      "it did not stop when told to",
	} {
		t.Run(role, func(t *testing.T) {
			everyday(t, role, "exits", "babbles", "repeats itself")
			leavesNothing(t)
			t.Setenv(childRole, role)
			p := brief(result.Echo, url)
			p.Processes = 2
			want := []result.Trouble{{What: "a child process ended: " + why, Count: 2}}
			if role == "is silent" {
				p.Timeout = 300 * time.Millisecond
				want = append(want, result.Trouble{What: `the run did not end within 300ms: it was still at "connect"`, Count: 1})
			}
			wantTroubles(t, run(t, p, load.Watch{}), want...)
		})
	}
}

func TestProcessesErrors(t *testing.T) {
	const url = "ws://127.0.0.1:1/"
	for _, p := range []result.Plan{
		{Scenario: result.Broadcast, URL: url, Processes: 2, InFlight: 4},
		{Scenario: result.Echo, URL: url, Processes: 3, Connections: 2},
		{Scenario: result.Echo, URL: url, Processes: -1},
		{Scenario: result.Echo, URL: url, Processes: 1001, Connections: 2000},
	} {
		_, err := load.Run(t.Context(), p, load.Watch{})
		var wrong *load.PlanError
		if !errors.As(err, &wrong) || wrong.Field != "Processes" {
			t.Errorf("%s with %d connections in %d processes: %v, want an error of Processes", p.Scenario, p.Connections, p.Processes, err)
		}
	}
}

// TestRunChild: what is no child is not taken for one, and what is one has none.
func TestRunChild(t *testing.T) {
	if isChild, exitCode := load.RunChild(); isChild || exitCode != 0 {
		t.Errorf("RunChild: %v, %d", isChild, exitCode)
	}
	t.Setenv(childVariable, "1")
	_, err := load.Run(t.Context(), result.Plan{Scenario: result.Echo, URL: "ws://127.0.0.1:1/", Processes: 2}, load.Watch{})
	if err == nil || !strings.Contains(err.Error(), "RunChild") {
		t.Errorf("a child with children: %v", err)
	}
}
