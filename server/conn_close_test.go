package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestPeerCloses: what each close frame of the peer is answered with, and what
// the application sees. The answer is the last thing on the wire, and frames
// behind the close frame are not handled.
func TestPeerCloses(t *testing.T) {
	t.Parallel()
	onTransports(t, testPeerCloses)
}

func testPeerCloses(t *testing.T, serve serving) {
	t.Parallel()
	rec := newRecorder(t)
	addr, _ := serve(t, func(s *server.Server) { s.Handler = rec })
	try := func(payload string, answer uint16, event string) {
		t.Helper()
		c := dial(t, addr).upgraded()
		c.send(frame(opClose, payload) + frame(opText, "behind"))
		c.expectClose(answer)
		rec.expect("open", event)
		_ = c.Close()
	}
	t.Run("Close with a 1-byte body => 1002", func(t *testing.T) {
		try("\x03", 1002, "close 1002 ours")
	})
	t.Run("codes 0, 999, 1004-1006, 1015, 1016, 2999, 5000, 65535 => 1002, never echoed", func(t *testing.T) {
		for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535} {
			try(closePayload(code, "why"), 1002, "close 1002 ours")
		}
	})
	t.Run("1000-1003, 1007-1014, 3000-4999 => echoed", func(t *testing.T) {
		for _, code := range []uint16{
			1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
		} {
			try(closePayload(code, "why"), code, fmt.Sprintf("close %d theirs", code))
			try(closePayload(code, ""), code, fmt.Sprintf("close %d theirs", code))
		}
	})
	t.Run("bad reason => 1007", func(t *testing.T) {
		for _, reason := range []string{"\xff", "ok\xc3", "\xed\xa0\x80"} {
			try(closePayload(1000, reason), 1007, "close 1007 ours")
		}
	})
	t.Run("empty => empty", func(t *testing.T) {
		try("", 1005, "close 1005 theirs")
	})
}

// TestCloseReasonReachesHandler: code and reason of the peer in a typed error.
func TestCloseReasonReachesHandler(t *testing.T) {
	t.Parallel()
	onTransports(t, testCloseReasonReachesHandler)
}

func testCloseReasonReachesHandler(t *testing.T, serve serving) {
	t.Parallel()
	closed := make(chan error, 1)
	addr, _ := serve(t, func(s *server.Server) {
		s.Handler = handler{close: func(_ *server.Conn, err error) { closed <- err }}
	})
	c := dial(t, addr).upgraded()
	reason := strings.Repeat("\u20ac", 41) // 123 bytes, all there is room for
	c.send(frame(opClose, closePayload(4321, reason)))
	c.expectClose(4321)
	got, ok := (<-closed).(*ws.CloseError)
	if !ok || *got != (ws.CloseError{Code: 4321, Reason: reason, Remote: true}) {
		t.Errorf("Handler.Close got %#v", got)
	}
}

// TestClosedAfterHandshake: "TCP closed <= 2 s after the close handshake",
// whoever began and though the peer does not close.
func TestClosedAfterHandshake(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = closeOnDemand{rec} })
	for _, test := range []struct{ send, event string }{
		{frame(opClose, closePayload(1000, "")), "close 1000 theirs"},
		{frame(opText, "close"), "close 4000 ours"},
	} {
		c := dialSim(t, n, addr).upgraded()
		c.send(test.send)
		op, payload := c.frame()
		if op != opClose {
			t.Fatalf("frame %x %q, want a close frame", op, payload)
		}
		if payload == closePayload(4000, "on demand") {
			silentStill(t, c) // it waits for the peer's part
			c.send(frame(opText, "ignored") + frame(opPing, "ignored") + frame(opClose, payload))
		}
		pass(t, n, 2*second)
		c.expectEOF()
		rec.expect("open", test.event)
		eventually(t, "no descriptor but the listener's", func() bool { return n.OpenFDs() == 1 })
	}
}

// TestLinger: after a refusal and after our close frame for a bad frame we read
// on, so that the peer can read our last word, but not for ever.
func TestLinger(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, nil)
	for name, bad := range map[string]string{"refusal": without("Host:"), "close frame": upgradeRequest() + frame(3, "")} {
		t.Run(name, func(t *testing.T) {
			c := dialSim(t, n, addr)
			c.send(bad)
			pass(t, n, second)
			pass(t, n, second/2)
			c.send("sent before the answer was read")
			idle(t, n)
			if name == "refusal" {
				c.expectRefusal(400)
			} else {
				c.expectSwitch()
				if op, payload := c.frame(); op != opClose || payload[:2] != closePayload(1002, "") {
					t.Errorf("frame %x %q, want 1002", op, payload)
				}
				silentStill(t, c) // our direction is not ended yet
			}
			if n.OpenFDs() != 2 {
				t.Errorf("%d descriptors are open, want the listener's and the connection's", n.OpenFDs())
			}
			pass(t, n, second)
			eventuallyOn(t, n, "no descriptor but the listener's", func() bool { return n.OpenFDs() == 1 })
		})
	}
}

// closeOnDemand closes when it is told to.
type closeOnDemand struct{ *recorder }

func (h closeOnDemand) Message(c *server.Conn, m ws.Message) {
	if string(m.Payload) != "close" {
		h.recorder.Message(c, m)
		return
	}
	if err := c.Close(4000, "on demand"); err != nil {
		h.t.Errorf("Close: %v", err)
	}
	if err := c.Close(4001, "again"); err != server.ErrClosed {
		h.t.Errorf("second Close: %v, want ErrClosed", err)
	}
	if err := c.SendText("after"); err != server.ErrClosed {
		h.t.Errorf("Send after Close: %v, want ErrClosed", err)
	}
}

// TestNeverAnswersOurClose: "a peer that never answers ours => freed at the
// deadline", 5 s by default, with the code we closed with.
func TestNeverAnswersOurClose(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, 60 * second} {
		rec := newRecorder(t)
		n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Handler = closeOnDemand{rec}
			s.Timeouts.Close = timeout
			s.Keepalive.Interval = -1
		})
		deadline := max(timeout, 5*second)
		c := dialSim(t, n, addr).upgraded()
		rec.expect("open")
		c.send(frame(opText, "close"))
		c.expect(opClose, closePayload(4000, "on demand"))
		pass(t, n, deadline-second)
		c.send(frame(opText, "no answer") + frame(opPing, ""))
		idle(t, n)
		silentStill(t, c)
		rec.expectNone()
		pass(t, n, 2*second)
		eventuallyOn(t, n, "no descriptor but the listener's", func() bool { return n.OpenFDs() == 1 })
		rec.expect("close 4000 ours")
		c.expectEnd()
	}
}

// TestCodesWeNeverSend: "we never send 1005, 1006, 1015".
func TestCodesWeNeverSend(t *testing.T) {
	t.Parallel()
	onTransports(t, testCodesWeNeverSend)
}

func testCodesWeNeverSend(t *testing.T, serve serving) {
	t.Parallel()
	refused := make(chan error, 10)
	unsendable := []ws.Code{0, 1, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535}
	addr, _ := serve(t, func(s *server.Server) {
		s.Handler = handler{message: func(c *server.Conn, m ws.Message) {
			for _, code := range unsendable {
				refused <- c.Close(code, "")
			}
			if err := c.Close(ws.CodeNoStatus, "not sent"); err != nil {
				t.Errorf("Close(1005): %v", err)
			}
		}}
	})
	c := dial(t, addr).upgraded()
	c.send(frame(opText, "go"))
	c.expect(opClose, "")
	for _, code := range unsendable {
		if err := <-refused; err == nil {
			t.Errorf("Close(%d) was taken", code)
		}
	}
	c.send(frame(opClose, ""))
	c.expectEOF()
}

// TestReasonCut: "reason cut to 123 B at a rune".
func TestReasonCut(t *testing.T) {
	t.Parallel()
	onTransports(t, testReasonCut)
}

func testReasonCut(t *testing.T, serve serving) {
	t.Parallel()
	reasons := []string{
		strings.Repeat("x", 123), strings.Repeat("x", 124), strings.Repeat("\u20ac", 60), "x" + strings.Repeat("\u20ac", 60),
		strings.Repeat("\U0001f600", 40), strings.Repeat("x", 1<<20), "short",
	}
	addr, _ := serve(t, func(s *server.Server) {
		s.Handler = handler{message: func(c *server.Conn, m ws.Message) {
			if err := c.Close(ws.CodeNormal, reasons[m.Payload[0]]); err != nil {
				t.Errorf("Close: %v", err)
			}
		}}
	})
	for i, reason := range reasons {
		c := dial(t, addr).upgraded()
		c.send(frame(opBinary, string([]byte{byte(i)})))
		_, payload := c.frame()
		want := reason[:min(len(reason), 123)]
		for !utf8.ValidString(want) {
			want = want[:len(want)-1]
		}
		if payload != closePayload(1000, want) {
			t.Errorf("close frame %q, want 1000 and %q", payload, want)
		}
		c.send(frame(opClose, closePayload(1000, "")))
		c.expectEOF()
	}
}
