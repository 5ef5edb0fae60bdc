package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestSetLimits: a login raises the bound of what follows it in the same read; another
// message lowers it again.
func TestSetLimits(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			s.Limits.Message = 100
			s.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
				var err error
				switch string(m.Payload) {
				case "login":
					l := c.Limits()
					l.Message = 5000
					err = c.SetLimits(l)
				case "logout":
					err = c.SetLimits(server.ConnLimits{})
				}
				if err != nil {
					t.Error(err)
				}
				_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
			})
		})
		for range 3 {
			c := connect().upgraded()
			c.send(frame(opText, "login") + frame(opText, pattern(1, 5000)) + frame(opText, "logout") + frame(opText, pattern(1, 100)) + frame(opText, pattern(1, 101)))
			for _, want := range []string{"login", pattern(1, 5000), "logout", pattern(1, 100)} {
				c.expect(opText, want)
			}
			c.expectClose(1009)
			c = connect().upgraded()
			c.send(frame(opText, pattern(1, 101)))
			c.expectClose(1009)
		}
		hits(t, srv, server.LimitMessage, 6)
	})
}

// TestSetLimitsUnderWay: of a message under way the frame that has begun is taken, also
// if it is larger than what is allowed now; the next one counts all.
func TestSetLimitsUnderWay(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message}
	})
	text := pattern(1, 1000)
	for _, whole := range []bool{true, false} {
		c := dialSim(t, n, addr).upgraded()
		first := frame(opText, text)
		if !whole {
			first = fragment(opText, text)
		}
		c.send(first[:500])
		idle(t, n)
		if err := (<-conns).SetLimits(server.ConnLimits{Message: 10}); err != nil {
			t.Fatal(err)
		}
		idle(t, n)
		c.send(first[500:])
		if whole {
			c.expect(opText, text)
			c.send(frame(opText, "0123456789"))
			c.expect(opText, "0123456789")
			c.send(frame(opText, "0123456789a"))
		} else {
			c.send(frame(opContinuation, ""))
		}
		c.expectClose(1009)
	}
}

// TestSetLimitsTimes: an idle time, a lifetime and an interval of pings that are set, or
// taken away, on a connection at rest hold from then on.
func TestSetLimitsTimes(t *testing.T) {
	t.Parallel()
	for _, serverHas := range []bool{false, true} {
		conns := make(chan *server.Conn, 1)
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Handler, s.Keepalive.Interval = opened(conns), -1
			if serverHas {
				s.Timeouts.Idle = 10 * time.Second
			}
		})
		open := func(l server.ConnLimits) *client {
			c := dialSim(t, n, addr).upgraded()
			if err := (<-conns).SetLimits(l); err != nil {
				t.Fatal(err)
			}
			idle(t, n)
			return c
		}
		never := server.ConnTimeouts{Idle: -1}
		rest := open(server.ConnLimits{Timeouts: never})
		pass(t, n, time.Hour)
		ended := map[*client]string{
			open(server.ConnLimits{Timeouts: server.ConnTimeouts{Idle: 5 * time.Second}}):               "idle timeout",
			open(server.ConnLimits{Timeouts: server.ConnTimeouts{Idle: -1, Lifetime: 5 * time.Second}}): lifetimeReason,
			open(server.ConnLimits{Timeouts: never, PingInterval: 4 * time.Second}):                     "ping",
		}
		pass(t, n, 4*time.Second-tickTime)
		hits(t, srv, server.LimitIdleTimeout, 0) // it counts from when it was set
		pass(t, n, time.Second+3*tickTime)
		for c, reason := range ended {
			op, payload := c.frame()
			if reason == "ping" && op != opPing || reason != "ping" && (op != opClose || payload[2:] != reason) {
				t.Errorf("frame %x %q, want %s", op, payload, reason)
			}
		}
		rest.send(frame(opPing, "still here"))
		rest.expect(opPong, "still here")
		hits(t, srv, server.LimitIdleTimeout, 1)
	}
}

// TestSetLimitsQueue: marks and bounds that are set hold for the queue that there is.
func TestSetLimitsQueue(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		s.Handler, s.Queue = opened(conns), server.Queue{HighWater: 50_000, LowWater: 1}
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	set := func(q server.Queue) {
		t.Helper()
		if err := conn.SetLimits(server.ConnLimits{Queue: q}); err != nil {
			t.Fatal(err)
		}
		idle(t, n)
	}
	expect := func(paused int64, message string, err error) {
		t.Helper()
		if got := srv.Stats().Paused; got != paused {
			t.Errorf("%d are paused, want %d", got, paused)
		}
		if got := conn.SendText(message); !errors.Is(got, err) {
			t.Errorf("Send: %v, want %v", got, err)
		}
	}
	if err := conn.Send(ws.Binary, make([]byte, 30_000)); err != nil {
		t.Fatal(err)
	}
	idle(t, n)
	expect(0, "1", nil)
	set(server.Queue{HighWater: 20_000})
	expect(1, "2", nil)
	set(server.Queue{Max: 10_000, HighWater: -1, Policy: server.DropNewest})
	expect(0, "dropped", server.ErrQueueFull)
	set(server.Queue{})
	expect(0, "3", nil)
	c.expect(opBinary, string(make([]byte, 30_000)))
	for _, text := range []string{"1", "2", "3"} {
		c.expect(opText, text)
	}
}

// TestSetLimitsRates: rates that are set begin with full buckets, with the next read.
func TestSetLimitsRates(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			var rate int
			if _, err := fmt.Sscan(string(m.Payload), &rate); err == nil {
				if err := c.SetLimits(server.ConnLimits{MessageRate: rate, ByteRate: int64(rate) * 1000, Message: 100}); err != nil {
					t.Error(err)
				}
			}
			_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
		})
	})
	c := dialSim(t, n, addr).upgraded()
	for _, rate := range []int{-1, 5, 3, 7, -1, 4} {
		set := frame(opText, fmt.Sprint(rate))
		c.send(set + strings.Repeat(frame(opText, "x"), max(2-rate, 0)*100)) // off: as many as it likes
		c.expect(opText, fmt.Sprint(rate))
		for range max(2-rate, 0) * 100 {
			c.expect(opText, "x")
		}
		idle(t, n)
		if rate < 0 {
			continue
		}
		for range rate - 1 { // the next one sets another
			c.send(frame(opText, "x"))
			c.expect(opText, "x")
			idle(t, n)
		}
	}
	hits(t, srv, server.LimitMessageRate, 0)
	c.send(frame(opText, "x"))
	c.expect(opText, "x")
	c.send(frame(opText, "x"))
	c.expectClose(1008)
	hits(t, srv, server.LimitMessageRate, 1)
}

// TestSetLimitsAnywhere: called by many goroutines, in every callback and after the end,
// SetLimits and Limits are right, or say that the connection is closed.
func TestSetLimitsAnywhere(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		all := []server.ConnLimits{
			{}, {Message: 5000}, {Timeouts: server.ConnTimeouts{Idle: time.Hour}}, {MessageRate: 1000, ByteRate: 1 << 20},
			{Queue: server.Queue{HighWater: 10}}, {Timeouts: server.ConnTimeouts{Lifetime: time.Hour}, PingInterval: time.Second},
		}
		set := func(c *server.Conn, i int) {
			if err := c.SetLimits(all[i%len(all)]); err != nil && !errors.Is(err, server.ErrClosed) {
				t.Error(err)
			}
			_ = c.Limits()
		}
		ended := make(chan *server.Conn, 10)
		connect, _ := start(t, func(s *server.Server) {
			s.Runtime.Loops = 1
			s.Handler = server.HandlerFuncs{
				OnOpen: func(c *server.Conn) {
					set(c, 3)
					for g := range 3 {
						go func() {
							for i := range 100 {
								set(c, g+i)
							}
						}()
					}
				},
				OnMessage: func(c *server.Conn, m ws.Message) { set(c, len(m.Payload)); _ = c.Send(m.Opcode, m.Payload) },
				OnClose: func(c *server.Conn, _ error) {
					if err := c.SetLimits(all[1]); !errors.Is(err, server.ErrClosed) {
						t.Errorf("at the end: %v", err)
					}
					ended <- c
				},
			}
		})
		for range 3 {
			c := connect().upgraded()
			for i := range 50 {
				text := pattern(1, i+1)
				c.send(frame(opText, text[:1]) + fragment(opText, text))
				c.send(frame(opContinuation, ""))
				c.expect(opText, text[:1])
				c.expect(opText, text)
			}
			c.send(frame(opClose, ""))
			c.expectClose(1005)
			set(<-ended, 1)
		}
	})
}
