package load_test

import (
	"context"
	"fmt"
	"math"
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

// hub gives each message to all connections, as its fields say.
type hub struct {
	notBack bool // not to the sender
	// to says what one receiver gets of a message, the n-th of the server; nil: the
	// message. receiver is its place in the order of opening, without the sender, who
	// is -1.
	to func(receiver, n int, payload []byte) [][]byte

	mu       sync.Mutex
	conns    []*server.Conn
	messages int
}

func (h *hub) Open(c *server.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, c)
}

func (h *hub) Close(c *server.Conn, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := slices.Index(h.conns, c); at >= 0 {
		h.conns[at] = nil
	}
}

func (h *hub) Message(from *server.Conn, m ws.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages++
	others := 0
	for _, c := range h.conns {
		receiver := others
		if c == from {
			receiver = -1
		} else {
			others++
		}
		switch {
		case c == nil || c == from && h.notBack:
		case h.to == nil:
			_ = c.Send(m.Opcode, m.Payload) // Close tells
		default:
			for _, payload := range h.to(receiver, h.messages, m.Payload) {
				_ = c.Send(m.Opcode, payload)
			}
		}
	}
}

// broadcasting is a brief broadcast.
func broadcasting(t *testing.T, h server.Handler) result.Plan {
	p := brief(result.Broadcast, serve(t, "127.0.0.1:0", &server.Server{Handler: h}))
	p.Rate, p.ServerPID = 500, -1
	return p
}

// TestPublishers: one, some and all connections publish, to a server that sends a
// message back to its sender or not, from one process or two; all that was due is
// timed at each receiver, and each publisher's messages come to all once.
func TestPublishers(t *testing.T) {
	for _, publishers := range []int{1, 3, -1} {
		for _, processes := range []int{0, 2} {
			for _, notBack := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d publish, %d processes, not back %v", publishers, processes, notBack), func(t *testing.T) {
					everyday(t, fmt.Sprint(publishers, processes, notBack), "1 0 true", "3 2 false", "-1 0 false")
					leavesNothing(t)
					p := broadcasting(t, &hub{notBack: notBack})
					p.Publishers, p.Processes = publishers, processes
					r := run(t, p, load.Watch{})
					wantSane(t, r)
					wantDeliveries(t, r)
					receivers := 20.0
					if notBack {
						receivers = 19
					}
					if processes == 0 {
						wantDue(t, "latency", r.Latency, 500, r.Seconds, receivers)
					} else { // the loops' windows differ by more
						wantNear(t, "latency", float64(r.Latency.Count()), 500*r.Seconds*receivers)
					}
					b := r.Publication
					if b == nil || b.Own == notBack || *b.Missing != 0 || b.Doubled != 0 {
						t.Fatalf("publication %+v", b)
					}
					wantNear(t, "published a second", b.PerSecond, 500)
					if r.Skew.Count() == 0 || r.Last.Count() != r.Skew.Count() {
						t.Errorf("%d skews, %d last arrivals", r.Skew.Count(), r.Last.Count())
					}
					if processes > 0 {
						return // each has a window of its own
					}
					wantNear(t, "skews", float64(r.Skew.Count()), float64(b.Published))
					if r.Skew.Quantile(1) > r.Last.Quantile(1)*1.01 {
						t.Errorf("last arrivals up to %v us, skew up to %v us", r.Last.Quantile(1), r.Skew.Quantile(1))
					}
				})
			}
		}
	}
}

// wantNear allows for what the edges of a window cut off.
func wantNear(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want/10+5 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// lateHub gives messages to its second connection later than to the others.
type lateHub struct {
	hub
	late chan func()
}

const lateness = 20 * time.Millisecond

func (h *lateHub) Message(from *server.Conn, m ws.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for receiver, c := range h.conns {
		switch {
		case c == nil:
		case receiver == 1 && c != from || receiver == 2 && h.conns[1] == from:
			due, payload := time.Now().Add(lateness), slices.Clone(m.Payload)
			h.late <- func() {
				time.Sleep(time.Until(due))
				_ = c.Send(m.Opcode, payload) // Close tells
			}
		default:
			_ = c.Send(m.Opcode, m.Payload)
		}
	}
}

// TestSkew: one receiver that is late shows in the skew and in the last arrival of
// each message, whichever process it is of.
func TestSkew(t *testing.T) {
	for _, processes := range []int{0, 2} {
		t.Run(fmt.Sprint(processes, " processes"), func(t *testing.T) {
			h := &lateHub{late: make(chan func(), 10000)}
			go func() {
				for send := range h.late {
					send()
				}
			}()
			t.Cleanup(func() { close(h.late) })
			p := broadcasting(t, h)
			p.Processes = processes
			r := run(t, p, load.Watch{})
			wantSane(t, r)
			least := 0.99 * float64(lateness/time.Microsecond)
			skew, last := r.Skew.Quantile(0.5), shortest(r.Last)
			if r.Skew.Count() == 0 || skew < least/2 || last < least {
				t.Errorf("%d skews, p50 %v us, last arrivals from %v us; want %v us", r.Skew.Count(), skew, last, least)
			}
		})
	}
}

// shortest is the least of times, in microseconds.
func shortest(l *result.Latency) float64 { return float64(l.Histogram.Min()) / 1e3 }

// TestBroadcastFlaws: what a server loses or doubles is counted, and what it changes
// ends the connection.
func TestBroadcastFlaws(t *testing.T) {
	const lost, doubled = "lost: a message of a publisher did not come before a later one",
		"doubled: a message came again, or behind a later one of its publisher"
	const content = "wrong echo: the payload is not what was sent"
	for name, tt := range map[string]struct {
		gets     func(payload []byte) [][]byte // one receiver instead of message 10
		trouble  result.Trouble
		missing  int64
		doubled  int64
		losesOne bool // connection
	}{
		"lost":           {func(b []byte) [][]byte { return nil }, result.Trouble{What: lost, Count: 1}, 1, 0, false},
		"doubled":        {func(b []byte) [][]byte { return [][]byte{b, b, b} }, result.Trouble{What: doubled, Count: 2}, 0, 2, false},
		"a byte":         {func(b []byte) [][]byte { b[40] ^= 1; return [][]byte{b} }, result.Trouble{What: content, Count: 1}, 0, 0, true},
		"longer":         {func(b []byte) [][]byte { return [][]byte{append(b, 'x')} }, result.Trouble{What: content, Count: 1}, 0, 0, true},
		"shorter":        {func(b []byte) [][]byte { return [][]byte{b[:63]} }, result.Trouble{What: content, Count: 1}, 0, 0, true},
		"without a head": {func(b []byte) [][]byte { return [][]byte{b[:10]} }, result.Trouble{What: content, Count: 1}, 0, 0, true},
		"of nobody":      {func(b []byte) [][]byte { copy(b, "____"); return [][]byte{b} }, result.Trouble{What: content, Count: 1}, 0, 0, true},
		"no letters":     {func(b []byte) [][]byte { copy(b, "a b "); return [][]byte{b} }, result.Trouble{What: content, Count: 1}, 0, 0, true},
		"of another time": {func(b []byte) [][]byte { copy(b[4:], "D"); return [][]byte{b} },
			result.Trouble{What: content, Count: 1}, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, broadcasting(t, &hub{to: func(receiver, n int, payload []byte) [][]byte {
				if receiver == 2 && n == 10 {
					return tt.gets(slices.Clone(payload))
				}
				return [][]byte{payload}
			}}), load.Watch{})
			wantTroubles(t, r, tt.trouble)
			if b := r.Publication; *b.Missing != tt.missing || b.Doubled != tt.doubled {
				t.Errorf("publication %+v, want %d missing and %d doubled", b, tt.missing, tt.doubled)
			}
			if lost := r.Lost == 1; lost != tt.losesOne {
				t.Errorf("%d connections lost", r.Lost)
			}
		})
	}
}

// TestBroadcastEndsEarly: what a run without a measured window did not find out is not 0.
func TestBroadcastEndsEarly(t *testing.T) {
	for _, processes := range []int{0, 2} {
		t.Run(fmt.Sprint(processes, " processes"), func(t *testing.T) {
			leavesNothing(t)
			url, ca := serveTLS(t, &server.Server{Handler: &hub{}})
			p := brief(result.Broadcast, url)
			p.CAFile, p.ServerPID, p.Processes, p.Warmup = ca, -1, processes, time.Minute
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := load.Run(ctx, p, load.Watch{Phase: func(name string) {
				if name == "warm up" {
					time.AfterFunc(100*time.Millisecond, cancel)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			b, h := r.Publication, r.Handshakes
			if result.Known(b.PerSecond) || b.Missing != nil || h.All != 20 || result.Known(h.PerSecond) {
				t.Errorf("publication %+v, handshakes %+v", b, h)
			}
		})
	}
}

// TestTurnedRound: a message behind a later one of its publisher is told.
func TestTurnedRound(t *testing.T) {
	var held []byte
	p := broadcasting(t, &hub{to: func(receiver, n int, payload []byte) [][]byte {
		switch {
		case receiver == 2 && n == 10:
			held = slices.Clone(payload)
			return nil
		case receiver == 2 && n == 11:
			return [][]byte{payload, held}
		}
		return [][]byte{payload}
	}})
	r := run(t, p, load.Watch{})
	if b := r.Publication; *b.Missing != 1 || b.Doubled != 1 || len(r.Troubles) != 2 {
		t.Errorf("publication %+v, troubles %+v", b, r.Troubles)
	}
}

// TestMissingAtTheEnd: messages that no later one shows to be lost are missed, too.
func TestMissingAtTheEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: it waits for what does not come")
	}
	t.Parallel()
	p := broadcasting(t, &hub{to: func(receiver, n int, payload []byte) [][]byte {
		if receiver == 2 && n > 20 {
			return nil
		}
		return [][]byte{payload}
	}})
	r := run(t, p, load.Watch{})
	if b := r.Publication; *b.Missing < 100 || len(r.Troubles) != 1 || int64(r.Troubles[0].Count) != *b.Missing ||
		!strings.HasPrefix(r.Troubles[0].What, "lost: messages that did not arrive within ") {
		t.Errorf("publication %+v, troubles %+v", b, r.Troubles)
	}
}

// TestBehindAtTheEnd: a server that is behind is waited for as long as messages come.
func TestBehindAtTheEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: it waits longer than for messages that are lost")
	}
	t.Parallel()
	p := broadcasting(t, &hub{to: func(receiver, n int, payload []byte) [][]byte {
		if receiver == 2 {
			time.Sleep(50 * time.Millisecond)
		}
		return [][]byte{payload}
	}})
	p.Timeout = 2 * time.Minute
	r := run(t, p, load.Watch{})
	wantTroubles(t, r)
	if b := r.Publication; *b.Missing != 0 || r.Latency.Quantile(1) < 6e6 {
		t.Errorf("publication %+v, latency up to %v us; want none missing, more than 5 s late", b, r.Latency.Quantile(1))
	}
}

// roundHub waits until it has so many messages, and then gives them to all.
type roundHub struct {
	hub
	size int
	most int
	held []ws.Message
}

func (h *roundHub) Message(from *server.Conn, m ws.Message) {
	h.mu.Lock()
	m.Payload = slices.Clone(m.Payload)
	h.held = append(h.held, m)
	h.most = max(h.most, len(h.held))
	var all []ws.Message
	if len(h.held) >= h.size {
		all, h.held = h.held, nil
	}
	h.mu.Unlock()
	for _, m := range all {
		h.hub.Message(from, m)
	}
}

// TestBroadcastInFlight: so many messages are on their way, no more and no less, from one
// publisher or from several.
func TestBroadcastInFlight(t *testing.T) {
	for _, publishers := range []int{1, 3, -1} {
		t.Run(fmt.Sprint(publishers, " publish"), func(t *testing.T) {
			leavesNothing(t)
			h := &roundHub{size: 4}
			p := broadcasting(t, h)
			p.Publishers, p.InFlight = publishers, 4
			r := run(t, p, load.Watch{})
			for _, trouble := range r.Troubles { // those of the last round stay with the server
				if !strings.HasPrefix(trouble.What, "lost: messages that did not arrive within ") {
					t.Errorf("trouble %+v", trouble)
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.most != 4 || r.Publication.Published < 20 || r.Last.Count() == 0 || r.Client.Late != nil {
				t.Errorf("%d held at most, publication %+v, %d last arrivals, late %v", h.most, r.Publication, r.Last.Count(), r.Client.Late)
			}
		})
	}
}

// TestRamp adds connections until the server, which is slow for more than some, is
// too slow.
func TestRamp(t *testing.T) {
	for name, tt := range map[string]struct {
		most    int // that the server can bear
		clients int
		steps   int
		note    string
	}{
		"some": {20, 20, 3, ""},
		"none": {5, 0, 1, "10 clients were too many already"},
		"all":  {100, 40, 4, "all 40 clients kept the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, "some")
			leavesNothing(t)
			p := broadcasting(t, &hub{to: func(receiver, _ int, payload []byte) [][]byte {
				if receiver == tt.most {
					time.Sleep(500 * time.Millisecond)
				}
				return [][]byte{payload}
			}})
			p.Connections, p.RampLimit, p.RampStep, p.Duration = 40, 400*time.Millisecond, 10, 100*time.Millisecond
			r := run(t, p, load.Watch{})
			wantTroubles(t, r)
			if *r.Publication.Clients != tt.clients || len(r.Steps) != tt.steps || !strings.Contains(strings.Join(r.Notes, "\n"), tt.note) {
				t.Errorf("%d clients in %d steps, notes %q", *r.Publication.Clients, len(r.Steps), r.Notes)
			}
			want := r.Steps[max(len(r.Steps)-2, 0)]
			if tt.clients == 40 {
				want = r.Steps[len(r.Steps)-1]
			}
			if r.Last.Count() != want.Last.Count() || r.Seconds != want.Seconds || r.PerSecond != want.PerSecond {
				t.Errorf("%d last arrivals in %v s, want those of %s", r.Last.Count(), r.Seconds, want.Name)
			}
		})
	}
}
