package load_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// closingHub closes its connection of that number, once, before it sends a message on.
type closingHub struct {
	hub
	number int
	closed bool
}

func (h *closingHub) Message(from *server.Conn, m ws.Message) {
	h.mu.Lock()
	if len(h.conns) > h.number && !h.closed {
		h.closed = true
		_ = h.conns[h.number].Close(ws.CodeNormal, "") // Close tells
	}
	h.mu.Unlock()
	h.hub.Message(from, m)
}

// TestRampLosses: clients that were not there to the end of a step, or missed a message,
// have not kept the limit, however soon the others got theirs.
func TestRampLosses(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: TestRamp with losses")
	}
	var got atomic.Int32
	for name, tt := range map[string]struct {
		server server.Handler
		note   string
		lost   int
	}{
		"a connection": {&closingHub{number: 15}, "of 20 clients only 19 were there when measuring ended", 1},
		"a message": {&hub{to: func(receiver, _ int, payload []byte) [][]byte {
			if receiver == 15 && got.Add(1) == 2 {
				return nil
			}
			return [][]byte{payload}
		}}, "with 20 clients 1 messages did not arrive", 0},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			p := broadcasting(t, tt.server)
			p.Connections, p.RampLimit, p.RampStep, p.Duration = 30, patience, 10, 100*time.Millisecond
			r := run(t, p, load.Watch{})
			if *r.Publication.Clients != 10 || len(r.Steps) != 2 || r.Lost != tt.lost || !slices.Contains(r.Notes, tt.note) {
				t.Errorf("%d clients in %d steps, %d lost, notes %q", *r.Publication.Clients, len(r.Steps), r.Lost, r.Notes)
			}
			if r.Last.Count() != r.Steps[0].Last.Count() {
				t.Errorf("%d last arrivals, want those of %s", r.Last.Count(), r.Steps[0].Name)
			}
		})
	}
}

// TestRampEndsEarly: a ramp whose server ends in its first step tells what was published
// in that, and no number of clients.
func TestRampEndsEarly(t *testing.T) {
	leavesNothing(t)
	h := &hub{}
	p := broadcasting(t, h)
	p.Connections, p.RampLimit, p.RampStep, p.Duration = 20, patience, 10, time.Minute
	r := run(t, p, load.Watch{Phase: func(name string) {
		if name == "measure" {
			time.AfterFunc(100*time.Millisecond, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				for _, c := range h.conns {
					_ = c.Close(ws.CodeGoingAway, "") // Close tells
				}
			})
		}
	}})
	b := r.Publication
	if b.Clients != nil || b.Missing != nil || b.Published == 0 || !(b.PerSecond > 0) {
		t.Errorf("publication %+v, want no clients", b)
	}
	for _, name := range []string{"clients", "missing"} {
		if f, _ := r.Figure(name); f.Known {
			t.Errorf("figure %+v is known", f)
		}
	}
	if r.Plan.Scenario != result.Broadcast || !strings.Contains(r.EndedEarly, "measuring") {
		t.Errorf("ended early: %q", r.EndedEarly)
	}
}
