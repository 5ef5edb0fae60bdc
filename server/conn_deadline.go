package server

import (
	"github.com/millrace/millrace/ws"
)

// # Deadlines
//
// A connection has one deadline, in its loop's table: no timer of its own. It is
// set anew when a turn has changed what is awaited, and looked at when it is
// over: only then does activity since count, so a busy connection costs a glance
// every Keepalive.Interval. A timeout is never over early, and by two ticks late: see
// timeoutTicks.

// nextDue is the connection's next deadline. The leader calls it, after a turn.
// It may be over already: a busy peer must not put it off with each turn.
func (c *Conn) nextDue() tick {
	c.mu.Lock()
	defer c.mu.Unlock()
	lim := c.limits()
	switch c.stateNow() {
	case stateProxy, stateSecure, stateHead:
		return c.loop.Due(&c.seat) // counts from accept, whatever the peer does
	case stateOpen:
		return c.nextOpenDue(lim)
	default:
		if c.out != nil && c.facts.lastWrittenAt == 0 {
			return c.out.started + lim.write
		}
		return c.facts.closeAt
	}
}

// nextOpenDue is nextDue for an open connection. The caller holds mu.
func (c *Conn) nextOpenDue(lim *connLimits) tick {
	if c.writeBroken() {
		return c.facts.closeAt
	}
	due := noDue
	switch {
	case c.out != nil:
		due = c.out.started + lim.write // watches over the peer: a ping would only wait in line
	case lim.ping > 0:
		due = c.nextPing(lim)
	}
	if c.in != nil && c.in.drainAt != 0 {
		due = min(due, c.in.drainAt)
	}
	if lim.message > 0 && c.unfinishedMessage() {
		due = min(due, tick(c.in.since.Load())+lim.message)
	}
	if c.mayIdle(lim) {
		due = min(due, c.facts.messageAt+lim.idle)
	}
	if lim.lifetime > 0 {
		due = min(due, c.lifeOver(lim, c.loop.Since(&c.seat)))
	}
	return due
}

// mayIdle says whether messages of the peer are missed: an event stream's has none to send.
func (c *Conn) mayIdle(lim *connLimits) bool {
	return lim.idle > 0 && !c.standsStill() && !c.is(eventStream)
}

// unfinishedMessage says whether the peer owes us the rest of a frame or message.
func (c *Conn) unfinishedMessage() bool {
	return c.in != nil && c.in.decoder != nil && !c.in.putOff
}

// lifeOver is the end of the lifetime of a connection that is there since then:
// after 80 % to 100 % of Timeouts.Lifetime, so that those that came together do not
// leave, and come back, together.
func (c *Conn) lifeOver(lim *connLimits, since tick) tick {
	return since + lim.lifetime - c.scattered(since, lim.lifetime/5)
}

// scattered is a time from 0 to most, made of the connection's slot and a tick.
func (c *Conn) scattered(salt tick, most ticks) ticks {
	hash := (uint64(c.seat.Slot())<<32 | uint64(salt)) * 0x9e3779b97f4a7c15
	return ticks((hash >> 32) % (uint64(most) + 1))
}

var (
	errStopped     = &ws.CloseError{Code: ws.CodeGoingAway, Reason: "server stopped"}
	errSlowMessage = &ws.CloseError{Code: ws.CodePolicy, Reason: "message timeout: it comes too slowly"}
	errIdle        = &ws.CloseError{Code: ws.CodeGoingAway, Reason: "idle timeout"}
	errDead        = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "no sign of life from the peer"}
	errNoAnswer    = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "close timeout: no close frame from the peer"}
	errNotTaken    = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "write timeout: the peer takes nothing"}
	errTooLate     = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "handshake timeout"}

	errNoProxyHeader = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "no right PROXY header"}
)

// expire looks what is overdue.
func (c *Conn) expire(w *worker) {
	c.seat.DueChanged()
	lim := w.limits
	now := c.loop.RightNow() // timeouts are armed anew from it
	switch c.stateNow() {
	case stateProxy, stateSecure, stateHead:
		c.headTimedOut()
	case stateOpen:
		c.expireOpen(w, lim, now)
	default:
		c.expireEnd(lim, now)
	}
}

func (c *Conn) expireOpen(w *worker, lim *connLimits, now tick) {
	mute, over := c.writeBrokenOrOver()
	switch {
	case over:
		c.end(c.facts.broken, endNow)
	case mute:
	case c.in != nil && c.in.drainAt != 0 && now >= c.in.drainAt:
		if !c.arriving(w) {
			c.endForDrain()
		}
	case c.writeOverdue(lim, now):
		c.giveUp(LimitWriteTimeout, errNotTaken)
	case lim.message > 0 && c.unfinishedMessage() && now >= tick(c.in.since.Load())+lim.message:
		c.loop.srv.hit(LimitMessageTimeout)
		c.end(errSlowMessage, endLinger)
	case c.mayIdle(lim) && now >= c.facts.messageAt+lim.idle:
		c.loop.srv.hit(LimitIdleTimeout)
		c.end(errIdle, endLinger)
	case lim.lifetime > 0 && now >= c.lifeOver(lim, w.Since):
		if c.Close(ws.CodeGoingAway, "connection lifetime over") == nil {
			c.loop.srv.hit(LimitLifetime)
		}
	case lim.ping == 0 || now < c.nextPing(lim) || c.hasQueue():
	case c.is(eventStream):
		if c.comment(now) {
			c.giveUpDead()
		}
	case c.pingedAt == 0 || c.mayLive():
		c.ping(now)
	default:
		c.giveUpDead()
	}
}

func (c *Conn) giveUpDead() {
	c.loop.counters.dead.Add(1)
	c.giveUp(LimitPingTimeout, errDead)
}

// giveUp ends an open connection whose peer does nothing: for a drain, it is cut.
func (c *Conn) giveUp(limit Limit, cause error) {
	c.loop.srv.hit(limit)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteCut()
	c.endLocked(cause, endNow)
}

// writeBrokenOrOver says whether a write has failed, and whether the time is over in which
// what the peer sent before should have ended the connection.
func (c *Conn) writeBrokenOrOver() (mute, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeBroken(), c.writeBroken() && c.loop.Now() >= c.facts.closeAt
}

// writeOverdue says whether the peer takes too little of the queue. It holds
// for the queue as it was before this turn: the cork is not one.
func (c *Conn) writeOverdue(lim *connLimits, now tick) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queueOverdue(lim, now)
}

func (c *Conn) queueOverdue(lim *connLimits, now tick) bool {
	o := c.queue()
	if o == nil || now < o.started+lim.write {
		return false
	}
	if progressed(&o.acked, c.acked()) {
		o.started, o.written = now, 0 // of what the kernel has, which takes no more so far
		return false
	}
	return true
}
