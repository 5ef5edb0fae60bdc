package server

import (
	"github.com/millrace/millrace/ws"
)

// # Deadlines
//
// A connection has one deadline, in its loop's table: no timer of its own. It is
// set anew when a turn has changed what is awaited, and looked at when it is
// over: only then does activity since count, so a busy connection costs a glance
// every PingInterval.

// nextDue is the connection's next deadline. The leader calls it, after a turn.
// It may be over already: a busy peer must not put it off with each turn.
func (c *Conn) nextDue() tick {
	c.mu.Lock()
	defer c.mu.Unlock()
	lim := &c.loop.srv.limits
	switch c.lifeNow() {
	case lifeProxy, lifeSecure, lifeHead:
		return c.loop.table.due(c.slot) // counts from accept, whatever the peer does
	case lifeOpen:
		due := c.nextPing(lim)
		if lim.idle > 0 {
			due = min(due, c.facts.messageAt+lim.idle)
		}
		if lim.lifetime > 0 {
			due = min(due, c.lifeOver(c.loop.table.since(c.slot)))
		}
		if c.out != nil {
			due = min(due, c.out.since+lim.write)
		}
		if c.mute() {
			due = min(due, c.facts.closeAt)
		}
		return due
	default:
		return c.facts.closeAt
	}
}

// nextPing is when silence calls for a ping, or, after a ping, for the end.
func (c *Conn) nextPing(lim *limits) tick {
	if lim.ping == 0 {
		return noDue
	}
	active := tick(c.active.Load())
	if c.pinged {
		return active + 2*lim.ping
	}
	return active + c.jittered(lim.ping)
}

// jittered is a time between 80 % and 120 % of t, its own for each connection
// and period, so that connections that came together are not pinged together.
func (c *Conn) jittered(t ticks) ticks {
	fifth := t / 5
	return t - fifth + c.scattered(tick(c.active.Load()), 2*fifth)
}

// lifeOver is the end of the lifetime of a connection that is there since then:
// after 80 % to 100 % of MaxLifetime, so that those that came together do not
// leave, and come back, together.
func (c *Conn) lifeOver(since tick) tick {
	lifetime := c.loop.srv.limits.lifetime
	return since + lifetime - c.scattered(since, lifetime/5)
}

// scattered is a time from 0 to most, made of the connection's slot and a tick.
func (c *Conn) scattered(salt tick, most ticks) ticks {
	hash := (uint64(c.slot)<<32 | uint64(salt)) * 0x9e3779b97f4a7c15
	return ticks((hash >> 32) % (uint64(most) + 1))
}

// noteAlive notes a sign of life from the peer.
func (c *Conn) noteAlive() {
	now := uint32(c.loop.now())
	if c.active.Load() != now {
		c.active.Store(now)
	}
	if c.pinged {
		c.pinged = false
		c.wantsDue = true // of the next ping, or those answered together stay together
	}
}

var (
	errStopped  = &ws.CloseError{Code: ws.CodeGoingAway, Reason: "server stopped"}
	errIdle     = &ws.CloseError{Code: ws.CodeGoingAway, Reason: "idle timeout"}
	errDead     = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "no sign of life from the peer"}
	errNoAnswer = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "close timeout: no close frame from the peer"}
	errNotTaken = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "write timeout: the peer takes nothing"}
	errTooLate  = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "handshake timeout"}

	errNoProxyHeader = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "no right PROXY header"}
)

// expire looks what is overdue.
func (c *Conn) expire(w *worker) {
	c.wantsDue = true
	lim := &c.loop.srv.limits
	now := c.loop.now()
	switch c.lifeNow() {
	case lifeProxy, lifeSecure, lifeHead:
		c.headTimedOut()
	case lifeOpen:
		c.expireOpen(w, lim, now)
	default:
		c.mu.Lock()
		if now >= c.facts.closeAt {
			if c.lifeNow() == lifeClosing {
				c.loop.srv.hit(LimitCloseTimeout)
			}
			c.noteCut()
			c.endLocked(errNoAnswer, endNow)
		}
		c.mu.Unlock()
	}
}

func (c *Conn) expireOpen(w *worker, lim *limits, now tick) {
	mute, over := c.muted()
	switch {
	case over:
		c.end(c.facts.broken, endNow)
	case mute:
	case c.writeOverdue(lim, now):
		c.loop.srv.hit(LimitWriteTimeout)
		c.end(errNotTaken, endNow)
	case lim.idle > 0 && now >= c.facts.messageAt+lim.idle:
		c.loop.srv.hit(LimitIdleTimeout)
		c.end(errIdle, endLinger)
	case lim.lifetime > 0 && now >= c.lifeOver(w.since):
		if c.Close(ws.CodeGoingAway, "connection lifetime over") == nil {
			c.loop.srv.hit(LimitLifetime)
		}
	case lim.ping == 0:
	case c.pinged && now >= tick(c.active.Load())+2*lim.ping:
		c.loop.counters.dead.Add(1)
		c.loop.srv.hit(LimitPingTimeout)
		c.end(errDead, endNow)
	case !c.pinged && now >= c.nextPing(lim):
		c.ping(lim, now)
	}
}

// muted says whether a write has failed, and whether the time is over in which
// what the peer sent before should have ended the connection.
func (c *Conn) muted() (mute, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mute(), c.mute() && c.loop.now() >= c.facts.closeAt
}

// writeOverdue says whether the peer takes too little of the queue. It holds
// for the queue as it was before this turn: the cork is not one.
func (c *Conn) writeOverdue(lim *limits, now tick) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out != nil && !c.out.corked && now >= c.out.since+lim.write
}

// ping sends a keepalive ping, unless there is a queue: then the write deadline
// watches over the connection, and a ping would only wait in line.
func (c *Conn) ping(lim *limits, now tick) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil && !c.out.corked {
		c.active.Store(uint32(now))
		return
	}
	if late := lim.ping + lim.ping/5; now > tick(c.active.Load())+late {
		c.active.Store(uint32(now - lim.ping)) // the silence was ours: the peer has an interval to answer
	}
	c.pinged = true
	c.loop.counters.pings.Add(1)
	_ = c.put(ws.Ping, nil, nil) // no queue: nothing to fail here
}
