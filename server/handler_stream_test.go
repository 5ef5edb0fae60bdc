package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// pieces is a Handler that gathers a streamed message, tells of each piece, and
// echoes the whole.
type pieces struct {
	t    *testing.T
	seen chan string
}

func (pieces) Open(c *server.Conn) { c.SetValue(new(strings.Builder)) }

func (p pieces) Message(*server.Conn, ws.Message) { p.t.Error("Message of a StreamHandler") }

func (p pieces) Piece(c *server.Conn, m ws.Message) {
	b := c.Value().(*strings.Builder)
	fmt.Fprintf(b, "%s", m.Payload)
	p.seen <- fmt.Sprintf("%v %d more %v", m.Opcode, len(m.Payload), m.More)
	if !m.More {
		_ = c.Send(m.Opcode, []byte(b.String())) // the client sees
		b.Reset()
	}
}

func (pieces) Close(*server.Conn, error) {}

// TestStream: a StreamHandler gets a message in pieces as its bytes arrive, and every
// rule holds for its whole.
func TestStream(t *testing.T) {
	t.Parallel()
	p := pieces{t, make(chan string, 1000)}
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.Message, s.Handler = 1000, p
	})
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := <-p.seen; got != w {
				t.Errorf("piece %q, want %q", got, w)
			}
		}
	}
	c := dialSim(t, n, addr).upgraded()

	c.send(frame(opText, "whole"))
	c.expect(opText, "whole")
	expect("text 5 more false")

	half := frame(opBinary, "0123456789")
	c.send(half[:6+4])
	idle(t, n)
	expect("binary 4 more true")
	c.send(half[6+4:])
	c.expect(opBinary, "0123456789")
	expect("binary 6 more false")

	c.send(fragment(opText, "frag") + frame(opPing, "between"))
	c.expect(opPong, "between")
	expect("text 4 more true")
	c.send(frame(opContinuation, "ments"))
	c.expect(opText, "fragments")
	expect("text 5 more false")

	eventually(t, "3 messages to be counted", func() bool { return srv.Stats().MessagesIn == 3 }) // behind the last answer
	for _, bad := range []struct {
		stream string
		code   uint16
	}{
		{frame(opBinary, strings.Repeat("x", 1001)), 1009},
		{fragment(opBinary, strings.Repeat("x", 600)) + frame(opContinuation, strings.Repeat("x", 600)), 1009},
		{fragment(opText, "a\xc3") + frame(opContinuation, "\xc3"), 1007},
		{fragment(opText, "a\xc3") + frame(opContinuation, ""), 1007},
		{fragment(opText, "a") + frame(opText, "b"), 1002},
		{fragment(opText, "a") + strings.Repeat(fragment(opContinuation, ""), 2000), 1008},
	} {
		c := dialSim(t, n, addr).upgraded()
		c.send(bad.stream)
		c.expectClose(bad.code)
	}
}

// TestStreamRoutes: one server has handlers of both kinds, whose connections' halves of
// messages come in turn on one loop, wherever they come from.
func TestStreamRoutes(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		seen := make(chan string, 100)
		tell := func(c *server.Conn, m ws.Message) {
			seen <- fmt.Sprintf("%s: %q more %v", c.Value(), m.Payload, m.More)
		}
		connect, _ := start(t, func(s *server.Server) {
			s.Runtime.Loops = 1
			s.Upgrade = func(r *ws.Request) (server.Accept, error) {
				if r.Header("X") == "pieces" {
					return server.Accept{Value: "pieces", Handler: server.StreamFunc(tell)}, nil
				}
				return server.Accept{Value: "whole", Handler: server.MessageFunc(tell)}, nil
			}
		})
		for range 3 {
			pieces, whole := connect().upgraded("X: pieces"), connect().upgraded()
			pieces.send(fragment(opText, "a") + frame(opPing, ""))
			pieces.expect(opPong, "")
			whole.send(fragment(opText, "a") + frame(opPing, ""))
			whole.expect(opPong, "")
			pieces.send(frame(opContinuation, "b") + frame(opText, "c") + frame(opPing, ""))
			pieces.expect(opPong, "")
			whole.send(frame(opContinuation, "b") + frame(opText, "c") + frame(opPing, ""))
			whole.expect(opPong, "")
			for _, want := range []string{
				`pieces: "a" more true`, `pieces: "b" more false`, `pieces: "c" more false`,
				`whole: "ab" more false`, `whole: "c" more false`,
			} {
				if got := <-seen; got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
		}
	})
}

// TestStreamPanic: a piece's panic ends its connection and leaves nothing to others on
// the loop.
func TestStreamPanic(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Runtime.Loops = 1
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Header("X") != "pieces" {
				return server.Accept{}, nil
			}
			return server.Accept{Handler: server.StreamFunc(func(*server.Conn, ws.Message) { panic("of a piece") })}, nil
		}
	})
	c := dialSim(t, n, addr).upgraded("X: pieces")
	c.send(frame(opText, "all")[:7])
	c.expectClose(1011)
	other := dialSim(t, n, addr).upgraded()
	other.send(fragment(opText, "a"))
	idle(t, n)
	other.send(frame(opContinuation, "b"))
	other.expect(opText, "ab")
}
