package server_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The tests of this file are of peers that are gone, or half gone, without a word.

// half is the connection below TLS, whose direction can be ended without its close_notify.
func (c *client) half() interface{ CloseWrite() error } {
	return c.under().(interface{ CloseWrite() error })
}

// TestVanished: a peer that is gone without a close frame has ended its connection
// itself, on every transport and with a queue or without one.
func TestVanished(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*testing.T, *client){
		"RST":           func(_ *testing.T, c *client) { c.reset() },
		"FIN":           func(_ *testing.T, c *client) { c.closeWrite() },
		"FIN, no alert": func(t *testing.T, c *client) { failOn(t, c.half().CloseWrite()) },
		"half a frame": func(_ *testing.T, c *client) {
			c.send(frame(opText, "half")[:5])
			c.closeWrite()
		},
	}
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		connect, srv := start(t, func(srv *server.Server) { srv.Handler = opened(conns) })
		count := uint64(0)
		for name, leave := range ways {
			for _, size := range []int{0, 30_000} {
				c := connect().upgraded()
				conn := <-conns
				failOn(t, conn.Send(ws.Binary, make([]byte, size)))
				leave(t, c)
				count++
				eventually(t, name+" is counted", func() bool { return closedBy(srv, 1006, true) == count })
				_ = c.Close()
			}
		}
		if n := closedBy(srv, 1006, false); n != 0 {
			t.Errorf("%d are counted as ours", n)
		}
	})
}

func failOn(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// closedBy is how many connections ended with a code.
func closedBy(srv *server.Server, code ws.Code, remote bool) uint64 {
	for _, c := range srv.Stats().Closes {
		if c.Code == code && c.Remote == remote {
			return c.Count
		}
	}
	return 0
}

// TestCutPeers: a peer that gives no sign of life is gone, and one that takes nothing of a
// queue is cut by us.
func TestCutPeers(t *testing.T) {
	t.Parallel()
	for _, sent := range []int{0, 1_000_000} {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			t.Parallel()
			configure := func(srv *server.Server) { srv.Timeouts.Write, srv.Keepalive.Interval = time.Second, time.Second }
			onSimServers(t, configure, func(t *testing.T, s *simServer) {
				_, _, conn := s.connect()
				failOn(t, conn.Send(ws.Binary, make([]byte, sent)))
				gone := conn.Buffered() == 0
				eventuallyOn(t, s.n, "it is cut", func() bool { return s.srv.Stats().Open == 0 })
				if closedBy(s.srv, 1006, gone) != 1 {
					t.Errorf("%+v, want one by the peer: %v", s.srv.Stats().Closes, gone)
				}
			})
		})
	}
}

// waits is a network that counts how often its pollers return.
type waits struct {
	poller.Gauge
	count atomic.Int64
}

func (w *waits) NewPoller() (poller.Poller, error) {
	p, err := w.Gauge.NewPoller()
	return &waitCounter{p, w}, err
}

type waitCounter struct {
	poller.Poller
	of *waits
}

func (p *waitCounter) Wait(events []poller.Event, timeout time.Duration) (int, error) {
	n, err := p.Poller.Wait(events, timeout)
	p.of.count.Add(1)
	return n, err
}

// TestDeafPeer: a peer on a Unix socket that takes nothing any more, while its own
// direction is open, is ended in the turn that finds out, whatever deadline is next.
func TestDeafPeer(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*server.Server){
		"pinged": func(s *server.Server) { s.Keepalive.Interval = time.Second },
		"idle":   func(s *server.Server) { s.Timeouts.Idle, s.Keepalive.Interval = time.Second, -1 },
		"TLS":    withTLS(func(s *server.Server) { s.Keepalive.Interval = time.Second }),
	} {
		for _, inTurn := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", in a turn: ", inTurn), func(t *testing.T) {
				t.Parallel()
				testDeafPeer(t, set, inTurn)
			})
		}
	}
}

func testDeafPeer(t *testing.T, set func(*server.Server), inTurn bool) {
	engine := &waits{Gauge: systemEngine(t).(poller.Gauge)}
	conns, causes := make(chan *server.Conn, 1), make(chan *ws.CloseError, 1)
	_, srv := start(t, engine, func(s *server.Server) {
		s.Timeouts.Close = time.Hour
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message, close: closeCause(causes)}
		set(s)
	})
	c := dialUnix(t, srv).upgraded()
	conn := <-conns
	failOn(t, c.under().(*net.UnixConn).CloseRead())
	before := engine.count.Load()
	if inTurn {
		c.send(frame(opText, "echo"))
	} else if err := conn.SendText("news"); err != nil {
		t.Errorf("Send: %v, want nil: Close will tell", err)
	}
	eventually(t, "it is freed", func() bool { return srv.Stats().Open == 0 })
	if cause := <-causes; cause.Code != ws.CodeAbnormal {
		t.Errorf("closed with %v, want 1006", cause)
	}
	if n := engine.count.Load() - before; n > 100 { // the watchdog's probes included
		t.Errorf("the pollers have returned %d times", n)
	}
	if closedBy(srv, 1006, true) != 1 {
		t.Errorf("%+v, want one by the peer", srv.Stats().Closes)
	}
}

// dialUnix connects to srv on a Unix socket, on which it then serves as well.
func dialUnix(t *testing.T, srv *server.Server) *client {
	t.Helper()
	path := socketpath.New(t)
	ln, err := srv.Listen("unix", path)
	failOn(t, err)
	go func() { _ = serve(srv, ln) }() // until the server is closed
	conn, err := net.Dial("unix", path)
	failOn(t, err)
	if srv.TLSConfig != nil {
		conn = tls.Client(conn, clientTLS())
	}
	return newClient(t, conn)
}

// TestDeafPeerLastWords: what a peer had sent before a write to it failed is handled, all
// of it, and its end is what the connection ends with.
func TestDeafPeerLastWords(t *testing.T) {
	t.Parallel()
	const count, size = 300, 1 << 10
	for last, want := range map[string]ws.Code{frame(opClose, closePayload(4000, "")): 4000, "": 1006} {
		var deaf atomic.Bool
		script := func(call simnet.Call) (v simnet.Verdict) {
			if call.Op == simnet.OpWrite && deaf.Load() {
				v.Err = syscall.EPIPE
			}
			return v
		}
		for name, start := range map[string]func(*testing.T, simnet.Config, func(*server.Server)) (*simnet.Network, string, *server.Server){
			"plain": startSim, "TLS": startTLSSim,
		} {
			t.Run(fmt.Sprint(name, " ", want), func(t *testing.T) {
				deaf.Store(false)
				s := newStaller()
				conns, causes := make(chan *server.Conn, 10), make(chan *ws.CloseError, 10)
				n, addr, srv := start(t, simnet.Config{RecvBuffer: 4 << 20, Script: script}, func(srv *server.Server) {
					twoWorkers(srv)
					srv.Handler = handler{
						open:    func(c *server.Conn) { conns <- c },
						message: func(_ *server.Conn, m ws.Message) { s.hold(m) },
						close:   closeCause(causes),
					}
				})
				connect := func() *client {
					if srv.TLSConfig != nil {
						return dialTLSSim(t, n, addr)
					}
					return dialSim(t, n, addr)
				}
				a, b, c := connect().upgraded(), connect().upgraded(), connect().upgraded()
				_, _, conn := <-conns, <-conns, <-conns
				s.stall(a, b)
				c.send(arrived(count, size) + last)
				deaf.Store(true)
				failOn(t, conn.SendText("not heard"))
				close(s.release)
				if cause := <-causes; cause.Code != want {
					t.Errorf("closed with %v, want %d", cause, want)
				}
				idle(t, n) // a loop that spins is never idle
				eventually(t, "all are handled", func() bool { return srv.Stats().MessagesIn == count+2 })
				if err := conn.SendText("late"); !errors.Is(err, server.ErrClosed) {
					t.Errorf("Send: %v, want ErrClosed", err)
				}
			})
		}
	}
}

// silence fails the test if anything comes, the end included, within a moment.
func (c *client) silence() {
	c.t.Helper()
	if n := c.r.Buffered(); n > 0 {
		c.t.Fatalf("%d bytes, want nothing yet", n)
	}
	failOn(c.t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	b := make([]byte, 1)
	_, err := c.Conn.Read(b) // c.r is patient
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		c.t.Fatalf("byte %x, error %v, want nothing yet", b, err)
	}
	failOn(c.t, c.SetReadDeadline(time.Now().Add(patience)))
}

// faults are what a connection fails for, and what its peer is told.
var faults = map[string]struct {
	send string
	code uint16
}{
	"bad frame":   {rawFrame(0xf2, "reserved"), 1002},
	"not masked":  {"\x81\x02hi", 1002},
	"bad text":    {frame(opText, "\xff"), 1007},
	"too big":     {frame(opBinary, strings.Repeat("x", 1001)), 1009},
	"too many":    {strings.Repeat(frame(opText, "x"), 150), 1008},
	"a panic":     {frame(opText, "panic"), 1011},
	"too big yet": {string(lengthBytes(fin|opBinary, 0x80, 1<<40)) + "mask and all that follows", 1009},
}

// TestNoEarlyFIN: behind the close frame of a failure our direction is not ended before
// the peer's close frame or end has come: a proxy that ends TLS might drop the frame.
func TestNoEarlyFIN(t *testing.T) {
	t.Parallel()
	answers := map[string]func(*client){
		"close frame": func(c *client) { c.send(frame(opClose, closePayload(1000, ""))) },
		"end":         func(c *client) { c.closeWrite() },
	}
	onAll(t, func(t *testing.T, start starter) {
		connect, _ := start(t, failingSoon)
		for name, fault := range faults {
			for by, answer := range answers {
				c := connect().upgraded()
				c.send(fault.send)
				c.expectSays(fault.code)
				c.silence()
				if name != "too big yet" { // or it is all of that message
					c.send(frame(opText, "what is sent meanwhile") + frame(opPing, ""))
				} else if by == "close frame" {
					continue
				}
				answer(c)
				c.expectEOF()
				_ = c.Close()
			}
		}
	})
}

// failingSoon has a server fail its connections for each of faults.
func failingSoon(srv *server.Server) {
	srv.Limits.Message, srv.Limits.MessageRate, srv.Limits.MessageBurst = 1000, 1, 100
	srv.HTTP = http.NotFoundHandler()
	srv.Handler = handler{open: srv.Handler.Open, close: srv.Handler.Close, message: func(_ *server.Conn, m ws.Message) {
		if string(m.Payload) == "panic" {
			panic("as asked")
		}
	}}
}

// TestLateFIN: without either it comes after two seconds.
func TestLateFIN(t *testing.T) {
	t.Parallel()
	onSimServers(t, failingSoon, func(t *testing.T, s *simServer) {
		for _, fault := range faults {
			c, _, _ := s.connect()
			c.send(fault.send)
			c.expectSays(fault.code)
			s.step(2*time.Second - time.Millisecond)
			c.silence()
			s.step(5 * tickTime) // it was seen two later that its side has the frame
			c.expectEnd()
		}
	})
}
