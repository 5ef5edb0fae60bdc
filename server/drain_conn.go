package server

import (
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

const (
	// acceptRest is how long the queue of a listener that closes is taken from.
	acceptRest = time.Second
	// acceptMost is how many are taken from it however long that takes, as for want of a core: few systems let
	// more wait.
	acceptMost = 4096
)

// closeSoon closes a listener once its queue is empty: who is in it has connected,
// and would be reset.
func (l *shard) closeSoon(a *acceptor) {
	a.closes = true
	a.closeBy, a.rest = l.RightNow()+loop.TicksOf(acceptRest), acceptMost // handlers may have kept the loop for long
	l.accept(a)
}

// restAccepted says whether a listener that closes has been given enough, and
// closes it then. err is why Accept gave no connection, nil after one.
func (l *shard) restAccepted(a *acceptor, err error) bool {
	if !a.closes || err != poller.ErrAgain && l.Now() < a.closeBy || err == nil && a.rest > 0 {
		return false
	}
	if err != poller.ErrAgain {
		l.srv.log().Warn("connections reset in the accept queue", "addr", a.addr, "err", err)
	}
	l.closeListener(a, ErrServerClosed)
	return true
}

const (
	// bridgeRest is how long a bridge's reader has found nothing when all that had
	// arrived has come over; so often it is looked at.
	bridgeRest       = loop.TickTime
	bridgeLook ticks = 1
	// bridgeArrived is more than can have arrived, as systems are set up.
	bridgeArrived = 8 << 20
)

// arriving says whether a drain waits for what had arrived when it came to this
// connection: the peer may have sent it long ago. What comes later is not waited for.
func (c *Conn) arriving(w *worker) bool {
	if c.stateNow() != stateOpen || c.is(eventStream) {
		return false
	}
	switch state := c.state.Load(); {
	case state&pausedByHandler != 0:
		c.putOff()
		return c.drainsBy(c.loop.srv.limits.grace)
	case state&pausedByQueue != 0: // the write deadline bounds it
		c.putOff()
		c.in.drains, c.in.drainAt = true, 0
		return true
	case c.in != nil && c.in.putOff: // it was paused: a turn is to come
		c.in.drains = true
		return true
	}
	received, left := c.received(w), 0
	switch {
	case c.fd < 0:
		return c.arrivingOverBridge(w, received)
	case c.seat.AsksAgain()&readable == 0: // the read came short
	case c.in == nil || c.in.drainMost == 0:
		left = c.unread()
	case received < c.in.drainMost:
		left = int(c.in.drainMost - received)
	}
	if left > 0 {
		c.ensureInbound().drainMost = received + uint64(left)
		c.seat.Again(draining)
	} else if c.in != nil {
		c.in.drainMost = 0
		c.trimInbound()
	}
	return left > 0
}

// drainsBy puts a drain off for so long, for a handler to resume reading.
func (c *Conn) drainsBy(wait ticks) bool {
	if c.noTimeToDrain() {
		return false
	}
	in := c.in
	if !in.drains {
		in.drains, in.drainAt = true, c.loop.RightNow()+wait
		c.seat.DueChanged()
	}
	if in.drainAt == 0 || c.loop.RightNow() < in.drainAt {
		return true
	}
	in.drains, in.drainAt = false, 0
	return false
}

// noTimeToDrain says whether the drain's deadline is so near that peers are better told
// at once.
func (c *Conn) noTimeToDrain() bool {
	until := c.loop.srv.drain.until
	return !until.IsZero() && time.Until(until) < time.Second
}

// received is how many bytes have come, those of the turn under way included.
func (c *Conn) received(w *worker) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total(bytesIn) + uint64(w.received.bytes)
}

// arrivingOverBridge is arriving for a stream whose system is not ours to ask. What has
// arrived is there at once, whenever the reader is not waiting for a turn: the time that
// it has waited for its peer tells.
func (c *Conn) arrivingOverBridge(w *worker, received uint64) bool {
	b, ok := w.stream.(*bridge)
	if !ok || c.noTimeToDrain() {
		return false
	}
	in, waited := c.ensureInbound(), b.waitedForPeer()
	switch {
	case in.drainMost == 0:
		in.drainWaited, in.drainMost = waited+bridgeRest, received+bridgeArrived
	case waited >= in.drainWaited || received >= in.drainMost:
		in.drainAt, in.drainMost = 0, 0
		c.trimInbound()
		return false
	}
	in.drainAt = c.loop.RightNow() + bridgeLook
	c.seat.DueChanged()
	return true
}

// endForDrain ends the connection for a drain: an open one politely, a request that has
// come in part with an answer. Of others something may still come.
func (c *Conn) endForDrain() {
	o := &c.loop.srv.drain.options
	switch state := c.stateNow(); {
	case state == stateOpen && c.is(eventStream):
		c.endStreamForDrain(&ws.CloseError{Code: o.Code, Reason: o.Reason})
	case state == stateOpen:
		_ = c.Close(o.Code, o.Reason) // always right: it is open, the code was checked
	case state == stateHead && c.in != nil && c.in.head != nil:
		c.refuse(refuseStopping)
	}
}

// endForStop ends the connection because the server stops.
func (c *Conn) endForStop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteCut()
	c.endLocked(errStopped, endNow)
}

// noteCut notes that the connection ends now, if its last word is not said or not
// written. The caller holds mu.
func (c *Conn) noteCut() {
	if c.stateNow() < stateEnding || c.queue() != nil {
		c.ownFacts().cut = true
	}
}

// countEnd counts the end of a connection while the server drains or stops.
func (l *shard) countEnd(c *Conn) {
	c.mu.Lock()
	cut := c.facts != nil && c.facts.cut
	c.mu.Unlock()
	if cut {
		l.counters.cut.Add(1)
	} else {
		l.counters.drained.Add(1)
	}
}

// handshakeTime is how long a connection has that is accepted now.
func (l *shard) handshakeTime() ticks {
	if l.StopSeen() != 0 {
		return min(l.srv.limits.handshake, l.srv.limits.grace)
	}
	return l.srv.limits.handshake
}
