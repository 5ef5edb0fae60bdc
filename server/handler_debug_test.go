package server_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestDebug: a payload that a handler keeps says so, however it came, and a text that is
// not UTF-8 is not sent. Without Debug neither is looked at.
func TestDebug(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		var kept []byte // by the handler before, of which little may be left
		looked := make(chan int, 10)
		keep := func(payload []byte) {
			if kept != nil && !strings.HasPrefix(string(kept), "mill") {
				t.Errorf("a kept payload is %.50q", kept)
			}
			looked <- len(kept)
			kept = payload
		}
		connect, _ := start(t, func(s *server.Server) {
			s.Runtime.Debug = true
			s.Deflate = &server.Deflate{}
			s.Handler = server.HandlerFuncs{
				OnMessage: func(c *server.Conn, m ws.Message) {
					for _, err := range []error{c.SendText("a\xff"), c.SendPrepared(ws.Prepare(ws.Text, []byte("\xff")))} {
						if !errors.Is(err, server.ErrNotUTF8) {
							t.Errorf("a text that is not UTF-8: %v", err)
						}
					}
					if err := errors.Join(c.SendBinary([]byte{0xff}), c.Send(m.Opcode, m.Payload)); err != nil {
						t.Error(err)
					}
					keep(m.Payload)
				},
				OnPing: func(_ *server.Conn, payload []byte) { keep(payload) },
				OnPong: func(_ *server.Conn, payload []byte) { keep(payload) },
			}
		})
		c := connect().upgraded()
		whole, split := strings.Repeat("a", 200), strings.Repeat("b", 300)
		c.send(frame(opText, whole) + fragment(opText, split[:100]) + frame(opContinuation, split[100:]) + frame(opPing, "ping") + frame(opPong, "pong"))
		for _, want := range []string{whole, split} {
			c.expect(opBinary, "\xff")
			c.expect(opText, want)
		}
		c.expect(opPong, "ping")
		c.send(frame(opClose, ""))
		c.expectClose(1005) // all handlers have returned
		for _, want := range []int{0, len(whole), len(split), len("ping")} {
			if got := <-looked; got != want {
				t.Errorf("a payload of %d bytes was kept, want %d", got, want)
			}
		}
	})
	connect, _ := onSimnet(t, func(s *server.Server) {
		s.Handler = server.MessageFunc(func(c *server.Conn, _ ws.Message) {
			if err := c.SendText("\xff"); err != nil {
				t.Error(err)
			}
		})
	})
	c := connect().upgraded()
	c.send(frame(opText, "a"))
	c.expect(opText, "\xff")
}
