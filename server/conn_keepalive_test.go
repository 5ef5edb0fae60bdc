package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestHalfOpen: a peer that is gone without a word is pinged after the interval
// and reaped after two of silence.
func TestHalfOpen(t *testing.T) {
	causes := make(chan *ws.CloseError, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Keepalive.Interval = 10 * time.Second
		srv.Handler = handler{close: closeCause(causes)}
	})
	c := dialSim(t, n, addr).upgraded()
	pass(t, n, 7900*time.Millisecond)
	if c.buffered() != 0 {
		t.Error("something was sent within 80 % of the interval")
	}
	pass(t, n, 4100*time.Millisecond)
	if got := c.buffered(); got != 2 {
		t.Errorf("%d bytes were sent after 120 %% of the interval, want one empty ping", got)
	}
	pass(t, n, 7800*time.Millisecond)
	if srv.Stats().Open != 1 || c.buffered() != 2 {
		t.Error("it was reaped, or sent something, before two intervals were over")
	}
	pass(t, n, 300*time.Millisecond)
	if cause := <-causes; cause.Code != ws.CodeAbnormal || cause.Remote {
		t.Errorf("closed with %v, want 1006", cause)
	}
	if srv.Stats().Open != 0 {
		t.Error("it was not reaped after two intervals")
	}
	c.expect(opPing, "")
	c.expectEnd()
}

// buffered is how many bytes wait for the client.
func (c *client) buffered() int { return c.Conn.(*simnet.Conn).Buffered() }

// TestKeepaliveJitter: connections that came together are not pinged together,
// and none is sent anything else while it is idle.
func TestKeepaliveJitter(t *testing.T) {
	const conns, intervals = 200, 4
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Keepalive.Interval = 20 * time.Second
	})
	clients := make([]*client, conns)
	for i := range clients {
		clients[i] = dialSim(t, n, addr).upgraded()
	}
	pings, most := 0, 0
	for range intervals * 20 * 10 {
		pass(t, n, 100*time.Millisecond)
		now := 0
		for _, c := range clients {
			if c.buffered() > 0 {
				c.expect(opPing, "")
				c.send(frame(opPong, ""))
				now++
			}
		}
		pings, most = pings+now, max(most, now)
	}
	if pings < conns*(intervals-1) || pings > conns*(intervals+1) {
		t.Errorf("%d pings for %d connections in %d intervals", pings, conns, intervals)
	}
	if most > conns/8 {
		t.Errorf("%d of %d connections were pinged at once", most, conns)
	}
	if srv.Stats().Open != conns {
		t.Error("connections that answer were closed")
	}
}

// TestNoKeepalive sends nothing at all.
func TestNoKeepalive(t *testing.T) {
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Keepalive.Interval = -1 })
	c := dialSim(t, n, addr).upgraded()
	pass(t, n, 1000*time.Hour)
	if c.buffered() != 0 || srv.Stats().Open != 1 {
		t.Error("an idle connection was sent something or closed")
	}
}

// TestClockStepCutsNobody moves the clock by an hour at once, as when the process was
// stopped: nobody is cut for the server's own absence, everyone is asked first.
// No wall clock takes part: simnet's is the only one that moves.
func TestClockStepCutsNobody(t *testing.T) {
	const conns = 700 // more than one batch of events
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = holdOrEcho(s)
	})
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	clients := make([]*client, conns)
	for i := range clients {
		clients[i] = dialSim(t, n, addr).upgraded()
	}
	pass(t, n, 31*time.Second)
	for _, c := range append(clients, hold1, hold2) {
		c.expect(opPing, "")
	}
	s.stall(hold1, hold2) // the process stands still, while pongs come in
	for _, c := range clients {
		c.send(frame(opPong, ""))
	}
	n.Advance(time.Hour)
	close(s.release)
	idle(t, n)
	if got := srv.Stats().Open; got != conns+2 {
		t.Fatalf("%d of %d connections are left after an hour's absence", got, conns+2)
	}
	for _, c := range []*client{hold1, hold2} {
		c.expect(opText, "hold")
		c.expect(opPing, "")
		c.send(frame(opPong, ""))
	}
	idle(t, n)
	n.Advance(time.Hour) // now they are idle: pinged first, and cut only if silent
	idle(t, n)
	if got := srv.Stats().Open; got != conns+2 {
		t.Fatalf("%d of %d connections are left after a clock step", got, conns+2)
	}
	for _, c := range clients[:conns/2] {
		c.expect(opPing, "")
		c.send(frame(opPong, ""))
	}
	idle(t, n)
	n.Advance(55 * time.Second)
	eventually(t, "the silent are reaped", func() bool { return srv.Stats().Open == conns/2 })
}

// TestIdleTimeout closes who sends no message, pongs or not, with 1001.
func TestIdleTimeout(t *testing.T) {
	causes := make(chan *ws.CloseError, 1)
	n, addr, _ := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Timeouts.Idle = time.Minute
		srv.Keepalive.Interval = -1
		srv.Handler = handler{message: echo{}.Message, close: closeCause(causes)}
	})
	c := dialSim(t, n, addr).upgraded()
	for range 3 {
		pass(t, n, 40*time.Second)
		c.send(frame(opText, "not idle"))
		c.expect(opText, "not idle")
	}
	for range 5 {
		pass(t, n, 10*time.Second)
		c.send(frame(opPing, "no message"))
		c.expect(opPong, "no message")
	}
	if c.buffered() != 0 {
		t.Error("closed before its time")
	}
	pass(t, n, 11*time.Second)
	if cause := <-causes; cause.Code != ws.CodeGoingAway || cause.Remote {
		t.Errorf("closed with %v, want 1001 by us", cause)
	}
	c.expectClose(1001)
}

// TestBalancerIdle: a balancer that forgets what is idle for so long never has
// reason to, with the default interval and with the longest that is allowed.
func TestBalancerIdle(t *testing.T) {
	for _, test := range []struct{ idle, interval time.Duration }{
		{time.Second, 0}, {10 * time.Second, 0}, {60 * time.Second, 0}, {350 * time.Second, 0},
		{time.Second, server.MaxPingInterval(time.Second)},
		{10 * time.Second, server.MaxPingInterval(10 * time.Second)},
		{60 * time.Second, server.MaxPingInterval(60 * time.Second)},
	} {
		t.Run(fmt.Sprint(test.idle, " ", test.interval), func(t *testing.T) {
			conns := partly(100)
			n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
				srv.Keepalive.BalancerIdle, srv.Keepalive.Interval = test.idle, test.interval
			})
			clients := make([]*client, conns)
			for i := range clients {
				clients[i] = dialSim(t, n, addr).upgraded()
			}
			silent := make([]time.Duration, conns)
			const step = 50 * time.Millisecond
			for range min(5*test.idle, 5*time.Minute) / step {
				pass(t, n, step)
				for i, c := range clients {
					if silent[i] += step; silent[i] >= test.idle {
						t.Fatalf("a connection was silent for %v", silent[i])
					}
					if c.buffered() > 0 {
						c.expect(opPing, "")
						c.send(frame(opPong, ""))
						silent[i] = 0
					}
				}
			}
			if got := srv.Stats().Open; got != int64(conns) {
				t.Errorf("%d of %d connections are left", got, conns)
			}
		})
	}
}

// TestBalancerIdleContradicted: settings that would let a balancer cut idle
// connections are an error at the start.
func TestBalancerIdleContradicted(t *testing.T) {
	t.Parallel()
	for _, srv := range []*server.Server{
		{Keepalive: server.Keepalive{BalancerIdle: time.Minute, Interval: -1}},
		{Keepalive: server.Keepalive{BalancerIdle: time.Minute, Interval: server.MaxPingInterval(time.Minute) + 1}},
		{Keepalive: server.Keepalive{BalancerIdle: time.Second - 1}},
	} {
		srv.Runtime.Engine = simnet.New(simnet.Config{})
		ln, err := srv.Listen("tcp", "127.0.0.1:0")
		if err == nil || !strings.HasPrefix(err.Error(), "server: ") || !strings.Contains(err.Error(), srv.Keepalive.BalancerIdle.String()) {
			t.Errorf("%v, %v: %v, %v", srv.Keepalive.BalancerIdle, srv.Keepalive.Interval, ln, err)
		}
	}
	for idle, want := range map[time.Duration]time.Duration{
		0: 0, 100 * time.Millisecond: 0, time.Second: 600 * time.Millisecond, time.Minute: 49800 * time.Millisecond,
	} {
		if got := server.MaxPingInterval(idle); got != want {
			t.Errorf("MaxPingInterval(%v) is %v, want %v", idle, got, want)
		}
	}
}
