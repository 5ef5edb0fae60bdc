package server

import (
	"cmp"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/ws"
)

// minBalancerIdle is the shortest idle timeout of a balancer that pings can keep
// up with.
const minBalancerIdle = time.Second

// MaxPingInterval is the longest Keepalive.Interval with which a balancer never sees a
// connection idle for balancerIdle: the interval may be a fifth longer (jitter),
// and two tenths of a second are for the grain of deadlines and the way to the
// balancer.
func MaxPingInterval(balancerIdle time.Duration) time.Duration {
	return max((balancerIdle/loop.TickTime-2)*5/6, 0) * loop.TickTime
}

// pingInterval is the effective one; below 0 is never.
func (s *Server) pingInterval() time.Duration {
	byDefault := defaultPingInterval
	if s.Keepalive.BalancerIdle > 0 {
		byDefault = min(byDefault, s.Keepalive.BalancerIdle/2) // half: also a ping that is late comes in time
	}
	return cmp.Or(s.Keepalive.Interval, byDefault)
}

// nextPing is when silence calls for a ping, or, after a ping, for the end: after
// two intervals, or one after a ping that went out late, for whatever reason.
func (c *Conn) nextPing(lim *connLimits) tick {
	active := tick(c.active.Load())
	switch {
	case c.is(eventStream): // whose comments nobody answers
		return max(active, c.pingedAt) + c.jittered(lim.ping)
	case c.pingedAt == 0:
		return active + c.jittered(lim.ping)
	case c.pingedAt > active+lim.ping+lim.ping/5:
		return c.pingedAt + lim.ping + 1 // as timeoutTicks
	}
	return active + 2*lim.ping + 1
}

// jittered is a time between 80 % and 120 % of t, its own for each connection
// and period, so that connections that came together are not pinged together.
func (c *Conn) jittered(t ticks) ticks {
	fifth := t / 5
	return t - fifth + c.scattered(tick(c.active.Load()), 2*fifth)
}

// noteAlive notes a sign of life from the peer.
func (c *Conn) noteAlive() {
	now := uint32(c.loop.Now())
	if c.active.Load() != now {
		c.active.Store(now)
	}
	if c.pingedAt != 0 {
		c.pingedAt = 0
		c.seat.DueChanged() // of the next ping, or those answered together stay together
	}
}

// ping sends a keepalive ping. There is no queue.
func (c *Conn) ping(now tick) {
	c.mu.Lock()
	defer c.mu.Unlock()
	unacked := c.unacked()
	if unacked > 0 || c.paused() || c.facts != nil && (c.facts.behind || c.facts.pingedTo > 0) {
		f := c.ownFacts()
		f.behind, f.acked = unacked > 0, c.written()-unacked
		f.pingedTo = c.written() + 1
	}
	c.pingedAt = max(now, 1)
	c.loop.counters.pings.Add(1)
	_ = c.put(ws.Ping, nil, nil, nil) // no queue: nothing to fail here
}

// mayLive says whether a peer that has not answered a ping may yet do so: the ping
// stands behind bytes of which its side still takes some, or we do not read what it
// answers and its side has the ping.
func (c *Conn) mayLive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, unacked := c.facts, c.unacked()
	acked := c.written() - unacked
	if c.standsStill() && (unacked == 0 || f == nil || f.pingedTo == 0 || acked >= f.pingedTo) {
		return true // its side has the ping, or it was paused behind it
	}
	return f != nil && f.behind && (unacked == 0 || progressed(&f.acked, acked))
}
