package server_test

import (
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestEndWithoutClose: "FIN without close => 1006 to the application", at rest,
// in the midst of a frame and of a message.
func TestEndWithoutClose(t *testing.T) {
	t.Parallel()
	onTransports(t, testEndWithoutClose)
}

func testEndWithoutClose(t *testing.T, serve serving) {
	t.Parallel()
	rec := newRecorder(t)
	addr, _ := serve(t, func(s *server.Server) { s.Handler = rec })
	whole := frame(opText, "half")
	for _, before := range []string{"", whole[:1], whole[:len(whole)-1], fragment(opText, "a"), fragment(opText, "a") + frame(opContinuation, "b")[:3]} {
		c := dial(t, addr).upgraded()
		c.send(before)
		c.closeWrite()
		rec.expect("open", "close 1006 ours")
		c.expectEOF()
	}
}

// TestFrameThenFIN: "A frame, then FIN => answered, then closed", in one segment
// with the request, in one of its own, and with more behind it.
func TestFrameThenFIN(t *testing.T) {
	t.Parallel()
	t.Run("behind the request", overTransports(func(t *testing.T, serve serving) {
		rec := newRecorder(t)
		addr, _ := serve(t, func(s *server.Server) { s.Handler = rec })
		c := dial(t, addr)
		c.send(upgradeRequest() + frame(opText, "last words"))
		c.closeWrite()
		c.expectSwitch()
		c.expect(opText, "last words")
		c.expectEOF()
		rec.expect("open", "1 last words", "close 1006 ours")
	}))
	t.Run("at once", func(t *testing.T) {
		rec := newRecorder(t)
		n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = rec })
		c := dialSim(t, n, addr).upgraded()
		c.send(frame(opText, "one") + frame(opPing, "p") + frame(opText, "two") + frame(opText, "half")[:8])
		c.closeWrite()
		c.expect(opText, "one")
		c.expect(opPong, "p")
		c.expect(opText, "two")
		c.expectEOF()
		rec.expect("open", "1 one", "1 two", "close 1006 ours")
	})
	t.Run("short reads and writes", func(t *testing.T) {
		rec := newRecorder(t)
		n, addr, _ := startSim(t, simnet.Config{Script: simnet.OneByte}, func(s *server.Server) { s.Handler = rec })
		c := dialSim(t, n, addr)
		c.send(upgradeRequest() + frame(opText, "one") + frame(opText, "two"))
		c.closeWrite()
		c.expectSwitch()
		c.expect(opText, "one")
		c.expect(opText, "two")
		c.expectEOF()
		rec.expect("open", "1 one", "1 two", "close 1006 ours")
	})
	t.Run("close frame, then FIN", func(t *testing.T) {
		rec := newRecorder(t)
		n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = rec })
		c := dialSim(t, n, addr).upgraded()
		c.send(frame(opClose, closePayload(1000, "")))
		c.closeWrite()
		c.expectClose(1000)
		rec.expect("open", "close 1000 theirs")
	})
}

// TestReset: "RST mid-frame => only that one, Close once", at each stage of a
// connection, with another one next to it.
func TestReset(t *testing.T) {
	t.Parallel()
	whole := upgradeRequest() + frame(opText, "whole") + frame(opText, "half")
	opened := len(upgradeRequest())
	t.Run("at every byte", func(t *testing.T) {
		rec := newRecorder(t)
		n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = rec })
		other := dialSim(t, n, addr).upgraded()
		rec.expect("open")
		for i := range len(whole) {
			c := dialSim(t, n, addr)
			c.send(whole[:i])
			var last []string
			if i >= opened {
				rec.expect("open")
				last = []string{"close 1006 ours"}
			}
			if i >= opened+len(frame(opText, "whole")) {
				rec.expect("1 whole")
			}
			idle(t, n)
			c.reset()
			rec.expect(last...)
			other.send(frame(opText, "next to it"))
			other.expect(opText, "next to it")
			rec.expect("1 next to it")
		}
		rec.expectNone()
	})
	t.Run("in a frame", overTransports(func(t *testing.T, serve serving) {
		rec := newRecorder(t)
		addr, srv := serve(t, func(s *server.Server) { s.Handler = rec })
		other := dial(t, addr).upgraded()
		c := dial(t, addr).upgraded()
		rec.expect("open", "open")
		c.send(frame(opText, "half")[:7])
		c.reset()
		rec.expect("close 1006 ours")
		other.send(frame(opText, "next to it"))
		other.expect(opText, "next to it")
		rec.expect("1 next to it")
		rec.expectNone()
		eventually(t, "the reset connection to be freed", func() bool { return srv.Stats().Open == 1 })
	}))
}

// TestOpenThenMessagesThenCloseOnce: Open, each message in order, Close once.
func TestOpenThenMessagesThenCloseOnce(t *testing.T) {
	t.Parallel()
	onTransports(t, testOpenThenMessagesThenCloseOnce)
}

func testOpenThenMessagesThenCloseOnce(t *testing.T, serve serving) {
	t.Parallel()
	rec := newRecorder(t)
	addr, _ := serve(t, func(s *server.Server) { s.Handler = rec })
	c := dial(t, addr)
	c.send(upgradeRequest() + frame(opText, "a") + frame(opBinary, "b") + fragment(opText, "c") +
		frame(opContinuation, "d") + frame(opPing, "p") + frame(opText, "e") + frame(opClose, closePayload(1001, "")))
	c.expectSwitch()
	rec.expect("open", "1 a", "2 b", "1 cd", "1 e", "close 1001 theirs")
	c.expect(opText, "a")
	c.expect(opBinary, "b")
	c.expect(opText, "cd")
	c.expect(opPong, "p")
	c.expect(opText, "e")
	c.expectClose(1001)
	rec.expectNone()
}
