package server

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/millrace/millrace/ws"
)

// # How a connection ends
//
// It ends in one of these ways, and each leads to lifeEnding, in which nothing
// is sent or handled any more:
//
//   - closed by us: Close sends a close frame (lifeClosing) and waits for the
//     peer's, up to Server.CloseTimeout;
//   - closed by the peer: its close frame is answered with its own code;
//   - failed: a bad byte, a full queue, a panic or a timeout; our close frame
//     says which, and we read on for a while so that the peer can see it;
//   - gone: end of stream or a network error, 1006.
//
// Handler.Close is called in the first turn that finds lifeEnding, once. The
// descriptor is closed as soon as what is queued is written, or at the deadline.

// Close starts the closing handshake with a code and a reason (RFC 6455 section
// 7): the code must be one that may be sent (ws.Code.Sendable) or
// ws.CodeNoStatus for none, the reason is cut to 123 bytes. Messages that arrive
// after it are ignored; Handler.Close is called when the peer has answered, or
// after Server.CloseTimeout. It returns ErrClosed if the connection is closing
// already.
func (c *Conn) Close(code ws.Code, reason string) error {
	if !code.Sendable() && code != ws.CodeNoStatus {
		return fmt.Errorf("server: close code %d may not be sent", code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lifeNow() != lifeOpen {
		return ErrClosed
	}
	c.setLife(lifeClosing)
	c.endBy(&ws.CloseError{Code: code, Reason: reason}, c.loop.srv.limits.closing)
	c.putClose(code, reason)
	return nil
}

// putClose sends a close frame. The caller holds mu.
func (c *Conn) putClose(code ws.Code, reason string) {
	var frame [ws.MaxHeader + ws.MaxControlPayload]byte
	_ = c.put(ws.Close, nil, ws.AppendClose(frame[:0], code, reason)) // a control frame is never refused
	if c.out == nil || !c.out.corked {
		c.kick() // not in its turn: for the deadline
	}
}

// endBy notes why the connection ends, if nothing is noted yet, and by when. The
// caller holds mu.
func (c *Conn) endBy(cause error, within ticks) {
	f := c.remember()
	if f.cause == nil {
		f.cause = cause
	}
	f.closeAt = c.loop.rightNow() + within
}

// setLife moves the connection on; it never goes back. The caller holds mu.
func (c *Conn) setLife(next life) {
	now := c.lifeNow()
	if next <= now {
		return
	}
	c.life.Store(uint32(next))
	c.loop.counters.states[now].Add(-1)
	if next < lifeClosed {
		c.loop.counters.states[next].Add(1)
	}
}

// failBy is fail with an error of the decoder.
func (c *Conn) failBy(err error) {
	var cause *ws.CloseError
	switch {
	case !errors.As(err, &cause):
		cause = &ws.CloseError{Code: ws.CodeInternal, Reason: err.Error()}
	case cause.Code == ws.CodeTooBig:
		c.loop.srv.hit(LimitMessage)
	case cause.Code == ws.CodePolicy:
		c.loop.srv.hit(LimitEmptyFragments)
	}
	c.fail(cause)
}

// fail ends the connection with our close frame, for a reason of the protocol or
// of ours.
func (c *Conn) fail(cause *ws.CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(cause)
}

func (c *Conn) failLocked(cause *ws.CloseError) {
	life := c.lifeNow()
	if life >= lifeEnding {
		return
	}
	c.setLife(lifeEnding)
	c.leave = max(c.leave, leaveRead)
	c.endBy(cause, c.loop.srv.limits.linger)
	if life == lifeOpen {
		c.putClose(cause.Code, cause.Reason)
	}
}

// peerClosed answers the peer's close frame, whose payload the decoder has
// vetted, with the same code (section 5.5.1).
func (c *Conn) peerClosed(payload []byte) {
	code, reason := ws.ParseClose(payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	life := c.lifeNow()
	if life >= lifeEnding {
		return
	}
	c.setLife(lifeEnding)
	c.endBy(&ws.CloseError{Code: code, Reason: reason, Remote: true}, c.loop.srv.limits.closing)
	if life == lifeOpen {
		c.putClose(code, "")
	}
}

// peerGone ends a connection whose stream has ended. What is queued is still
// written: the peer may have closed its direction only. A connection that is
// ending has its deadline already, and needs to read no more.
func (c *Conn) peerGone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lifeNow() >= lifeEnding {
		c.leave = c.leave.withoutReading()
		return
	}
	cause := error(errGone)
	if c.facts != nil && c.facts.broken != nil {
		cause = c.facts.broken
	}
	c.setLife(lifeEnding)
	c.endBy(cause, c.loop.srv.limits.closing)
}

// readFailed ends a connection that can not be read any more.
func (c *Conn) readFailed(err error) {
	var broken *brokenStream
	if errors.As(err, &broken) {
		c.broke(broken.cause)
		return
	}
	c.lost(causeOf(err))
}

// lost ends a connection that is broken: nothing more comes or goes.
func (c *Conn) lost(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave = leaveNow
	c.setLife(lifeEnding)
	c.endBy(cause, 0)
}

// errGone is the cause of a connection that ended without a close frame.
var errGone = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "the peer ended the connection without a close frame"}

// errReset is that of one that was reset, which is too common to be wrapped.
var errReset = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "connection reset by the peer"}

// causeOf is the cause of a connection that ended with a network error.
func causeOf(err error) error {
	if errors.Is(err, syscall.ECONNRESET) {
		return errReset
	}
	return fmt.Errorf("%w: %w", errGone, err)
}

// writeFailed gives up a connection's output: nothing more can be written. What
// the peer sent before is still read, its close frame perhaps, and that decides
// how the connection ends. The caller holds mu.
func (c *Conn) writeFailed(err error) {
	c.dropQueue()
	if c.lifeNow() >= lifeEnding {
		c.leave = leaveNow
		return
	}
	if c.mute() {
		return
	}
	f := c.remember()
	f.broken = causeOf(err)
	f.closeAt = c.loop.rightNow() + c.loop.srv.limits.closing
	c.kick()
}

// overflow does what the policy says when the queue may not grow. The caller
// holds mu.
func (c *Conn) overflow(limit Limit, cause *ws.CloseError) {
	c.loop.counters.dropped.Add(1)
	c.loop.srv.hit(limit)
	if c.loop.srv.QueuePolicy == DropNewest {
		return
	}
	c.out.truncate()
	c.charge()
	c.failLocked(cause)
}

var errSlow = &ws.CloseError{Code: ws.CodePolicy, Reason: "outbound queue full: reading too slowly"}

// endPanicked ends the connection of a handler that panicked.
func (c *Conn) endPanicked() {
	if c.lifeNow() <= lifeHead {
		c.refuse(refuseInternal) // the panic was the Upgrade hook's
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(&ws.CloseError{Code: ws.CodeInternal, Reason: "internal error"})
	c.uncork()
}

// conclude is for a connection in lifeEnding, at the end of each of its turns:
// it tells the handler, once, and lets the descriptor go when all is written.
func (c *Conn) conclude() {
	c.mu.Lock()
	cause := c.facts.cause
	c.mu.Unlock()
	if c.opened {
		c.opened = false
		c.loop.counters.closed(cause)
		(*c.handler).Close(c, cause)
	}
	if c.leaves() {
		c.finish()
	}
}

// leaves says whether a connection in lifeEnding waits for nothing more, and ends
// its direction if that is next.
func (c *Conn) leaves() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave == leaveNow {
		return true
	}
	lastWord := c.leave == leaveRead || c.stream() != nil // which has one of its own
	if c.out == nil && lastWord && !c.finSent {
		c.finSent = true
		if c.closeWrite() != nil {
			return true // the peer has reset it
		}
	}
	return c.out == nil && c.leave == leaveWritten
}

// finish marks the connection closed; its descriptor and slot go when the leader
// settles the turn.
func (c *Conn) finish() {
	c.mu.Lock()
	c.setLife(lifeClosed)
	c.dropQueue()
	c.closeStream()
	c.loop.srv.freeWindows(c.deflation())
	c.mu.Unlock()
	if c.in != nil {
		c.in.head.Free()
		if c.in.decoder != nil {
			c.in.decoder.Reset()
		}
		c.in = nil
	}
	c.gone = true
}

// closeStream ends what carries the connection's bytes besides the descriptor.
// The caller holds mu.
func (c *Conn) closeStream() {
	if s := c.stream(); s != nil {
		s.close()
		c.facts.stream = nil
	}
}

// discard frees what the loop keeps of a finished connection.
func (l *loop) discard(c *Conn) {
	l.table.remove(c)
	if l.stopSeen != 0 {
		l.countEnd(c)
	}
	l.leave(c) // before the peer can know: it may come again at once
	if c.fd >= 0 {
		l.logUnclosed(l.poll.CloseFD(int(c.fd)))
	}
	l.counters.open.Add(-1)
}
