package server

import "github.com/millrace/millrace/internal/buffer"

// # Back-pressure
//
// A connection is not read while its outbound queue is above Server.Queue.HighWater,
// until it is below Queue.LowWater, nor between Conn.PauseReading and
// ResumeReading. The kernel's buffers then fill, and TCP holds up the peer.
//
//	         queue > high water, or PauseReading
//	reading ────────────────────────────────────▶ paused
//	        ◀────────────────────────────────────
//	         queue <= low water, and ResumeReading
//
// A pause begins between two messages: what the turn's read has brought and is not
// handled yet is kept (inbound.rest). So of one peer there waits at most the queue
// at its mark, the answer to one message, and one read.
//
// While a connection is paused, events to read are only noted (inbound.putOff). Its
// peer's pongs and close frame stay unseen, so its silence says nothing:
// the write deadline watches over the queue, and without a queue the peer's system
// must acknowledge our pings (Conn.mayLive). Only an open connection pauses: once
// our close frame is out, messages are dropped as they come.

// Why a connection is paused: bits of Conn.state.
const (
	pausedByQueue   uint32 = 1 << 16
	pausedByHandler uint32 = 1 << 17
	pausedBits             = pausedByQueue | pausedByHandler
)

// paused says whether messages are not to be handled for now.
func (c *Conn) paused() bool { return c.state.Load()&pausedBits != 0 }

// standsStill is paused for the turn and the leader: a pause that has ended meanwhile
// is over in the turn that reads on.
func (c *Conn) standsStill() bool { return c.paused() || c.in != nil && c.in.putOff }

// PauseReading stops the handling of what the peer sends, after the message under
// way, and then its reading: TCP holds the peer up. It lasts until ResumeReading:
// neither counts how often it is called. Meanwhile the peer's pings, pongs and close frame
// stay unseen, Timeouts.Idle stands still, and keepalive trusts the peer's system to
// acknowledge pings. Close and all that sends go on. An event stream, whose peer has nothing
// to say, is not paused.
func (c *Conn) PauseReading() {
	c.mu.Lock()
	paused := c.setPaused(pausedByHandler, true)
	c.mu.Unlock()
	if paused && c.limitsNow().idle > 0 {
		c.wake() // its deadline stands still from here on
	}
}

// ResumeReading ends what PauseReading began.
func (c *Conn) ResumeReading() {
	c.mu.Lock()
	resumed := c.setPaused(pausedByHandler, false)
	c.mu.Unlock()
	if resumed {
		c.wake()
	}
}

// setPaused sets or clears why an open connection is paused, and says whether that
// has changed. The caller holds mu.
func (c *Conn) setPaused(why uint32, on bool) (changed bool) {
	before := c.state.Load()
	after := before &^ why
	if on && connState(before) == stateOpen && before&eventStream == 0 {
		after = before | why
	}
	if after == before {
		return false
	}
	c.state.Store(after)
	c.countPause(before, after)
	return true
}

// countPause counts the step from one state to the next.
func (c *Conn) countPause(before, after uint32) {
	n := &c.loop.counters
	switch was, is := before&pausedBits != 0, after&pausedBits != 0; {
	case !was && is:
		n.pauses.Add(1)
		n.paused.Add(1)
	case was && !is:
		n.paused.Add(-1)
	}
}

// checkMarks pauses the connection if its queue has come above the high mark, and lets it
// go on below the low one. The caller holds mu and has changed the queue; a turn
// follows, or is under way, wherever a queue becomes shorter.
func (c *Conn) checkMarks(queued int) {
	switch lim := c.limits(); {
	case queued > lim.highWater:
		c.setPaused(pausedByQueue, true)
	case queued <= lim.lowWater:
		c.setPaused(pausedByQueue, false)
	}
}

// putOff notes that there may be something to read when the pause is over.
func (c *Conn) putOff() { c.ensureInbound().putOff = true }

// endPausedTurn is for what stands still, or must not, while the connection is paused. The
// caller holds mu.
func (c *Conn) endPausedTurn() {
	if c.limits().idle > 0 {
		c.putOff() // Timeouts.Idle counts anew from the end of the pause
	}
	if in := c.in; in != nil && in.drains && in.drainAt == 0 && c.state.Load()&pausedByQueue == 0 {
		in.drainAt = c.loop.RightNow() + c.loop.srv.limits.grace // nothing but the handler is waited for
		c.seat.DueChanged()
	}
}

// keepRest keeps what was read and is not to be handled before the pause is over.
func (c *Conn) keepRest(rest []byte) {
	c.putOff()
	in := c.in
	if in.rest == nil && len(rest) > 0 {
		in.rest = buffer.Get(len(rest))
	}
	if in.rest != nil {
		in.rest.B = append(in.rest.B[:0], rest...) // rest may be a part of it
	}
}

// resume handles what was kept, once the pause is over, and says whether there may
// be more to read.
func (c *Conn) resume(w *worker) (read bool) {
	in := c.in
	if in == nil || !in.putOff || c.paused() {
		return false
	}
	in.putOff = false
	in.since.Store(uint32(c.loop.RightNow()))
	c.seat.DueChanged()
	if w.limits.idle > 0 && c.stateNow() == stateOpen {
		c.facts.messageAt = c.loop.RightNow()
	}
	if w.pacing.rates != nil {
		w.pacing.more = true // we were not ready: what came meanwhile is not too fast
	}
	c.consumeRest(w, in)
	if !in.putOff {
		in.rest.Free()
		in.rest = nil
	}
	if in.drains && !in.putOff {
		in.drains, in.drainAt = false, 0
		c.seat.Again(draining)
	}
	c.trimInbound()
	return !in.putOff
}

// consumeRest gives the open connection what was kept of an earlier read, whose rates
// were looked at then.
func (c *Conn) consumeRest(w *worker, in *inbound) {
	var rest []byte
	if in.rest != nil {
		rest = in.rest.B
	}
	if c.stateNow() >= stateEnding {
		c.leaveDecoder(w, c.decoder(w), rest)
		return
	}
	if w.pacing.rates != nil {
		w.pacing.read(c.loop, w.Round)
	}
	c.consumeFrames(w, rest)
	if in.tooFast && !in.putOff && c.stateNow() <= stateClosing {
		c.tooFast(LimitByteRate, errManyBytes)
	}
}
