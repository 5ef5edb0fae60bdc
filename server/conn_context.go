package server

import (
	"context"
)

// # The context of a connection
//
// It is made when it is asked for, and ends when the connection leaves stateOpen. While
// a method of the handler blocks, or an Upgrade hook, the connection has no turn that
// could see the peer go. Then its loop's leader ends the context for what it sees beside
// the slow turn (member.MissedWhileAway), and the watchdog for what the turn has begun with
// (member.LostLoop). The connection itself ends in the turn that follows.

// connContext is the context of a connection, or of its Upgrade hook before, once it was
// asked for or is to end. Conn.mu guards it.
type connContext struct {
	ctx  context.Context
	end  context.CancelCauseFunc
	over error // why it ends
}

// get gives the context. The caller holds mu.
func (x *connContext) get() context.Context {
	if x.ctx == nil {
		x.ctx, x.end = context.WithCancelCause(context.Background())
		if x.over != nil {
			x.end(x.over)
		}
	}
	return x.ctx
}

// finish ends the context. The caller holds mu: nobody else's code runs in end.
func (x *connContext) finish(cause error) {
	if x.over == nil {
		x.over = cause
	}
	if x.end != nil {
		x.end(x.over)
	}
}

// Context is for what is done on behalf of the connection. It ends when the connection
// begins to end: with the peer's close frame, Close or CloseNow, a failure or a timeout,
// a drain that comes to it, or when the server stops. context.Cause tells why, as
// Handler.Close will: a *ws.CloseError, possibly wrapped.
//
// It ends also while a method of the handler blocks, when the peer has ended its side or
// reset the connection, or the server stops; what the peer has sent before is still
// handled, and Handler.Close may then get a better cause. A close frame that nobody has
// read yet, for a method blocks or reading is paused, is not seen.
//
// It is made at the first call, and costs a connection that has not asked nothing. After
// the end it is one that has ended.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.contextPlace()
	if x.over == nil && c.stateNow() > stateOpen {
		x.over = c.facts.cause
	}
	return x.get()
}

// contextPlace is the place of the context. The caller holds mu.
func (c *Conn) contextPlace() *connContext {
	f := c.ownFacts()
	if f.context == nil {
		f.context = &connContext{}
	}
	return f.context
}

// endContext ends the context of a connection that is open no more. The caller holds
// mu.
func (c *Conn) endContext() {
	if f := c.facts; f != nil && f.context != nil {
		f.context.finish(f.cause)
	}
}

// tellAway ends the context of a slow hook, or of a connection in a slow turn, for what
// has happened meanwhile. The leader calls it.
func (c *Conn) tellAway(why reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why&hangup != 0 {
		c.state.Or(hungUp) // in any state: for a hook, or a method, that the turn comes to later
	}
	var cause error
	switch state := c.stateNow(); {
	case state != stateHead && state != stateOpen:
	case why&stopped != 0:
		cause = errStopped
	case why&expired != 0 && state == stateHead:
		cause = errTooLate
	case why&hangup != 0, why&readable != 0 && c.farSideEnded():
		cause = errGone
	case why&woken != 0 && state == stateOpen && c.writeBroken():
		cause = c.facts.broken
	}
	if cause != nil {
		c.contextPlace().finish(cause)
	}
}

// tellOvertaken does so for what the slow turn has begun with, or what came while its
// hook was slow. The caller holds mu.
func (c *Conn) tellOvertaken() {
	if c.stateNow() == stateOpen && (c.is(hungUp) || c.farSideEnded()) {
		c.contextPlace().finish(errGone)
	}
}

// beginContext is for a connection that opens, perhaps in a turn whose hook was slow: what
// the hook's context was told of the peer is true of it as well, but not that the hook was
// late. The caller holds mu.
func (c *Conn) beginContext(w *worker) {
	if x := c.facts.context; x != nil && x.over == errTooLate {
		c.facts.context = nil // it was told when the hook had returned
	}
	if !w.HasLoop() { // else LostLoop sees to it
		c.tellOvertaken()
	}
}

// farSideEnded says whether the reader of a bridge has met the end. The caller holds mu.
func (c *Conn) farSideEnded() bool {
	b, ok := c.stream().(*bridge)
	if !ok {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inErr != nil
}

// noteHangup notes that the peer has ended its direction: no edge will tell of it any
// more.
func (c *Conn) noteHangup(w *worker) {
	c.mu.Lock()
	c.state.Or(hungUp)
	if !w.HasLoop() { // it was taken before: LostLoop has not seen this
		c.tellOvertaken()
	}
	c.mu.Unlock()
}
