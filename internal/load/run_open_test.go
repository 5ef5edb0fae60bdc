package load_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// endingHub closes its first connection with a message.
type endingHub struct{ hub }

func (h *endingHub) Message(from *server.Conn, m ws.Message) {
	h.hub.Message(from, m)
	h.mu.Lock()
	over := h.messages == 100
	h.mu.Unlock()
	if over {
		from.CloseNow()
	}
}

// TestNoPublisher: a broadcast ends with the last connection that publishes, and says so,
// in whichever process that was.
func TestNoPublisher(t *testing.T) {
	for _, processes := range []int{0, 2} {
		t.Run(fmt.Sprint(processes, " processes"), func(t *testing.T) {
			leavesNothing(t)
			p := broadcasting(t, &endingHub{})
			p.Duration, p.Timeout, p.Processes = time.Hour, 2*time.Hour, processes
			r, took := runTimed(t, p, load.Watch{})
			wantEarly(t, r, took, "no connection that publishes was open, ")
			wantTrouble(t, r, "the connection that publishes was lost, or never opened")
			if r.Lost != 1 {
				t.Errorf("%d lost, want the one that publishes", r.Lost)
			}
		})
	}
}

// TestNoneAgain: that connections could not be opened again is not told as if none ever
// were.
func TestNoneAgain(t *testing.T) {
	for _, processes := range []int{0, 2} {
		t.Run(fmt.Sprint(processes, " processes"), func(t *testing.T) {
			leavesNothing(t)
			p := hasty(scripted(t, func(p *peer) {
				if p.number >= 4 {
					p.answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
				} else if p.upgrade() {
					p.echo(whole)
				}
			}))
			p.Scenario, p.Processes = result.Wave, processes
			r, took := runTimed(t, p, load.Watch{})
			wantEarly(t, r, took, "no connection could be opened again, ")
			wantEarly(t, r, took, " s into connecting")
			if r.Opened != 4 || r.Failed != 4 {
				t.Errorf("%d opened, %d failed", r.Opened, r.Failed)
			}
		})
	}
}

// TestGreetings: a server may send what it likes where no message is sent to it.
func TestGreetings(t *testing.T) {
	for _, scenario := range []string{result.Storm, result.Wave, result.Churn} {
		t.Run(scenario, func(t *testing.T) {
			leavesNothing(t)
			p := hasty(scripted(t, func(p *peer) {
				if p.upgrade() {
					p.send(whole(ws.Text, []byte("welcome")))
					p.send(whole(ws.Binary, []byte("and good bye")))
					p.echo(whole)
				}
			}))
			p.Scenario = scenario
			if scenario == result.Churn {
				p.Messages = -1
			}
			r := run(t, p, load.Watch{})
			wantTroubles(t, r)
			if r.Count == 0 || r.Lost != 0 || r.EndedEarly != "" {
				t.Errorf("%d done, %d lost, ended early %q", r.Count, r.Lost, r.EndedEarly)
			}
		})
	}
}

// TestServerEndsLast: a run that has come to its end did not end early, though its server
// ended just then.
func TestServerEndsLast(t *testing.T) {
	if got := load.EndedEarly(t.Context(), nil); got != "" {
		t.Errorf("ended early %q, and all was done", got)
	}
	if got := load.EndedEarly(t.Context(), errors.New("canceled")); got != "the server ended" {
		t.Errorf("ended early %q", got)
	}
}
