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

// pour sends n messages of 10,000 bytes to c, none of them while more than 32 KiB wait.
func pour(ctx context.Context, c *server.Conn, n int) error {
	message := make([]byte, 10_000)
	for range n {
		if err := c.WaitBuffered(ctx, 32<<10); err != nil {
			return err
		}
		if err := c.Send(ws.Binary, message); err != nil {
			return err
		}
	}
	return c.WaitBuffered(ctx, 0)
}

// flood pours until it fails: the peer reads nothing.
func flood(ctx context.Context, c *server.Conn) error { return pour(ctx, c, 1<<30) }

// expectMessages reads n of pour's messages.
func (c *client) expectMessages(n int) {
	c.t.Helper()
	for i := range n {
		if op, payload := c.frame(); op != opBinary || len(payload) != 10_000 {
			c.t.Fatalf("frame %d: opcode %x, %d bytes", i, op, len(payload))
		}
	}
}

// TestWaitBuffered: who waits before each message does not overrun the queue of a slow
// peer: in another goroutine, and in the connection's own method.
func TestWaitBuffered(t *testing.T) {
	for _, place := range []string{"elsewhere", "in Open", "in Message"} {
		t.Run(place, func(t *testing.T) {
			onAll(t, func(t *testing.T, start starter) {
				poured := make(chan error, 1)
				n := scaled(400)
				run := func(c *server.Conn) { poured <- pour(t.Context(), c, n) }
				connect, _ := start(t, func(srv *server.Server) {
					twoWorkers(srv)
					srv.Queue.Max = 64 << 10
					srv.Handler = handler{open: func(c *server.Conn) {
						switch place {
						case "elsewhere":
							go run(c)
						case "in Open":
							run(c)
						}
					}, message: func(c *server.Conn, _ ws.Message) { run(c) }}
				})
				c := connect().upgraded()
				if place == "in Message" {
					c.send(frame(opText, "go"))
				}
				c.expectMessages(n)
				if err := <-poured; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestWaitBufferedWritesCork: what the method under way has sent goes out when it waits.
func TestWaitBufferedWritesCork(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		waited := make(chan struct{})
		connect, _ := start(t, func(srv *server.Server) {
			twoWorkers(srv)
			srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
				_ = c.Send(m.Opcode, m.Payload) // the test sees
				if err := c.WaitBuffered(t.Context(), 1<<10); err != nil || c.Buffered() == 0 {
					t.Errorf("%v, with %d bytes: below the mark nothing is to be waited for", err, c.Buffered())
				}
				if err := c.WaitBuffered(t.Context(), 0); err != nil || c.Buffered() != 0 {
					t.Errorf("%v, and %d bytes wait", err, c.Buffered())
				}
				close(waited)
			})
		})
		c := connect().upgraded()
		c.send(frame(opText, "a"))
		c.expect(opText, "a")
		<-waited
	})
}

// TestWaitBufferedHoldsAllWorkers: methods that wait go on when their peers read, also
// if nobody is left to lead the loop.
func TestWaitBufferedHoldsAllWorkers(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		poured := make(chan error, 4)
		connect, srv := start(t, func(srv *server.Server) {
			twoWorkers(srv)
			srv.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) { poured <- pour(t.Context(), c, 1000) })
		})
		a, b := connect().upgraded(), connect().upgraded()
		a.send(frame(opText, "go"))
		b.send(frame(opText, "go"))
		eventually(t, "the loop waits", func() bool { return srv.Stats().Waits > 0 })
		a.expectMessages(1000)
		b.expectMessages(1000)
		for range 2 {
			if err := <-poured; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestWaitBufferedEnds: the wait is over when the connection ends or the context does.
func TestWaitBufferedEnds(t *testing.T) {
	for name, end := range map[string]func(c *server.Conn, peer *client){
		"Close":    func(c *server.Conn, _ *client) { _ = c.Close(ws.CodeNormal, "") }, // it is open
		"CloseNow": func(c *server.Conn, _ *client) { c.CloseNow() },
		"reset":    func(_ *server.Conn, peer *client) { peer.reset() },
	} {
		for _, own := range []bool{false, true} {
			onBoth(t, func(t *testing.T, start starter) {
				flooded := make(chan error, 1)
				conns := make(chan *server.Conn, 1)
				connect, _ := start(t, func(srv *server.Server) {
					twoWorkers(srv)
					srv.Handler = handler{open: func(c *server.Conn) {
						conns <- c
						if !own {
							go func() { flooded <- flood(t.Context(), c) }()
						}
					}, message: func(c *server.Conn, _ ws.Message) { flooded <- flood(t.Context(), c) }}
				})
				peer := connect().upgraded()
				if own {
					peer.send(frame(opText, "go"))
				}
				c := <-conns
				eventually(t, "a queue", func() bool { return c.Buffered() > 32<<10 })
				end(c, peer)
				if err := <-flooded; !errors.Is(err, server.ErrClosed) {
					t.Errorf("%s, own %v: %v", name, own, err)
				}
				if err := c.WaitBuffered(t.Context(), 1<<30); !errors.Is(err, server.ErrClosed) {
					t.Errorf("%s: afterwards: %v", name, err)
				}
				if name != "reset" {
					peer.reset()
				}
			})
		}
	}
}

// TestWaitBufferedContext: one of several waits ends with its context, the others go on.
func TestWaitBufferedContext(t *testing.T) {
	onBoth(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		connect, _ := start(t, func(srv *server.Server) {
			srv.Handler = handler{open: func(c *server.Conn) { conns <- c }}
		})
		peer := connect().upgraded()
		c := <-conns
		n := 0
		for ; c.Buffered() < 64<<10; n++ {
			if err := c.Send(ws.Binary, make([]byte, 10_000)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- c.WaitBuffered(ctx, 0) }()
		go func() { second <- c.WaitBuffered(t.Context(), 0) }()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the context's", err)
		}
		if err := c.WaitBuffered(ctx, c.Buffered()); err != nil {
			t.Errorf("nothing to wait for, and %v", err)
		}
		peer.expectMessages(n)
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

// TestWaitBufferedInVain: Timeouts.Write holds for a peer that reads nothing while the
// connection's own method waits for it: with a worker left that leads the loop, and
// with none.
func TestWaitBufferedInVain(t *testing.T) {
	for _, blocked := range []int{1, 2} {
		flooded := make(chan error, 2)
		n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
			twoWorkers(srv)
			srv.Timeouts.Write = 5 * time.Second
			srv.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) { flooded <- flood(context.Background(), c) })
		})
		for range blocked {
			dialSim(t, n, addr).upgraded().send(frame(opText, "go"))
		}
		eventually(t, "held workers", func() bool {
			stats := srv.Stats()
			return stats.Handovers == 1 && (blocked == 1 || stats.Waits > 0)
		})
		for range blocked {
			eventuallyOn(t, n, "the write timeout", func() bool { return len(flooded) > 0 })
			if err := <-flooded; !errors.Is(err, server.ErrClosed) {
				t.Errorf("%d blocked: %v", blocked, err)
			}
		}
		if got := srv.Stats().Limits[server.LimitWriteTimeout]; got != uint64(blocked) {
			t.Errorf("%d write timeouts, want %d", got, blocked)
		}
	}
}

// TestWaitBufferedThenDrained: Drained is called behind a method that waited.
func TestWaitBufferedThenDrained(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		drained := make(chan struct{}, 1)
		connect, _ := start(t, func(srv *server.Server) {
			twoWorkers(srv)
			srv.Queue.Max = 8 << 20
			srv.Handler = server.HandlerFuncs{
				OnMessage: func(c *server.Conn, m ws.Message) {
					_ = c.Send(ws.Text, []byte(strings.Repeat("a", 4<<20)))
					if err := c.WaitBuffered(t.Context(), 0); err != nil {
						t.Error(err)
					}
				},
				OnDrained: func(*server.Conn) {
					select {
					case drained <- struct{}{}:
					default:
					}
				},
			}
		})
		c := connect().upgraded()
		c.send(frame(opText, "go"))
		if _, payload := c.frame(); len(payload) != 4<<20 {
			t.Errorf("%d bytes", len(payload))
		}
		select {
		case <-drained:
		case <-time.After(patience):
			t.Error("Drained is not called")
		}
	})
}
