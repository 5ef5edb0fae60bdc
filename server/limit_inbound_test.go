package server_test

import (
	"math"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// half is the beginning of a message: its header, and size bytes of its whole.
func half(whole, size int) string {
	return frame(opBinary, strings.Repeat("h", whole))[:size]
}

// TestInboundTLS: a record that comes in part is in the account.
func TestInboundTLS(t *testing.T) {
	t.Parallel()
	n, addr, srv := startTLSSim(t, simnet.Config{}, nil)
	c, s := sealedOn(t, n, addr)
	record := s.record(typeData, strings.Repeat("x", 16_000))
	s.send(record[:15_000])
	idle(t, n)
	if got := srv.Stats().Inbound; got < 15_000 {
		t.Errorf("%d bytes are accounted for, want 15,000", got)
	}
	_ = c.Close()
	eventuallyOn(t, n, "nothing is accounted for", func() bool { return srv.Stats().Inbound == 0 })
}

// TestMaxInbound: 200 peers with an unfinished message each, who answer pings, are
// bounded together; those go first that hold the most for the longest, and who only
// reads slowly, or is done with a message in time, is left alone.
func TestMaxInbound(t *testing.T) {
	t.Parallel()
	const budget = 8 << 20
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		s.Limits.InboundMemory = budget
		s.Handler = handler{open: func(c *server.Conn) {
			select {
			case conns <- c:
			default:
			}
		}, message: echo{}.Message}
	})
	reader := dialSim(t, n, addr).upgraded()
	if err := (<-conns).Send(ws.Binary, stairMessage); err != nil {
		t.Fatal(err)
	}
	small := dialSim(t, n, addr).upgraded()
	small.send(half(9000, 8000))
	peers := make([]*client, 100)
	most := int64(0)
	for i := range peers {
		peers[i] = dialSim(t, n, addr).upgraded()
		peers[i].send(half(1<<20-100, 300_000))
		idle(t, n)
		most = max(most, srv.Stats().Inbound)
		n.Advance(100 * time.Millisecond)
	}
	if most > budget+budget/4 {
		t.Errorf("%d bytes were held, the bound is %d", most, budget)
	}
	eventually(t, "there is room again", func() bool { return srv.Stats().Inbound <= budget })
	open := srv.Stats().States.Open
	if open < 15 || open > 30 {
		t.Errorf("%d connections are open, want about as many as fit", open)
	}
	hits(t, srv, server.LimitQueueMemory, 0)
	small.send(half(9000, 9008)[8000:])
	small.expect(opBinary, strings.Repeat("h", 9000))
	last := peers[len(peers)-1]
	last.send(half(1<<20-100, 1<<20-100+14)[300_000:])
	last.expect(opBinary, strings.Repeat("h", 1<<20-100))
	reader.expect(opBinary, string(stairMessage))
	op, payload := peers[0].frame()
	if op != opClose || !strings.Contains(payload, "short of memory") {
		t.Errorf("the first got %x %q, want 1008", op, payload)
	}
	peers[0].done()
	if got := srv.Stats().Limits[server.LimitInbound]; got < 60 {
		t.Errorf("the limit was met %d times", got)
	}
}

// TestMessageTimeout: an unfinished message must bring 4 KiB in 30 s, or its rest;
// pings are no progress, a pause is no delay, and there is no deadline for who owes
// nothing.
func TestMessageTimeout(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		each  string // sent every second
		pause bool
		cut   bool
	}{
		"silence":             {"", false, true},
		"pongs":               {frame(opPong, ""), false, true},
		"a byte a second":     {"h", false, true},
		"200 bytes a second":  {strings.Repeat("h", 200), false, false},
		"silence, but paused": {"", true, false},
	} {
		for _, stream := range []bool{false, true} {
			conns := make(chan *server.Conn, 1)
			causes := make(chan *ws.CloseError, 1)
			n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
				s.Handler = inPieces(stream, handler{open: func(c *server.Conn) { conns <- c }, close: closeCause(causes)})
			})
			c := dialSim(t, n, addr).upgraded()
			conn := <-conns
			if test.each == frame(opPong, "") {
				c.send(fragment(opBinary, "h")) // a pong may stand between fragments only
			} else {
				c.send(half(1<<20, 1000))
			}
			idle(t, n)
			if test.pause {
				conn.PauseReading()
			}
			for second := range 120 {
				pass(t, n, time.Second)
				if srv.Stats().States.Open == 0 {
					if !test.cut || second < 29 || second > 31 {
						t.Errorf("%s, stream %v: cut after %d s", name, stream, second+1)
					}
					break
				}
				c.send(test.each)
			}
			if (srv.Stats().States.Open == 0) != test.cut {
				t.Errorf("%s, stream %v: %d open", name, stream, srv.Stats().States.Open)
			}
			if test.cut {

				if cause := <-causes; cause.Code != ws.CodePolicy {
					t.Errorf("%s: closed with %v, want 1008", name, cause)
				}
				hits(t, srv, server.LimitMessageTimeout, 1)
			}
		}
	}
}

// TestHugeBudgets: no bound is as good as none.
func TestHugeBudgets(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		s.Limits.QueueMemory, s.Limits.InboundMemory, s.Limits.Message = math.MaxInt64, math.MaxInt64, math.MaxInt64
		s.Queue.HighWater = math.MaxInt
	})
	c := dialSim(t, n, addr).upgraded()
	go c.send(frame(opText, pattern(1, 200_000)))
	c.expect(opText, pattern(1, 200_000))
	if got := srv.Stats(); got.Open != 1 || got.Limits[server.LimitQueueMemory]+got.Limits[server.LimitInbound] > 0 {
		t.Errorf("%+v", got)
	}
}

// stuckEngine's writes of 777 bytes wait, with Conn.mu held.
type stuckEngine struct {
	*simnet.Network
	stuck   atomic.Bool
	release chan struct{}
}

func (e *stuckEngine) Write(fd int, p []byte) (int, error) {
	if len(p) == 777 {
		e.stuck.Store(true)
		<-e.release
	}
	return e.Network.Write(fd, p)
}

// TestShedsNoMoreThanNeeded: while the governor waits for the lock of the first it
// sheds, others end their messages. Those that are left are not shed then.
func TestShedsNoMoreThanNeeded(t *testing.T) {
	t.Parallel()
	e := &stuckEngine{Network: simnet.New(simnet.Config{RecvBuffer: 2 << 20}), release: make(chan struct{})}
	conns := make(chan *server.Conn, 10)
	addr, srv := start(t, e, func(s *server.Server) {
		s.Runtime.Loops, s.Limits.InboundMemory, s.Limits.Message = 1, 1<<20, 512<<10
		s.Handler = opened(conns)
	})
	hold := func(size int) *client {
		c := dialSim(t, e.Network, addr).upgraded()
		c.send(half(500_000, size))
		before := srv.Stats().Inbound
		eventually(t, "held", func() bool { return srv.Stats().Inbound >= before && srv.Stats().Inbound > 0 })
		return c
	}
	hold(60_000) // the oldest: ranks first
	first := <-conns
	idle(t, e.Network)
	pass(t, e.Network, 20*time.Second)
	go func() { _ = first.Send(ws.Binary, make([]byte, 773)) }()
	eventually(t, "its lock is held", e.stuck.Load)
	b, c := hold(200_000), hold(200_000)
	idle(t, e.Network)
	pass(t, e.Network, 2*time.Second)
	innocent := hold(200_000)
	idle(t, e.Network)
	last := hold(250_000) // now it is too much: the governor waits for first
	time.Sleep(100 * time.Millisecond)
	for _, c := range []*client{b, c} {
		c.send(half(500_000, 500_014)[200_000:])
	}
	last.send(half(500_000, 500_014)[250_000:])
	eventually(t, "there is room", func() bool { return srv.Stats().Inbound < 400_000 })
	t.Logf("%d of %d bytes are held", srv.Stats().Inbound, 1<<20)
	close(e.release)
	time.Sleep(200 * time.Millisecond)
	if innocent.buffered() > 0 {
		t.Error("one more was shed, with a third of the budget in use")
	}
}

// TestDefaultsHoldOne: what one connection may bring, and have waiting, has room in both
// accounts also where their parts of the memory limit are less. The limit is the
// process's, and looked at when a server starts.
func TestDefaultsHoldOne(t *testing.T) {
	limit := debug.SetMemoryLimit(1 << 20)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, nil)
	debug.SetMemoryLimit(limit)
	c := dialSim(t, n, addr).upgraded()
	payload := pattern(1, 1<<20)
	for rest := frame(opBinary, payload); rest != ""; {
		piece := min(len(rest), 100_000)
		c.send(rest[:piece])
		idle(t, n)
		rest = rest[piece:]
	}
	c.expect(opBinary, payload)
	hits(t, srv, server.LimitInbound, 0)
	hits(t, srv, server.LimitQueueMemory, 0)
}
