package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The tests of this file end connections whose peer is behind a slow link. On simnet
// the link is as fast as the client reads (AckOnRead), by simnet's clock; where its
// window is small the server has a queue, where it is large all is with the kernel.

// slowLink is the client's end: each read takes a piece, and the time for it.
type slowLink struct {
	*simnet.Conn
	clock *simClock
	piece int
	each  time.Duration // 0: as fast as it can
}

func (l *slowLink) Read(p []byte) (int, error) {
	if l.each > 0 {
		l.clock.pass(l.each)
	}
	return l.Conn.Read(p[:min(len(p), l.piece)])
}

// simServer is a server on simnet.
type simServer struct {
	simClock
	addr   string
	conns  chan *server.Conn
	causes chan *ws.CloseError
	done   chan error // of a drain
}

// slow is how the links of this file are: 20 KB a second.
const (
	slowPiece = 2 << 10
	slowEach  = tickTime
)

// onSimServers runs a test on servers that differ in how the bytes travel and where
// they wait.
func onSimServers(t *testing.T, configure func(*server.Server), test func(*testing.T, *simServer)) {
	t.Helper()
	starts := map[string]func(*testing.T, simnet.Config, func(*server.Server)) (*simnet.Network, string, *server.Server){
		"plain": startSim, "TLS": startTLSSim,
	}
	for transport, start := range starts {
		for place, window := range map[string]int{"queue": 16 << 10, "kernel": 4 << 20} {
			t.Run(fmt.Sprint(transport, " ", place), func(t *testing.T) {
				s := &simServer{simClock: simClock{t: t}, conns: make(chan *server.Conn, 10), causes: make(chan *ws.CloseError, 10)}
				s.n, s.addr, s.srv = start(t, simnet.Config{SendBuffer: window, AckOnRead: true}, func(srv *server.Server) {
					srv.Handler = handler{open: func(c *server.Conn) { s.conns <- c }, message: echo{}.Message, close: closeCause(s.causes)}
					configure(srv)
				})
				test(t, s)
			})
		}
	}
}

// connect opens a connection over a link that becomes slow later.
func (s *simServer) connect() (*client, *slowLink, *server.Conn) {
	s.t.Helper()
	raw, err := s.n.Dial(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	link := &slowLink{Conn: raw, clock: &s.simClock, piece: 1 << 20}
	conn := net.Conn(link)
	if s.srv.TLSConfig != nil {
		conn = tls.Client(link, clientTLS())
	}
	c := newClient(s.t, conn).upgraded()
	s.rest()
	return c, link, <-s.conns
}

// large is a message that takes a slow link 50 s.
var large = pattern(7, 1_000_000)

// connectBusy is connect, with a large message under way.
func (s *simServer) connectBusy() (*client, *slowLink, *server.Conn) {
	s.t.Helper()
	c, link, conn := s.connect()
	link.piece, link.each = slowPiece, slowEach
	if err := conn.Send(ws.Binary, []byte(large)); err != nil {
		s.t.Fatal(err)
	}
	s.rest()
	return c, link, conn
}

// ends are how a connection may end while something is under way to its peer.
var ends = []struct {
	name  string
	end   func(s *simServer, c *client, conn *server.Conn)
	says  uint16 // what our close frame says; 0: there is none
	waits bool   // for the peer's answer to it
	cause ws.Code
}{
	{
		name: "Close",
		end: func(s *simServer, _ *client, conn *server.Conn) {
			if err := conn.Close(ws.CodeNormal, ""); err != nil {
				s.t.Error(err)
			}
		},
		says: 1000, waits: true, cause: 1000,
	},
	{
		name: "drain",
		end: func(s *simServer, _ *client, _ *server.Conn) {
			s.done = beginDrain(s.t, s.srv, server.DrainOptions{})
		},
		says: 1001, waits: true, cause: 1001,
	},
	{
		name: "the peer's close frame",
		end:  func(_ *simServer, c *client, _ *server.Conn) { c.send(frame(opClose, closePayload(4000, "bye"))) },
		says: 4000, cause: 4000,
	},
	{
		name:  "the peer's end",
		end:   func(_ *simServer, c *client, _ *server.Conn) { c.closeWrite() },
		cause: 1006,
	},
	{
		name: "the peer's fault",
		end:  func(_ *simServer, c *client, _ *server.Conn) { c.send(rawFrame(0xf2, "")) },
		says: 1002, waits: true, cause: 1002,
	},
}

// expectSays reads a close frame with the code, whatever its reason.
func (c *client) expectSays(code uint16) {
	c.t.Helper()
	op, payload := c.frame()
	if op != opClose || len(payload) < 2 || payload[:2] != closePayload(code, "") {
		c.t.Fatalf("frame %x %.80q, want a close frame with %d", op, payload, code)
	}
}

// uncut fails the test if a deadline of an end was met.
func (s *simServer) uncut() {
	s.t.Helper()
	for _, limit := range []server.Limit{server.LimitWriteTimeout, server.LimitCloseTimeout, server.LimitPingTimeout, server.LimitQueue} {
		hits(s.t, s.srv, limit, 0)
	}
}

// TestSlowLink: what was accepted for sending arrives, then our close frame if there
// is one, however the connection ends and though that takes a hundred times as long
// as the timeouts are.
func TestSlowLink(t *testing.T) {
	t.Parallel()
	for _, test := range ends {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			configure := func(srv *server.Server) {
				srv.Timeouts.Close, srv.Timeouts.Write, srv.Keepalive.Interval = 300*time.Millisecond, 500*time.Millisecond, time.Second
			}
			onSimServers(t, configure, func(t *testing.T, s *simServer) {
				c, link, conn := s.connectBusy()
				test.end(s, c, conn)
				c.expect(opBinary, large)
				if test.says != 0 {
					c.expectSays(test.says)
				}
				link.each = 0
				if test.waits {
					c.send(frame(opClose, closePayload(test.says, "")))
				}
				c.expectEOF()
				_ = c.Close()
				eventuallyOn(t, s.n, "it is freed", func() bool { return s.srv.Stats().Open == 0 })
				s.uncut()
				if cause := <-s.causes; cause.Code != test.cause {
					t.Errorf("closed with %v, want %d", cause, test.cause)
				}
				if s.done != nil {
					expectDrained(t, s.done, nil)
					expectProgress(t, s.srv, server.DrainProgress{Phase: server.PhaseStopped, Closed: 1})
				}
			})
		})
	}
}

// TestStuckLink: a peer that takes nothing, or less than 4 KiB within Timeouts.Write,
// is cut by that, however the connection ends.
func TestStuckLink(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	for _, test := range ends {
		for _, taken := range []int{0, 300} { // a second
			t.Run(fmt.Sprint(test.name, ", ", taken, " bytes a second"), func(t *testing.T) {
				t.Parallel()
				configure := func(srv *server.Server) {
					srv.Timeouts.Close, srv.Timeouts.Write = 300*time.Millisecond, timeout
				}
				onSimServers(t, configure, func(t *testing.T, s *simServer) {
					c, link, conn := s.connectBusy()
					test.end(s, c, conn)
					s.rest()
					for range timeout/time.Second - 1 {
						s.pass(time.Second)
						_, _ = link.Conn.TryRead(make([]byte, taken))
					}
					s.pass(time.Second - time.Millisecond)
					s.uncut()
					if s.srv.Stats().Open != 1 {
						t.Error("it is gone before its time")
					}
					s.pass(time.Millisecond + 2*tickTime)
					hits(t, s.srv, server.LimitWriteTimeout, 1)
					if s.srv.Stats().Open != 0 {
						t.Errorf("it is there still: %+v", s.srv.Stats().States)
					}
					if s.done != nil {
						expectDrained(t, s.done, nil)
						expectProgress(t, s.srv, server.DrainProgress{Phase: server.PhaseStopped, Cut: 1})
					}
				})
			})
		}
	}
}

// TestLastWordArrives: the peer's own time, Timeouts.Close for the answer to a close frame
// and two seconds behind a failure, begins when its side has our last word. If it has
// passed, the peer is cut.
func TestLastWordArrives(t *testing.T) {
	t.Parallel()
	const closeTimeout, lastLook = 700 * time.Millisecond, time.Second
	configure := func(srv *server.Server) { srv.Timeouts.Close, srv.Timeouts.Write = closeTimeout, 500*time.Millisecond }
	for _, test := range ends {
		if !test.waits {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			onSimServers(t, configure, func(t *testing.T, s *simServer) {
				part, cut := closeTimeout, uint64(1)
				if test.says == 1002 {
					part, cut = 2*time.Second, 0 // it was told why, and is not expected to say anything
				}
				c, _, conn := s.connectBusy()
				test.end(s, c, conn)
				c.expect(opBinary, large)
				c.expectSays(test.says)
				s.step(part - time.Millisecond)
				s.uncut()
				if s.srv.Stats().Open != 1 {
					t.Error("it is gone before its time")
				}
				s.step(lastLook + 3*tickTime)
				hits(t, s.srv, server.LimitWriteTimeout, 0)
				hits(t, s.srv, server.LimitCloseTimeout, cut)
				if s.srv.Stats().Open != 0 {
					t.Errorf("it is there still: %+v", s.srv.Stats().States)
				}
			})
		})
	}
}

// TestSlowLinkDrainDeadline: a drain's deadline waits for nobody.
func TestSlowLinkDrainDeadline(t *testing.T) {
	t.Parallel()
	onSimServers(t, func(*server.Server) {}, func(t *testing.T, s *simServer) {
		_, _, conn := s.connectBusy()
		s.done = beginDrain(t, s.srv, server.DrainOptions{Timeout: 20 * time.Millisecond})
		expectDrained(t, s.done, context.DeadlineExceeded)
		expectProgress(t, s.srv, server.DrainProgress{Phase: server.PhaseStopped, Cut: 1})
		if err := conn.SendText("late"); !errors.Is(err, server.ErrClosed) {
			t.Errorf("Send: %v, want ErrClosed", err)
		}
	})
}

// TestSlowPeerLives: while a peer's side takes our bytes steadily it lives, though its
// pongs stand behind them; when it takes nothing, or too little, it is dead after two
// silent intervals, as is one that has all of it and says nothing.
func TestSlowPeerLives(t *testing.T) {
	t.Parallel()
	const interval = 3 * time.Second
	configure := func(srv *server.Server) { srv.Keepalive.Interval, srv.Timeouts.Write = interval, interval }
	t.Run("steady", func(t *testing.T) {
		t.Parallel()
		onSimServers(t, configure, func(t *testing.T, s *simServer) {
			c, link, conn := s.connectBusy()
			if err := conn.SendText("behind it"); err != nil {
				t.Fatal(err)
			}
			c.expect(opBinary, large)
			c.expect(opText, "behind it")
			link.each = 0
			for range 10 { // from here on it answers
				for link.Buffered()+c.r.Buffered() > 0 {
					c.expect(opPing, "")
				}
				c.send(frame(opPong, ""))
				s.pass(time.Second)
			}
			for link.Buffered()+c.r.Buffered() > 0 {
				c.expect(opPing, "")
			}
			c.send(frame(opPong, ""))
			s.rest()
			s.uncut()
			s.step(2*interval - time.Millisecond)
			s.uncut()
			s.step(time.Millisecond + 2*tickTime)
			hits(t, s.srv, server.LimitPingTimeout, 1)
		})
	})
	for _, taken := range []int{0, 300} { // a second, which is too little
		t.Run(fmt.Sprint(taken, " bytes a second"), func(t *testing.T) {
			t.Parallel()
			onSimServers(t, configure, func(t *testing.T, s *simServer) {
				_, link, _ := s.connectBusy()
				for range 4 * interval / time.Second {
					s.pass(time.Second)
					_, _ = link.Conn.TryRead(make([]byte, taken)) // it may be cut
				}
				if s.srv.Stats().Open != 0 {
					t.Error("it is taken for alive")
				}
			})
		})
	}
}

// TestFullKernel: while the kernel takes nothing more for a queue, what the peer's side
// takes of what it has is progress; less than 4 KiB within Timeouts.Write is none.
func TestFullKernel(t *testing.T) {
	t.Parallel()
	const kernel, timeout = 200_000, time.Second
	for _, each := range []time.Duration{slowEach, timeout} { // for 2 KiB
		t.Run(fmt.Sprint(slowPiece, " bytes each ", each), func(t *testing.T) {
			t.Parallel()
			var room atomic.Bool
			conns := make(chan *server.Conn, 1)
			script := func(call simnet.Call) (v simnet.Verdict) {
				switch {
				case call.Op != simnet.OpWrite || room.Load():
				case call.Offset < kernel:
					v.Limit = int(kernel - call.Offset)
				default:
					v.Err = poller.ErrAgain // and the edge is when there is room
				}
				return v
			}
			n, addr, srv := startSim(t, simnet.Config{SendBuffer: 4 << 20, AckOnRead: true, Script: script}, func(srv *server.Server) {
				srv.Timeouts.Write, srv.Handler = timeout, opened(conns)
			})
			raw, err := n.Dial(addr)
			failOn(t, err)
			link := &slowLink{Conn: raw, clock: &simClock{t, n, srv}, piece: 1 << 20}
			c := newClient(t, link).upgraded()
			failOn(t, (<-conns).Send(ws.Binary, []byte(large)))
			link.piece, link.each = slowPiece, each
			if each == timeout {
				for range 3 {
					_, _ = link.Read(make([]byte, slowPiece)) // it may be cut
				}
				hits(t, srv, server.LimitWriteTimeout, 1)
				return
			}
			c.full(make([]byte, kernel-1000))
			hits(t, srv, server.LimitWriteTimeout, 0)
			room.Store(true)
			n.Spurious(raw)
			c.full(make([]byte, len(large)+10-kernel))
			hits(t, srv, server.LimitWriteTimeout, 0)
		})
	}
}

// TestSilent: what we send, and what the peer's side takes of it, is no sign of life
// from the peer.
func TestSilent(t *testing.T) {
	t.Parallel()
	onSimServers(t, func(*server.Server) {}, func(t *testing.T, s *simServer) {
		silent := func(want time.Duration) {
			t.Helper()
			if infos := conns(t, s.srv, server.ByAge, 1); len(infos) != 1 || infos[0].Silent != want {
				t.Errorf("%+v, want one that is silent for %v", infos, want)
			}
		}
		c, link, _ := s.connectBusy()
		want := time.Duration(0)
		if s.srv.Stats().Paused > 0 {
			want = 5 * time.Second // it takes little, and so is not read: its pong stays unseen
		}
		for i := range time.Duration(5) {
			silent(i * time.Second)
			s.pass(time.Second)
			if _, err := link.Conn.TryRead(make([]byte, 20_000)); err != nil {
				t.Fatal(err)
			}
			s.rest()
		}
		silent(5 * time.Second)
		c.send(frame(opPong, ""))
		s.rest()
		silent(want)
	})
}

// TestSlowLinkOverBridge is TestSlowLink where the link is a pipe behind a bridge, that
// takes 16 KiB within Timeouts.Write.
func TestSlowLinkOverBridge(t *testing.T) {
	t.Parallel()
	for _, test := range ends {
		if test.cause == 1006 {
			continue // no direction of a pipe can be ended by itself
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &simServer{simClock: simClock{t: t}, conns: make(chan *server.Conn, 1), causes: make(chan *ws.CloseError, 1)}
			n, connect, srv := startOnPipes(t, func(srv *server.Server) {
				srv.Handler = handler{open: func(c *server.Conn) { s.conns <- c }, close: closeCause(s.causes)}
				srv.Timeouts.Close, srv.Timeouts.Write, srv.Keepalive.Interval = 300*time.Millisecond, time.Second, -1
			})
			s.n, s.srv = n, srv
			c := connect()
			conn := <-s.conns
			if err := conn.Send(ws.Binary, []byte(large)); err != nil {
				t.Fatal(err)
			}
			test.end(s, c, conn)
			s.readPieces(c, conn, len(large)+10)
			if s.done != nil { // it waits for what may be on its way over the bridge
				eventuallyOn(t, n, "our close frame is out", func() bool { return srv.Stats().States.Closing == 1 })
			}
			c.expectSays(test.says)
			if test.waits {
				c.send(frame(opClose, closePayload(test.says, "")))
			}
			if test.says == 1002 { // no direction of ours can be ended by itself either
				eventuallyOn(t, n, "it is freed", func() bool { return srv.Stats().Open == 0 })
			}
			c.expectEOF()
			eventually(t, "it is freed", func() bool { return srv.Stats().Open == 0 })
			s.uncut()
			if cause := <-s.causes; cause.Code != test.cause {
				t.Errorf("closed with %v, want %d", cause, test.cause)
			}
			if s.done != nil {
				expectDrained(t, s.done, nil)
			}
		})
	}
}

// readPieces reads size bytes from a pipe, a bridge's piece each 400 ms. The last one is
// noted when the next is begun.
func (s *simServer) readPieces(c *client, conn *server.Conn, size int) {
	s.t.Helper()
	const piece = 16 << 10
	for got := 0; got < size; {
		s.n.Advance(400 * time.Millisecond)
		n, err := io.CopyN(io.Discard, c.r, int64(min(piece, size-got)))
		if err != nil {
			s.t.Fatalf("after %d bytes: %v", got, err)
		}
		got += int(n)
		eventually(s.t, "it is noted", func() bool { return conn.Buffered() <= size+ws.MaxControlPayload+2+piece-got })
	}
}

// slowReads reads 2 MB a second.
type slowReads struct{ io.Reader }

func (r slowReads) Read(p []byte) (int, error) {
	time.Sleep(8 * time.Millisecond)
	return r.Reader.Read(p[:min(len(p), 16<<10)])
}

// TestSlowReader: Send of 1 MB, then Close, to a peer that takes several times as long
// as Timeouts.Close to read it, on every transport. Behind a bridge only what the far side
// takes is known, so there the peer may be cut once all is with the kernel, which goes
// on sending.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		connect, srv := start(t, func(srv *server.Server) {
			srv.Handler = opened(conns)
			srv.Timeouts.Close = 50 * time.Millisecond
		})
		c := connect().upgraded()
		if tcp, ok := c.under().(*net.TCPConn); ok { // simnet's clock stands still
			if err := tcp.SetReadBuffer(64 << 10); err != nil {
				t.Fatal(err)
			}
			c.r = bufio.NewReader(slowReads{c.r})
		}
		conn := <-conns
		if err := errors.Join(conn.Send(ws.Binary, []byte(large)), conn.Close(ws.CodeNormal, "")); err != nil {
			t.Fatal(err)
		}
		c.expect(opBinary, large)
		c.expectSays(1000)
		if bridged := strings.Contains(t.Name(), "bridge") || strings.Contains(t.Name(), "stream"); !bridged {
			hits(t, srv, server.LimitCloseTimeout, 0)
			c.send(frame(opClose, closePayload(1000, "")))
		}
		c.expectEOF()
	})
}
