package server_test

import (
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// hub is an application that sends to all its connections under a lock which its
// Close needs too, as many do.
type hub struct {
	mu     sync.Mutex
	conns  map[*server.Conn]bool
	closed map[ws.Code]int // by code
	reason string          // of the last close with 1008
}

func newHub() *hub { return &hub{conns: map[*server.Conn]bool{}, closed: map[ws.Code]int{}} }

func (h *hub) Open(c *server.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c] = true
}

func (h *hub) Message(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) } // closing: the test sees

func (h *hub) Close(c *server.Conn, err error) {
	var cause *ws.CloseError
	_ = errors.As(err, &cause) // always is one
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	h.closed[cause.Code]++
	if cause.Code == ws.CodePolicy {
		h.reason = cause.Reason
	}
}

func (h *hub) broadcast(p *ws.Prepared) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		_ = c.SendPrepared(p) // whatever becomes of it
	}
}

func (h *hub) count() (open, shed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns), h.closed[ws.CodePolicy]
}

const shedReason = "server short of memory: reading too slowly"

// stairs are connections that read nothing, of which the i-th has i messages
// waiting, and one more that is to be the last straw.
type stairs struct {
	n       *simnet.Network
	srv     *server.Server
	clients []*client
	conns   []*server.Conn
	hub     *hub
}

// stairMessage is larger than a window.
var stairMessage = []byte(strings.Repeat("s", 4000))

func climb(t *testing.T, steps int, budget int64) *stairs {
	t.Helper()
	s := &stairs{hub: newHub()}
	conns := make(chan *server.Conn, 1)
	var addr string
	s.n, addr, s.srv = startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Limits.QueueMemory, srv.Queue.Max = budget, 16<<20
		srv.Upgrade = func(*ws.Request) (server.Accept, error) {
			return server.Accept{Handler: opener{s.hub, conns}}, nil
		}
	})
	for i := range steps {
		s.clients = append(s.clients, dialSim(t, s.n, addr).upgraded())
		s.conns = append(s.conns, <-conns)
		for range i {
			if err := s.conns[i].Send(ws.Binary, stairMessage); err != nil {
				t.Fatal(err)
			}
		}
	}
	idle(t, s.n)
	return s
}

// opener is a handler that also hands its connections to the test.
type opener struct {
	*hub
	conns chan<- *server.Conn
}

func (o opener) Open(c *server.Conn) {
	o.hub.Open(c)
	o.conns <- c
}

// TestShedsTheLargest: what passes the budget closes the connections with the
// largest queues, no more of them than needed, with 1008; all others keep what
// waits for them.
func TestShedsTheLargest(t *testing.T) {
	t.Parallel()
	const steps = 100
	before := climb(t, steps, -1).srv.Stats()
	if before.Queues != steps-1 || before.Backlog < steps*steps/2*4000 || before.Backlog > steps*steps/2*6000 {
		t.Fatalf("%d queues hold %d bytes", before.Queues, before.Backlog)
	}
	budget := before.Backlog + 1000
	s := climb(t, steps, budget)
	if got := s.srv.Stats(); got.Backlog != before.Backlog || got.Limits[server.LimitQueueMemory] != 0 {
		t.Fatalf("%d bytes within the budget, limit met %d times; before %d bytes", got.Backlog, got.Limits[server.LimitQueueMemory], before.Backlog)
	}
	if err := s.conns[1].Send(ws.Binary, stairMessage); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nine tenths are left", func() bool { return s.srv.Stats().Backlog <= budget*9/10 })
	idle(t, s.n)
	shed := int(s.srv.Stats().Limits[server.LimitQueueMemory])
	if most := int(budget / 10 / (steps - 10) / 4000); shed < 2 || shed > most+2 {
		t.Errorf("%d connections shed for a tenth of %d bytes", shed, budget)
	}
	eventually(t, "a Close for each", func() bool { _, n := s.hub.count(); return n == shed })
	if s.hub.reason != shedReason {
		t.Errorf("closed because of %q", s.hub.reason)
	}
	for i, c := range s.clients {
		messages := i
		if i == 1 {
			messages = 2
		}
		if i >= steps-shed { // what had begun, then why it ends
			c.expect(opBinary, string(stairMessage))
			if reason := c.expectClose(1008); reason != shedReason {
				t.Errorf("%d: closed because of %q", i, reason)
			}
			continue
		}
		for range messages {
			c.expect(opBinary, string(stairMessage))
		}
		c.send(frame(opText, "alive"))
		c.expect(opText, "alive")
	}
	eventually(t, "nothing waits", func() bool { return s.srv.Stats().Backlog == 0 && s.srv.Stats().Queues == 0 })
}

// TestShedsALargeFrame: of a frame too large to be kept for the close frame behind
// it nothing more is sent.
func TestShedsALargeFrame(t *testing.T) {
	t.Parallel()
	h := newHub()
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Limits.QueueMemory, srv.Queue.Max = 300_000, 300_000
		srv.Handler = h
	})
	large, small := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	message := func(c *client, size int) {
		c.send(frame(opBinary, pattern(size, size)))
		idle(t, n)
	}
	message(small, 20_000)
	message(large, 200_000)
	message(small, 60_000)
	eventually(t, "a Close", func() bool { _, shed := h.count(); return shed == 1 })
	got := make([]byte, 0, 4000)
	for len(got) == 0 || got[0] != 0 { // until the end
		b := make([]byte, 4000)
		k, err := large.Conn.Read(b)
		if err != nil {
			break
		}
		got = append(got, b[:k]...)
	}
	if header := lengthBytes(fin|opBinary, 0, 200_000); len(got) > 4000 || !strings.HasPrefix(string(header)+pattern(200_000, 200_000), string(got)) {
		t.Errorf("%d bytes came that are not the frame's first", len(got))
	}
	small.expect(opBinary, pattern(20_000, 20_000))
	small.expect(opBinary, pattern(60_000, 60_000))
	eventually(t, "nothing waits", func() bool { return srv.Stats().Backlog == 0 && srv.Stats().Queues == 0 })
	hits(t, srv, server.LimitQueueMemory, 1)
}

// TestShedsTheClosing: connections that wait for the peer's close frame, or that
// have ended, give their queues up too.
func TestShedsTheClosing(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Limits.QueueMemory, srv.Queue.Max = 300_000, 300_000
		srv.Queue.HighWater = -1 // or the end of the stream would be put off
		srv.Handler = opened(conns)
	})
	fill := func(messages int) (*client, *server.Conn) {
		t.Helper()
		c := dialSim(t, n, addr).upgraded()
		conn := <-conns
		for range messages {
			if err := conn.Send(ws.Binary, stairMessage); err != nil {
				t.Fatal(err)
			}
		}
		return c, conn
	}
	closing, conn := fill(20)
	if err := conn.Close(ws.CodeNormal, ""); err != nil {
		t.Fatal(err)
	}
	ending, _ := fill(20)
	ending.closeWrite() // it is over, but for what is still to be written
	idle(t, n)
	reading, _ := fill(14)
	hits(t, srv, server.LimitQueueMemory, 0)
	late, _ := fill(19)
	openConns(t, srv, 3)
	later, _ := fill(19)
	openConns(t, srv, 3)
	hits(t, srv, server.LimitQueueMemory, 2)
	for c, messages := range map[*client]int{reading: 14, late: 19, later: 19} {
		for range messages {
			c.expect(opBinary, string(stairMessage))
		}
	}
	for _, c := range []*client{closing, ending} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing waits", func() bool { return srv.Stats().Backlog == 0 && srv.Stats().Queues == 0 })
}

// TestBroadcastToTheStalled sends to thousands of connections that read nothing,
// from several goroutines, each under the hub's lock: what waits stays within a
// quarter beyond the budget, nothing deadlocks, each is closed once.
func TestBroadcastToTheStalled(t *testing.T) {
	t.Parallel()
	for _, policy := range []server.QueuePolicy{server.CloseWhenFull, server.DropNewest} {
		const budget = 8 << 20
		crowd := scaled(5000)
		h := newHub()
		n, addr, srv := startSim(t, simnet.Config{SendBuffer: 2000}, func(srv *server.Server) {
			srv.Handler, srv.Limits.QueueMemory, srv.Queue.Policy = h, budget, policy
			srv.Keepalive.Interval = -1
		})
		for range crowd {
			dialSim(t, n, addr).upgraded()
		}
		var most atomic.Int64
		stop := make(chan struct{})
		var senders, watcher sync.WaitGroup
		watcher.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					most.Store(max(most.Load(), srv.Stats().Backlog))
					runtime.Gosched()
				}
			}
		})
		for i := range 3 {
			senders.Go(func() {
				p := ws.Prepare(ws.Binary, make([]byte, 1000+5000*i))
				for range 60 {
					h.broadcast(p)
				}
			})
		}
		senders.Wait()
		eventually(t, "the budget is kept", func() bool { return srv.Stats().Backlog <= budget })
		close(stop)
		watcher.Wait()
		if got, bound := most.Load(), int64(budget+budget/4+64<<10); got > bound || got < budget/2 {
			t.Errorf("%d bytes waited at most, want up to %d", got, bound)
		}
		eventually(t, "the handler is told of those that are shed", func() bool {
			open, shed := h.count()
			return shed > 0 && open+shed == crowd
		})
		late := dialSim(t, n, addr).upgraded()
		late.send(frame(opText, "served"))
		late.expect(opText, "served")
	}
}

// TestMemoryLimit fills the heap to near Go's memory limit: the budget shrinks. It
// has the process for itself.
func TestMemoryLimit(t *testing.T) {
	const budget, free = 64 << 20, 256 << 20
	var m runtime.MemStats
	runtime.GC() // sync.Pool lets go in two steps: the second is FreeOSMemory's
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	limit := int64(m.Sys-m.HeapReleased) + free
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	s := startStalled(t, budget, budget/2)
	for range 3 {
		runtime.GC()
		time.Sleep(150 * time.Millisecond) // for the governor to look, and to let it be
	}
	hits(t, s.srv, server.LimitQueueMemory, 0)
	ballast := make([]byte, free)
	eventually(t, "the budget shrinks", func() bool {
		runtime.GC()
		return s.srv.Stats().Limits[server.LimitQueueMemory] > 0 && s.srv.Stats().Backlog <= budget/8
	})
	runtime.KeepAlive(ballast)
	if got := s.srv.Stats().Backlog; got < budget/20 {
		t.Errorf("%d bytes are left of an eighth of %d", got, budget)
	}
}

// startStalled has so much wait for connections that read nothing.
func startStalled(t *testing.T, budget, waits int64) *stalled {
	t.Helper()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Limits.QueueMemory, srv.Handler, srv.Keepalive.Interval = budget, opened(conns), -1
	})
	s := &stalled{srv: srv}
	for srv.Stats().Backlog < waits {
		dialSim(t, n, addr).upgraded()
		s.last = <-conns
		for range 100 {
			if err := s.last.Send(ws.Binary, stairMessage); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

type stalled struct {
	srv  *server.Server
	last *server.Conn
}
