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

// blocker is a handler whose Message blocks until its connection's context ends.
type blocker struct {
	conns  chan *server.Conn
	causes chan string // of the contexts that have ended
	asked  bool        // before the message
}

func newBlocker() *blocker {
	return &blocker{conns: make(chan *server.Conn, 100), causes: make(chan string, 100)}
}

func (b *blocker) Open(c *server.Conn) {
	if b.asked {
		_ = c.Context()
	}
}

func (b *blocker) Message(c *server.Conn, m ws.Message) {
	b.conns <- c
	if string(m.Payload) == "panic" {
		panic("no")
	}
	select {
	case <-c.Context().Done():
		b.causes <- context.Cause(c.Context()).Error()
	case <-time.After(patience):
		b.causes <- "nothing"
	}
}

func (b *blocker) Close(c *server.Conn, _ error) {
	if c.Context().Err() == nil {
		b.causes <- "the context goes on in Close"
	}
}

// TestContextOfBlocked: the context ends while the handler's method blocks.
func TestContextOfBlocked(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *server.Conn, peer *client)
		want string
	}{
		{"the peer closes", func(_ *server.Conn, peer *client) { _ = peer.Close() }, "1006"},
		{"the peer resets", func(_ *server.Conn, peer *client) { peer.reset() }, "1006"},
		{"CloseNow", func(c *server.Conn, _ *client) { c.CloseNow() }, "closed at once"},
		{"Close", func(c *server.Conn, _ *client) { _ = c.Close(ws.CodePolicy, "enough") }, "enough"},
		{"stop", func(c *server.Conn, _ *client) { go func() { _ = c.Server().Close() }() }, "server stopped"},
		{"drain", func(c *server.Conn, _ *client) {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				defer cancel()
				_ = c.Server().Shutdown(ctx) // it does not end in time
			}()
		}, "server stopped"},
	} {
		for _, asked := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				onAll(t, func(t *testing.T, start starter) {
					b := newBlocker()
					b.asked = asked
					connect, _ := start(t, func(s *server.Server) { s.Handler = b })
					peer := connect().upgraded()
					peer.send(frame(opText, "go"))
					tt.end(<-b.conns, peer)
					if got := <-b.causes; !strings.Contains(got, tt.want) {
						t.Errorf("cause %q, want %q", got, tt.want)
					}
				})
			})
		}
	}
}

// TestContextOfGone: it ends also if the peer was gone, or its close frame there, before
// the method began.
func TestContextOfGone(t *testing.T) {
	onBoth(t, func(t *testing.T, start starter) {
		b := newBlocker()
		connect, _ := start(t, func(s *server.Server) { s.Handler = b })
		for range 20 {
			peer := connect().upgraded()
			peer.send(frame(opText, "go") + frame(opClose, closePayload(1000, "")))
			_ = peer.Close()
		}
		for range 20 {
			if got := <-b.causes; !strings.Contains(got, "1006") {
				t.Errorf("cause %q", got)
			}
		}
	})
}

// TestContextOfIdle: a connection that nobody's method blocks ends its context with its
// cause, and has an ended one afterwards.
func TestContextOfIdle(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		connect, _ := start(t, func(s *server.Server) {
			s.Handler = handler{open: func(c *server.Conn) { conns <- c }}
		})
		for name, end := range map[string]func(peer *client){
			"4000": func(peer *client) { peer.send(frame(opClose, closePayload(4000, "bye"))) },
			"1006": func(peer *client) { _ = peer.Close() },
			"1002": func(peer *client) { peer.send("\xf0\x80\x00\x00\x00\x00") },
		} {
			peer := connect().upgraded()
			c := <-conns
			ctx := c.Context()
			if ctx != c.Context() || ctx.Err() != nil {
				t.Errorf("%s: a second context, or %v", name, ctx.Err())
			}
			end(peer)
			if got := ended(t, ctx); !strings.Contains(got, name) {
				t.Errorf("cause %q, want %s", got, name)
			}
			var told *ws.CloseError
			if !errors.As(context.Cause(ctx), &told) {
				t.Errorf("cause %T", context.Cause(ctx))
			}
			peer = connect().upgraded()
			c = <-conns
			end(peer)
			eventually(t, "an ended context", func() bool { return c.Context().Err() != nil })
		}
	})
}

// TestContextOfPanicked: a handler that panics ends it.
func TestContextOfPanicked(t *testing.T) {
	b := newBlocker()
	b.asked = true
	connect, _ := onSimnet(t, func(s *server.Server) { s.Handler = b })
	connect().upgraded().send(frame(opText, "panic"))
	if got := ended(t, (<-b.conns).Context()); !strings.Contains(got, "1011") {
		t.Errorf("cause %q", got)
	}
}

// TestContextOfHook: it is another than the hook's, which has ended when Open is called.
func TestContextOfHook(t *testing.T) {
	hooked := make(chan context.Context, 1)
	conns := make(chan *server.Conn, 1)
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }}
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			hooked <- r.Context()
			return server.Accept{}, nil
		}
	})
	dialSim(t, n, addr).upgraded()
	c := <-conns
	if ended(t, <-hooked); c.Context().Err() != nil {
		t.Error("the connection's context ended with the hook's")
	}
}

// TestContextIsFree: who has not asked for it allocates nothing for it, and who has
// allocates it once.
func TestContextIsFree(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	connect, _ := onSimnet(t, func(s *server.Server) {
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }}
	})
	connect().upgraded()
	c := <-conns
	_ = c.Context()
	if n := testing.AllocsPerRun(100, func() { _ = c.Context() }); n > 0 {
		t.Errorf("%v allocations a call", n)
	}
}
