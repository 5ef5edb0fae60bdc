package load_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// losingHub closes the connection of a publisher once it has sent on ten messages. If
// swallow, it does so instead of sending on a message of it.
type losingHub struct {
	hub
	swallow bool
	victim  *server.Conn
	closed  bool
	after   int // messages that came since
}

func (h *losingHub) Message(from *server.Conn, m ws.Message) {
	h.mu.Lock()
	ready := h.messages >= 10 && !h.closed
	if ready && h.victim == nil {
		h.victim = from
	}
	swallow := ready && h.swallow && from == h.victim
	if swallow || ready && !h.swallow && from != h.victim {
		h.closed = true
		h.victim.CloseNow()
	}
	if h.closed {
		h.after++
	}
	h.mu.Unlock()
	if !swallow {
		h.hub.Message(from, m)
	}
}

// TestPublisherLost: a closed loop goes on with as many messages on their way when one of
// its publishers is gone, whatever that one had under way.
func TestPublisherLost(t *testing.T) {
	for _, swallow := range []bool{false, true} {
		for _, inFlight := range []int{1, 4} {
			t.Run(fmt.Sprintf("its message is lost %v, %d in flight", swallow, inFlight), func(t *testing.T) {
				leavesNothing(t)
				h := &losingHub{swallow: swallow}
				p := broadcasting(t, h)
				p.Publishers, p.InFlight, p.Rate, p.Duration, p.Timeout = 3, inFlight, 0, time.Minute, 2*time.Minute
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				over := make(chan struct{})
				go func() {
					defer close(over)
					eventually(t, "messages after the end of a publisher", func() bool {
						h.mu.Lock()
						defer h.mu.Unlock()
						return h.after > 100
					})
					cancel()
				}()
				r, err := load.Run(ctx, p, load.Watch{})
				<-over
				if err != nil || r.Lost != 1 {
					t.Errorf("%d lost, troubles %+v, %v", r.Lost, r.Troubles, err)
				}
			})
		}
	}
}

// givenUpNote begins what a result says of messages that were no longer waited for.
const givenUpNote = "last arrival and skew leave out up to %d messages, which were given up before all connections had them"

// wantGivenUp checks the number of last arrivals, and what the result says of others.
func wantGivenUp(t *testing.T, r *result.Result, arrivals, givenUp int64) {
	t.Helper()
	if note := fmt.Sprintf(givenUpNote, givenUp); r.Last.Count() != arrivals || strings.Join(r.Notes, "\n") != note {
		t.Errorf("%d last arrivals, notes %q, want %d and %q", r.Last.Count(), r.Notes, arrivals, note)
	}
}

// TestLoopBehind: of the messages that one loop has and another one has not, the oldest
// are given up. What comes of them later does no harm.
func TestLoopBehind(t *testing.T) {
	s := load.NewSettling(2)
	const all = load.MaxPending + load.MaxPending/4
	for number := range uint32(all) {
		s.Receive(0, 1, number)
	}
	for number := range uint32(all) {
		for slot := range 2 {
			s.Receive(1, slot, number)
		}
	}
	if kept := s.Kept(); kept > load.MaxPending {
		t.Errorf("%d messages are kept, want at most %d", kept, load.MaxPending)
	}
	const givenUp = load.MaxPending / 2 // the older half; and then nobody minds
	r := s.Report()
	wantGivenUp(t, r, all-givenUp, givenUp)
}

// TestConnectionBehind: of the messages that one connection of a loop has and another one
// has not, the oldest are given up.
func TestConnectionBehind(t *testing.T) {
	s := load.NewSettling(2)
	const more = 10
	for number := range uint32(load.MaxTracked + more) {
		s.Receive(0, 1, number)
		s.Receive(1, 0, number)
	}
	for number := range uint32(load.MaxTracked + more) {
		s.Receive(1, 1, number)
	}
	wantGivenUp(t, s.Report(), load.MaxTracked, more)
}

// TestLastTold: what a child tells its parent last is heard, whatever ends meanwhile.
func TestLastTold(t *testing.T) {
	const children = 10000 // each does two things at once
	if n := load.ToldAtTheEnd(children); n != children {
		t.Errorf("children told of %d messages, of %d", n, children)
	}
	for range 30 { // the parent has a choice
		if count, arrivals := load.HeardOfTheGone(true); count != 2 || arrivals != 1 {
			t.Fatalf("a parent heard of %d messages in a sample, of 2, and of %d arrivals, of 1", count, arrivals)
		}
	}
	if _, arrivals := load.HeardOfTheGone(false); arrivals != 1 {
		t.Errorf("a parent heard of %d arrivals, of 1, after its samples", arrivals)
	}
}
