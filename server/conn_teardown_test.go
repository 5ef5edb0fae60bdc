package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// queueFor opens a connection that has nearly a MiB waiting for a client that
// reads nothing.
func queueFor(t *testing.T, n *simnet.Network, addr string, conns <-chan *server.Conn) *client {
	t.Helper()
	c := dialSim(t, n, addr).upgraded()
	if err := (<-conns).Send(ws.Binary, make([]byte, 1<<20-100)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHalfClosedPeerThatReadsNothing is freed at the deadline: each end of stream
// that a turn finds must not put the deadline off.
func TestHalfClosedPeerThatReadsNothing(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = opened(conns) })
	c := queueFor(t, n, addr, conns)
	c.closeWrite()
	idle(t, n)
	for range 32 {
		n.Advance(time.Second)
		idle(t, n)
	}
	if open := srv.Stats().Open; open != 0 {
		t.Errorf("%d connections open 32 s after the half-close, WriteTimeout is 30 s", open)
	}
}

// TestNoPongBehindClose: a pong that waits for the end of the queue does not come
// out behind our close frame.
func TestNoPongBehindClose(t *testing.T) {
	conns := make(chan *server.Conn, 2)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = opened(conns) })
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	if err := conn.Send(ws.Binary, make([]byte, 1<<20-100)); err != nil {
		t.Fatal(err)
	}
	c.send(frame(opPing, "p"))
	idle(t, n)
	if err := conn.Close(ws.CodeNormal, ""); err != nil {
		t.Fatal(err)
	}
	c.send(frame(opClose, closePayload(1000, "")))
	c.expect(opBinary, strings.Repeat("\x00", 1<<20-100))
	c.expectClose(1000)
	eventually(t, "the connection is freed", func() bool { return srv.Stats().Open == 0 })
}

// TestShutdownWithHalfClosedPeer ends by itself.
func TestShutdownWithHalfClosedPeer(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = opened(conns) })
	c := queueFor(t, n, addr, conns)
	c.closeWrite()
	idle(t, n)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(ctx) }()
	for {
		n.Advance(time.Second)
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// TestResetWithQueue: a real kernel reports a reset once, to whichever call comes
// first, and an end of stream from then on.
func TestResetWithQueue(t *testing.T) {
	onTransports(t, testResetWithQueue)
}

func testResetWithQueue(t *testing.T, serve serving) {
	conns := make(chan *server.Conn, 1)
	addr, srv := serve(t, func(s *server.Server) {
		s.Handler = opened(conns)
		s.Timeouts.Close = time.Second
		s.Queue.Max = 64 << 20
	})
	c := dial(t, addr).upgraded()
	if err := (<-conns).Send(ws.Binary, make([]byte, 16<<20)); err != nil {
		t.Fatal(err)
	}
	tcp := c.tcp()
	if err := errors.Join(tcp.SetLinger(0), tcp.Close()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is freed", func() bool { return srv.Stats().Open == 0 })
}

// TestReceivedBeforeWriteFails: what the peer sent before it left is handled,
// although a write to it has failed meanwhile.
func TestReceivedBeforeWriteFails(t *testing.T) {
	onTransports(t, testReceivedBeforeWriteFails)
}

func testReceivedBeforeWriteFails(t *testing.T, serve serving) {
	causes := make(chan error, 1)
	conns := make(chan *server.Conn, 1)
	messages := make(chan string, 10)
	release := make(chan struct{})
	addr, _ := serve(t, func(s *server.Server) {
		s.Handler = handler{
			open: func(c *server.Conn) { conns <- c },
			message: func(_ *server.Conn, m ws.Message) {
				messages <- string(m.Payload)
				<-release
			},
			close: func(_ *server.Conn, err error) { causes <- err },
		}
	})
	c := dial(t, addr).upgraded()
	conn := <-conns
	c.send(frame(opText, "slow"))
	<-messages
	c.send(frame(opText, "order") + frame(opClose, closePayload(1000, "bye")))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a Send fails", func() bool { return conn.SendText("tick") != nil })
	close(release)
	if got := <-messages; got != "order" {
		t.Errorf("message %q, want order", got)
	}
	var cause *ws.CloseError
	if err := <-causes; !errors.As(err, &cause) || cause.Code != ws.CodeNormal || !cause.Remote {
		t.Errorf("cause %v, want the peer's 1000", err)
	}
}

// TestFreshQueueIsNotOverdue: a queue younger than the loop's clock.
func TestFreshQueueIsNotOverdue(t *testing.T) {
	var n *simnet.Network
	var victim *server.Conn
	var b *client
	conns := make(chan *server.Conn, 2)
	sent := make(chan struct{})
	message := func(_ *server.Conn, m ws.Message) {
		switch string(m.Payload) {
		case "1":
			n.Advance(13 * time.Second) // the victim's ping is due in the next round
			b.send(frame(opText, "2"))
		case "2":
			b.send(frame(opText, "3"))
		case "3":
			n.Advance(100 * time.Millisecond) // a tick passes within the batch
			if err := victim.Send(ws.Binary, make([]byte, 1<<20-100)); err != nil {
				t.Error(err)
			}
			close(sent)
		}
	}
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Runtime.Loops = 1
		s.Keepalive.Interval = 10 * time.Second
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: message}
	})
	dialSim(t, n, addr).upgraded()
	victim = <-conns
	b = dialSim(t, n, addr).upgraded()
	<-conns
	idle(t, n)
	b.send(frame(opText, "1"))
	<-sent
	idle(t, n)
	if open := srv.Stats().Open; open != 2 {
		t.Errorf("%d connections open, want 2", open)
	}
}

// TestIdleTimeoutAfterSlowHook counts from Open.
func TestIdleTimeoutAfterSlowHook(t *testing.T) {
	t.Parallel()
	onTransports(t, testIdleTimeoutAfterSlowHook)
}

func testIdleTimeoutAfterSlowHook(t *testing.T, serve serving) {
	t.Parallel()
	const idleTimeout = 2 * time.Second
	addr, srv := serve(t, func(s *server.Server) {
		s.Runtime.Loops = 1
		s.Timeouts.Idle = idleTimeout
		s.Keepalive.Interval = -1
		s.Upgrade = func(*ws.Request) (server.Accept, error) {
			time.Sleep(idleTimeout + idleTimeout/2)
			return server.Accept{Handler: echo{}}, nil
		}
	})
	c := dial(t, addr).upgraded()
	c.send(frame(opText, "here"))
	c.expect(opText, "here")
	if open := srv.Stats().Open; open != 1 {
		t.Errorf("%d connections open, want 1", open)
	}
}
