package server

import "time"

// # Limits of a connection's own
//
// A connection goes by the server's limits unless its Accept.Limits or SetLimits says
// otherwise (the bit limited of Conn.state). Then its facts point to what it goes by,
// which connections that were given the same share, and where that is all they have to
// ownFacts they share the facts too: a million connections of a route cost nothing each.
//
// A turn has its limits in worker.limits, anybody else asks Conn.limits. What SetLimits
// has said (the bit newLimits) a turn takes up where it begins and between two messages.

// ConnLimits are limits of one connection, in place of the server's. In each field 0 is
// the server's, and below 0, where that is allowed, no bound or never. Of the server's
// what depends on others follows them: with a Message of its own a connection has a queue
// and a ByteBurst with room for one, and of Queue.HighWater and LowWater the defaults hold
// where the server's do not fit its Max.
//
// The bounds of memory that all connections share, Limits.QueueMemory and
// Limits.InboundMemory, hold for such connections as for others, and what one of them
// may need must be within.
type ConnLimits struct {
	// Message is Limits.Message. What one message needs must be within
	// Limits.InboundMemory, unless a StreamHandler gets it without compression.
	Message int64
	// MessageRate and MessageBurst are those of Limits; below 0 is no rate. With a rate of
	// its own the burst is 0 unless it is set: as many as a second has.
	MessageRate, MessageBurst int
	// ByteRate and ByteBurst are those of Limits, likewise.
	ByteRate, ByteBurst int64
	// Queue is Server.Queue. Its Max must be within Limits.QueueMemory; where it follows
	// Message it is at most that.
	Queue Queue
	// Timeouts are those of Server.Timeouts that hold after the upgrade.
	Timeouts ConnTimeouts
	// PingInterval is Keepalive.Interval; below 0 is never.
	PingInterval time.Duration
}

// ConnTimeouts are the timeouts of an open connection, see ConnLimits and Timeouts.
type ConnTimeouts struct {
	Write    time.Duration
	Message  time.Duration // below 0: never
	Idle     time.Duration // below 0: never
	Lifetime time.Duration // below 0: never; counts from when the connection was accepted
	Close    time.Duration
}

// Limits are what SetLimits or Accept.Limits has given the connection: where a field is
// 0, the server's hold.
func (c *Conn) Limits() ConnLimits {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.is(limited) {
		return ConnLimits{}
	}
	return c.facts.limits.given
}

// QueueMax is how many bytes the connection's outbound queue may have, by its own limits or the server's: see Queue.Max.
func (c *Conn) QueueMax() int { return c.limitsNow().maxQueue }

// SetLimits gives the connection limits of its own, as Accept.Limits does: after a
// login, say. They take the place of all that it had: what is 0 is the server's again. To
// change a few begin with Conn.Limits.
//
// Called in a handler of this connection, Message holds from the next message on, also
// if that has come already; called elsewhere, soon: from the next message on, or one of
// those that have come already. Of a message under way the frame that has begun is taken
// to its end, however long; its next frame is judged by the new limit and all that came
// before, and a compressed message as a whole. The queue's limits hold for the next Send;
// a queue that is longer than the new Max takes nothing until it is shorter.
// Timeouts.Idle counts anew, and so do rates, with full buckets, from the next read; the
// other timeouts count from when they did.
//
// A *FieldError: a value can not work, see Server.Validate, and nothing is changed.
// ErrClosed: the connection is closing or closed.
func (c *Conn) SetLimits(l ConnLimits) error {
	c.mu.Lock()
	whole := !c.is(streaming) || c.deflation() != nil
	c.mu.Unlock()
	own, err := c.loop.srv.ownLimits(l, whole)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stateNow() != stateOpen {
		return ErrClosed
	}
	c.useLimits(own)
	c.state.Or(newLimits)
	if o := c.queue(); o != nil {
		c.checkMarks(o.size() + c.held() - o.Loose())
	}
	c.wake()
	return nil
}

// useLimits gives the connection own limits, or, if own is nil, the server's. The caller
// holds mu.
func (c *Conn) useLimits(own *ownLimits) {
	lim := &c.loop.srv.limits.connLimits
	if own != nil {
		lim = &own.connLimits
	}
	if f := c.facts; (f == nil || f.shared) && !lim.alone() {
		c.facts = c.loop.srv.sharedFacts(c.deflation(), own)
	} else {
		c.ownFacts().limits = own
	}
	if own != nil {
		c.state.Or(limited)
	} else {
		c.state.And(^limited)
	}
}

// limits are those that the connection goes by. The caller holds mu.
func (c *Conn) limits() *connLimits {
	if !c.is(limited) {
		return &c.loop.srv.limits.connLimits
	}
	return &c.facts.limits.connLimits
}

// limitsNow is limits for a caller that does not hold mu.
func (c *Conn) limitsNow() *connLimits {
	if !c.is(limited) {
		return &c.loop.srv.limits.connLimits
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits()
}

// takeLimits has the turn go by what SetLimits has said. Rates that there were none of
// begin with the next turn. The caller holds mu.
func (c *Conn) takeLimits(w *worker) {
	c.state.And(^newLimits)
	w.limits = c.limits()
	if w.limits.idle > 0 {
		c.facts.messageAt = c.loop.RightNow()
	}
	if w.limits.paced() {
		c.facts.rates = c.loop.renewRates(c.facts.rates)
	}
	c.seat.DueChanged()
}
