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

func (p pieces) Message(c *server.Conn, m ws.Message) {
	b := c.Value().(*strings.Builder)
	fmt.Fprintf(b, "%s", m.Payload)
	p.seen <- fmt.Sprintf("%v %d more %v", m.Opcode, len(m.Payload), m.More)
	if !m.More {
		_ = c.Send(m.Opcode, []byte(b.String())) // the client sees
		b.Reset()
	}
}

func (pieces) Close(*server.Conn, error) {}

// TestStream: with Server.Stream a message comes in pieces as its bytes arrive,
// and every rule holds for its whole.
func TestStream(t *testing.T) {
	t.Parallel()
	p := pieces{t, make(chan string, 1000)}
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Stream, s.Limits.Message, s.Handler = true, 1000, p
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
