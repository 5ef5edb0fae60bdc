package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestHandlerFuncs: each function is called for its event, and the zero value does
// nothing.
func TestHandlerFuncs(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		events := make(chan string, 10)
		connect, _ := start(t, func(s *server.Server) {
			s.Handler = server.HandlerFuncs{
				OnOpen:    func(*server.Conn) { events <- "open" },
				OnMessage: func(_ *server.Conn, m ws.Message) { events <- "message " + string(m.Payload) },
				OnClose:   func(*server.Conn, error) { events <- "close" },
				OnPing:    func(_ *server.Conn, payload []byte) { events <- "ping " + string(payload) },
				OnPong:    func(_ *server.Conn, payload []byte) { events <- "pong " + string(payload) },
			}
		})
		c := connect().upgraded()
		c.send(frame(opText, "a") + frame(opPing, "b") + frame(opPong, "c") + frame(opClose, closePayload(1000, "")))
		for _, want := range []string{"open", "message a", "ping b", "pong c", "close"} {
			if got := <-events; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})
	connect, _ := onSimnet(t, func(s *server.Server) { s.Handler = server.HandlerFuncs{} })
	c := connect().upgraded()
	c.send(frame(opText, "a") + frame(opPing, "b") + frame(opPong, "c"))
	c.expect(opPong, "b")
	connect, _ = onSimnet(t, func(s *server.Server) {
		s.Handler = server.MessageFunc(func(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) }) // open
	})
	c = connect().upgraded()
	c.send(frame(opText, "a"))
	c.expect(opText, "a")
	c.send(frame(opClose, ""))
	c.expectClose(1005)
}

// TestHandlerFuncsDrained: OnDrained is Drained.
func TestHandlerFuncsDrained(t *testing.T) {
	var drained int
	h := server.HandlerFuncs{OnDrained: func(*server.Conn) { drained++ }}
	var _ server.DrainedHandler = h
	h.Drained(nil)
	server.HandlerFuncs{}.Drained(nil)
	if drained != 1 {
		t.Errorf("called %d times", drained)
	}
}

// TestJSON: what a handler reads and sends as JSON; what can not be one is an error,
// and sends nothing.
func TestJSON(t *testing.T) {
	type order struct {
		Item string `json:"item"`
		N    int    `json:"n"`
	}
	onAll(t, func(t *testing.T, start starter) {
		connect, _ := start(t, func(s *server.Server) {
			s.Handler = server.MessageFunc(func(c *server.Conn, m ws.Message) {
				var o order
				var syntax *json.SyntaxError
				if err := m.JSON(&o); errors.As(err, &syntax) {
					_ = c.SendText(fmt.Sprintf("at %d", syntax.Offset)) // open
					return
				} else if err != nil {
					t.Error(err)
				}
				var unsupported *json.UnsupportedValueError
				if err := c.SendJSON(math.Inf(1)); !errors.As(err, &unsupported) {
					t.Errorf("infinity in JSON: %v", err)
				}
				o.N++
				if err := c.SendJSON(o); err != nil {
					t.Error(err)
				}
				if err := c.SendBinary([]byte{0xff}); err != nil {
					t.Error(err)
				}
			})
		})
		c := connect().upgraded()
		c.send(frame(opText, `{"item": "tea", "n": 1}`))
		c.expect(opText, `{"item":"tea","n":2}`)
		c.expect(opBinary, "\xff")
		c.send(frame(opText, `{"item": }`))
		c.expect(opText, "at 10")
	})
}

// TestTypedValue: Value with a type gives the value only if it is of that type.
func TestTypedValue(t *testing.T) {
	type session struct{ user string }
	opened := make(chan *server.Conn, 1)
	connect, _ := onSimnet(t, func(s *server.Server) {
		s.Handler = handler{open: func(c *server.Conn) { opened <- c }}
		s.Upgrade = func(*ws.Request) (server.Accept, error) { return server.Accept{Value: &session{"ann"}}, nil }
	})
	connect().upgraded()
	c := <-opened
	if s, ok := server.Value[*session](c); !ok || s.user != "ann" {
		t.Errorf("value %v, %v", s, ok)
	}
	if n, ok := server.Value[int](c); ok || n != 0 {
		t.Errorf("a session is the number %d, %v", n, ok)
	}
}

// TestCloseNow: the connection ends without a close frame, in its turn behind what the
// turn has sent, and from elsewhere with a queue.
func TestCloseNow(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		r := newRecorder(t)
		conns := make(chan *server.Conn, 1)
		connect, srv := start(t, func(s *server.Server) {
			s.Handler = server.HandlerFuncs{
				OnOpen: func(c *server.Conn) { conns <- c },
				OnMessage: func(c *server.Conn, _ ws.Message) {
					_ = c.SendText("last") // open
					c.CloseNow()
					if err := c.SendText("none"); !errors.Is(err, server.ErrClosed) {
						t.Errorf("Send behind CloseNow: %v", err)
					}
					c.CloseNow()
				},
				OnClose: r.Close,
			}
		})
		c := connect().upgraded()
		first := <-conns
		c.send(frame(opText, "go"))
		c.expect(opText, "last")
		c.expectEnd()
		r.expect("close 1006 ours")
		first.CloseNow()

		_ = connect().upgraded()
		second := <-conns
		for second.Buffered() == 0 {
			if err := second.SendBinary(make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
		second.CloseNow()
		r.expect("close 1006 ours")
		eventually(t, "no connection", func() bool { return srv.Stats().Open == 0 })
	})
}

// TestConnTLSState: a connection tells what its TLS handshake has agreed on, on the
// loops and behind bridges.
func TestConnTLSState(t *testing.T) {
	for name, way := range map[string]struct {
		start  starter
		secure bool
	}{
		"plain": {onSockets, false}, "TLS": {onTLSSockets, true}, "bridge": {onMounted(startBridge), false},
		"bridge to TLS": {onMounted(startTLSBridge), true},
	} {
		t.Run(name, func(t *testing.T) {
			opened := make(chan *server.Conn, 1)
			connect, _ := way.start(t, func(s *server.Server) { s.Handler = handler{open: func(c *server.Conn) { opened <- c }} })
			connect().upgraded()
			state := (<-opened).TLSState()
			if (state != nil) != way.secure || state != nil && !state.HandshakeComplete {
				t.Errorf("state %+v", state)
			}
		})
	}
}
