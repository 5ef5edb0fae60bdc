package server_test

import (
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestMessageRate: a burst to the last message, then one each 100 ms; pings and
// pongs are messages, fragments are not, and a close frame is always taken.
func TestMessageRate(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.MessageRate, s.Limits.MessageBurst = 10, 4 })
	c := dialSim(t, n, addr)
	c.send(upgradeRequest() + frame(opText, "1") + frame(opPing, "2"))
	c.expectSwitch()
	c.expect(opText, "1")
	c.expect(opPong, "2")
	c.send(frame(opPong, "3") + fragment(opText, "f") + fragment(opContinuation, "ou") + frame(opContinuation, "r"))
	c.expect(opText, "four")
	for range 20 {
		n.Advance(100 * time.Millisecond)
		c.send(frame(opText, "on time"))
		c.expect(opText, "on time")
	}
	n.Advance(time.Hour) // a rest fills the bucket and no more
	c.send(strings.Repeat(frame(opText, "burst"), 4) + frame(opClose, closePayload(1000, "")))
	for range 4 {
		c.expect(opText, "burst")
	}
	c.expectClose(1000)
	hits(t, srv, server.LimitMessageRate, 0)

	for name, last := range map[string]string{"text": frame(opText, "5"), "ping": frame(opPing, "5"), "pong": frame(opPong, "5")} {
		c = dialSim(t, n, addr).upgraded()
		c.send(strings.Repeat(frame(opText, "burst"), 4) + last + frame(opText, "not handled"))
		for range 4 {
			c.expect(opText, "burst")
		}
		if reason := c.expectClose(1008); reason != "too many messages a second" {
			t.Errorf("%s: closed because of %q", name, reason)
		}
	}
	hits(t, srv, server.LimitMessageRate, 3)
}

// TestByteRate: bytes to the last one of a burst, whatever they are; what is
// within is handled, a byte more ends it.
func TestByteRate(t *testing.T) {
	t.Parallel()
	const size = 1000
	message := frame(opBinary, strings.Repeat("x", size-8))
	for _, step := range []int{1, 7, size, 3 * size, 5 * size} {
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 7*size, 5*size, size-8
		})
		c := dialSim(t, n, addr).upgraded()
		for range 3 { // in pieces of step bytes
			stream := strings.Repeat(message, 5)
			for len(stream) > 0 {
				piece := min(step, len(stream))
				c.send(stream[:piece])
				stream = stream[piece:]
			}
			for range 5 {
				c.expect(opBinary, strings.Repeat("x", size-8))
			}
			idle(t, n)
			n.Advance(5 * time.Second / 7)
			n.Advance(1) // the fifth of a second is no whole number of nanoseconds
		}
		c.send(strings.Repeat(message, 5) + message[:1])
		for range 5 {
			c.expect(opBinary, strings.Repeat("x", size-8))
		}
		if reason := c.expectClose(1008); reason != "too many bytes a second" {
			t.Errorf("closed because of %q", reason)
		}
		hits(t, srv, server.LimitByteRate, 1)
	}
}

// TestByteBurstDefault: the largest message that is allowed is not too fast by
// itself.
func TestByteBurstDefault(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{RecvBuffer: 1 << 20}, func(s *server.Server) {
		s.Limits.ByteRate, s.Limits.Message = 100, 300_000
	})
	c := dialSim(t, n, addr).upgraded()
	big := frame(opBinary, strings.Repeat("x", 300_000))
	c.send(big)
	c.expect(opBinary, strings.Repeat("x", 300_000))
	n.Advance(time.Second)
	c.send(big)
	c.expectClose(1008)
	hits(t, srv, server.LimitByteRate, 1)
}

// TestRatesOnSockets floods a server on real sockets with messages, and another
// one with pings.
func TestRatesOnSockets(t *testing.T) {
	t.Parallel()
	for _, op := range []byte{opText, opPing} {
		addr, srv := startServer(t, func(s *server.Server) { s.Limits.MessageRate, s.Limits.MessageBurst = 1, 10 })
		c := dial(t, addr).upgraded()
		go func() { _, _ = c.Write([]byte(strings.Repeat(frame(op, "flood"), 10_000))) }() // the answer tells
		answers := 0
		for got, _ := c.frame(); got != opClose; got, _ = c.frame() {
			answers++
		}
		if answers < 10 || answers > 10+int(patience/time.Second) {
			t.Errorf("%d answers, want 10 and one for each second", answers)
		}
		hits(t, srv, server.LimitMessageRate, 1)
	}
}

// TestRatesWithoutEnd: rates and bursts as large as there are numbers are no limit.
func TestRatesWithoutEnd(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.MessageRate, s.Limits.MessageBurst, s.Limits.ByteRate, s.Limits.ByteBurst = math.MaxInt, math.MaxInt, math.MaxInt64, math.MaxInt64
		s.Limits.HandshakeRate, s.Limits.HandshakeBurst, s.Keepalive.Interval = math.MaxInt, math.MaxInt, -1
	})
	c := dialSim(t, n, addr).upgraded()
	for range 3 {
		c.send(frame(opText, "in time"))
		c.expect(opText, "in time")
		n.Advance(10000 * time.Hour)
	}
}

// TestRatesStream: the pieces of a message count as one.
func TestRatesStream(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Handler, s.Limits.MessageRate, s.Limits.MessageBurst = inPieces(true, echo{}), 1, 2
	})
	c := dialSim(t, n, addr).upgraded()
	for range 2 {
		for i, piece := range []string{fragment(opText, "a"), fragment(opContinuation, "b"), frame(opContinuation, "c")} {
			c.send(piece)
			c.expect(opText, "abc"[i:i+1])
		}
	}
	c.send(fragment(opText, "a"))
	c.expect(opText, "a")
	c.send(frame(opContinuation, "c"))
	c.expectClose(1008)
	hits(t, srv, server.LimitMessageRate, 1)
}

// TestRatesAndASlowServer: a peer that keeps to its rate is not cut because the
// server could not read for a while, be it that its own handler blocked or that
// others held all workers; and it gains no more than that while.
func TestRatesAndASlowServer(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		s := newStaller()
		n, addr, srv := startSim(t, simnet.Config{RecvBuffer: 1 << 20}, func(srv *server.Server) {
			twoWorkers(srv)
			srv.Limits.MessageRate, srv.Limits.MessageBurst, srv.Limits.ByteRate = 10, 5, 10*100_000
			srv.Keepalive.Interval = -1
			srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
				if !s.hold(m) {
					_ = c.SendText("handled")
				}
			})
		})
		c := dialSim(t, n, addr).upgraded()
		hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
		idle(t, n)
		if own {
			c.send(frame(opText, "hold"))
			<-s.held
		} else {
			s.stall(hold1, hold2)
		}
		sent := 0
		for range 60 {
			n.Advance(100 * time.Millisecond)
			c.send(frame(opBinary, strings.Repeat("x", 10_000)))
			sent++
		}
		close(s.release)
		for range sent {
			c.expect(opText, "handled")
		}
		hits(t, srv, server.LimitMessageRate, 0)
		hits(t, srv, server.LimitByteRate, 0)
		idle(t, n)
		n.Advance(time.Minute)
		c.send(strings.Repeat(frame(opText, "x"), 6))
		for range 5 {
			c.expect(opText, "handled")
		}
		c.expectClose(1008)
	}
}

// TestRatesOfMany: it makes no difference how many others wait for a server that
// stood still; a batch of events holds not all of them. The rates are the server's, or
// each connection's own.
func TestRatesOfMany(t *testing.T) {
	t.Parallel()
	t.Run("server's", func(t *testing.T) {
		testRatesOfMany(t, func(srv *server.Server) { srv.Limits.MessageRate, srv.Limits.MessageBurst = 10, 5 })
	})
	t.Run("own", func(t *testing.T) {
		testRatesOfMany(t, func(srv *server.Server) {
			srv.Upgrade = func(*ws.Request) (server.Accept, error) {
				return server.Accept{Limits: &server.ConnLimits{MessageRate: 10, MessageBurst: 5}}, nil
			}
		})
	})
}

func testRatesOfMany(t *testing.T, withRates func(*server.Server)) {
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		withRates(srv)
		srv.Keepalive.Interval = -1
		srv.Handler = onlyMessage(func(_ *server.Conn, m ws.Message) { s.hold(m) })
	})
	clients := connectSim(t, n, addr, 1500)
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	idle(t, n)
	s.stall(hold1, hold2)
	for _, c := range clients {
		c.send(strings.Repeat(frame(opText, "x"), 20))
	}
	n.Advance(2 * time.Second)
	close(s.release)
	eventually(t, "all is handled", func() bool { return srv.Stats().MessagesIn == 20*1500+2 })
	hits(t, srv, server.LimitMessageRate, 0)
}

// TestRatesOfATakenTurn: a turn that is slow before it has read, so that another
// worker leads the loop, still knows how late the loop was.
func TestRatesOfATakenTurn(t *testing.T) {
	t.Parallel()
	s := newStaller()
	var slow atomic.Int64 // the connection whose read is
	slow.Store(-1)
	reading, read := make(chan struct{}), make(chan struct{})
	config := simnet.Config{Script: func(call simnet.Call) simnet.Verdict {
		if call.Op == simnet.OpRead && slow.CompareAndSwap(int64(call.Number), -1) {
			close(reading)
			<-read
		}
		return simnet.Verdict{}
	}}
	n, addr, srv := startSim(t, config, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Limits.MessageRate, srv.Limits.MessageBurst, srv.Keepalive.Interval = 10, 5, -1
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			if !s.hold(m) {
				_ = c.SendText("handled")
			}
		})
	})
	conn, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn).upgraded()
	hold1, hold2, other := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	idle(t, n)
	s.stall(hold1, hold2)
	c.send(strings.Repeat(frame(opText, "x"), 20))
	n.Advance(2 * time.Second)
	slow.Store(int64(conn.Number()))
	close(s.release)
	<-reading
	for range 2 { // rounds of another leader
		other.send(frame(opText, "x"))
		other.expect(opText, "handled")
	}
	close(read)
	for range 20 {
		c.expect(opText, "handled")
	}
	hits(t, srv, server.LimitMessageRate, 0)
}
