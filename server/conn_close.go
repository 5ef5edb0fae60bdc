package server

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/millrace/millrace/ws"
)

// # How a connection ends
//
// There is one way to end a connection, endLocked, with a cause, which is what
// Handler.Close gets, and a manner. The first cause stands; the manner only grows.
//
//	manner        when                              what happens
//	endGraceful   Close, a drain                    our close frame goes out, and the peer's is awaited
//	endFlush      the peer's close frame or FIN     what is queued is written
//	endLinger     a refusal, a failure of either    what is queued is written, and the peer gets the
//	              side, a timeout of the peer's     time to read it
//	endNow        the network failed, the peer      nothing is waited for
//	              does nothing, the server stops
//
// An event stream, which has no close frames, ends by endLinger in place of endGraceful.
//
// endGraceful leads to stateClosing, the others to stateEnding, in which nothing is
// sent or handled any more:
//
//	stateEnding ── Handler.Close ──▶ stateFlushing ── written ──▶ stateLingering ──▶ stateClosed
//	                                     └───────────────────────────────────────▶
//
// Handler.Close is called in the first turn that finds stateEnding, once.
type manner uint8

const (
	endGraceful manner = iota
	endFlush
	endLinger
	endNow
)

// mannerShift is where a manner stands in Conn.state.
const mannerShift = 8

func (c *Conn) manner() manner { return manner(c.state.Load() >> mannerShift & 0xff) }

// end is endLocked for a caller that does not hold mu.
func (c *Conn) end(cause error, how manner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(cause, how)
}

// endLocked ends the connection, or hastens its end. If it is open a close frame goes
// first, but not with endNow when a queue would have to be written before it. The caller
// holds mu.
func (c *Conn) endLocked(cause error, how manner) {
	if how == endGraceful && c.is(eventStream) {
		how = endLinger // there is no answer to wait for
	}
	if how != endNow {
		c.catchUp() // it was sent before
	}
	before, next, paused := c.stateNow(), stateEnding, c.paused()
	if how == endGraceful {
		next = stateClosing
	}
	if before >= stateEnding {
		next = before
	} else {
		c.noteEnd(cause)
	}
	c.setState(next, max(how, c.manner()))
	if before == stateOpen {
		c.sayClose(cause, how)
	}
	if c.out == nil || !c.out.corked || paused {
		c.wake() // not in its turn: for the deadline; or to read on
	}
}

// noteEnd notes why the connection ends, if nothing is noted yet.
func (c *Conn) noteEnd(cause error) {
	f := c.ownFacts()
	if f.cause == nil {
		f.cause = cause
	}
}

// sayClose sends the close frame that goes with a cause, if there is one: the
// answer to the peer's has its code (RFC 6455 section 5.5.1).
func (c *Conn) sayClose(cause error, how manner) {
	told, ok := cause.(*ws.CloseError)
	switch {
	case !ok || !told.Code.Sendable() && told.Code != ws.CodeNoStatus:
		return
	case how == endNow && c.queue() != nil:
		return // it would stand behind a queue
	case c.is(eventStream):
		c.sayEnd(told)
		return
	}
	reason := told.Reason
	if told.Remote {
		reason = ""
	}
	var frame [ws.MaxHeader + ws.MaxControlPayload]byte
	_ = c.put(ws.Close, nil, ws.AppendClose(frame[:0], told.Code, reason), nil) // a control frame is never refused
}

// setState moves the connection on. The caller holds mu.
func (c *Conn) setState(next connState, how manner) {
	before, now := c.state.Load(), c.stateNow()
	after := uint32(next) | uint32(how)<<mannerShift | before&isBits
	if next <= stateOpen {
		after |= before & pausedBits
	}
	c.state.Store(after)
	c.countPause(before, after)
	if next == now {
		return
	}
	c.loop.counters.states[now].Add(-1)
	if next < stateClosed {
		c.loop.counters.states[next].Add(1)
	}
	if now == stateOpen {
		c.wakeWaiters()
		c.endContext()
	}
}

// advance is setState for the state alone, which never goes back.
func (c *Conn) advance(next connState) {
	if next > c.stateNow() {
		c.setState(next, c.manner())
	}
}

// Close starts the closing handshake with a code and a reason (RFC 6455 section
// 7): the code must be one that may be sent (ws.Code.Sendable) or
// ws.CodeNoStatus for none, the reason is cut to 123 bytes. What is queued is sent
// before the close frame, within Timeouts.Write. Messages that arrive after it are
// ignored. Close does not wait: Handler.Close is called when the peer has answered, or
// after Server.Timeouts.Close.
//
// An event stream gets an event with the name "close" and {"code": ..., "reason": ...} as
// its data, none with ws.CodeNoStatus, and is at its end; Handler.Close is called at once.
//
// It returns ErrClosed if the connection is closing already, and another error for a code
// that may not be sent, such as 999 or 1006: then nothing has happened, and the
// connection goes on.
func (c *Conn) Close(code ws.Code, reason string) error {
	if !code.Sendable() && code != ws.CodeNoStatus {
		return fmt.Errorf("server: close code %d may not be sent", code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stateNow() != stateOpen {
		return ErrClosed
	}
	c.endLocked(&ws.CloseError{Code: code, Reason: reason}, endGraceful)
	return nil
}

// CloseNow ends the connection at once: nothing is waited for, and no close frame sent.
// What was sent before still goes out, as far as the kernel takes it at once. Handler.Close
// gets a *ws.CloseError with 1006. After the end it does nothing.
func (c *Conn) CloseNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUp()
	if c.queue() != nil && c.stateNow() < stateClosed {
		c.flush() // a bridge may have had room that it has not told of yet
	}
	c.endLocked(errClosedNow, endNow)
}

var errClosedNow = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "closed at once by the server"}

// failBy ends the connection for an error of the decoder.
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
	c.end(cause, endLinger)
}

// peerClosed answers the peer's close frame, whose payload the decoder has vetted.
// If ours is the answer, over TLS, the peer's close_notify follows, which a closed
// socket would answer with a reset.
func (c *Conn) peerClosed(w *worker, payload []byte) {
	code, reason := ws.ParseClose(payload)
	how := endFlush
	if _, secure := w.stream.(*tlsStream); secure && c.stateNow() == stateOpen {
		how = endLinger
		c.ensureInbound().answered = true
	}
	c.end(&ws.CloseError{Code: code, Reason: reason, Remote: true}, how)
}

// peerGone ends a connection whose stream has ended. What is queued is still
// written: the peer may have closed its direction only. A connection that is
// ending has its deadline already, and needs to read no more.
func (c *Conn) peerGone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stateNow() >= stateEnding {
		if c.manner() == endLinger {
			c.setState(c.stateNow(), endFlush) // there is nothing to linger for
		}
		return
	}
	cause := error(errGone)
	if c.is(eventStream) {
		cause = errClientLeft // there is no other way to leave
	}
	if c.writeBroken() {
		cause = c.facts.broken
	}
	c.endLocked(cause, endFlush)
}

// readFailed ends a connection that can not be read any more.
func (c *Conn) readFailed(err error) {
	var broken *brokenStream
	if errors.As(err, &broken) {
		c.broke(broken.cause)
		return
	}
	c.end(causeOf(err), endNow)
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
	switch {
	case c.stateNow() >= stateEnding:
		c.endLocked(err, endNow)
		return
	case c.writeBroken():
		return
	}
	f := c.ownFacts()
	f.broken = causeOf(err)
	f.closeAt = c.loop.RightNow() + c.limits().closing
	c.wake()
}

// notTaken counts a message that is not taken. drops: that is all that becomes of it.
func (c *Conn) notTaken(limit Limit, drops bool) {
	c.loop.counters.dropped.Add(1)
	if !drops && limit == LimitQueue {
		c.loop.srv.limitHits.closed.Store(true) // before the hit is counted
	}
	c.loop.srv.hit(limit)
}

// tooBig refuses a message that would not fit into the empty queue: it is dropped, or ends
// the connection. What was taken before it still goes out. The caller holds mu; the connection is open.
func (c *Conn) tooBig(drops bool) {
	if c.notTaken(LimitQueue, drops); !drops {
		c.skipGroups()
		c.endLocked(errTooBig, endLinger)
	}
}

// errTooBig has the code that says it, though the message is ours (RFC 6455 section 7.4.1
// has it for one that was received): 1008 is for peers that read slowly.
var errTooBig = &ws.CloseError{Code: ws.CodeTooBig, Reason: "a message is larger than the outbound queue may be"}

// endPanicked ends the connection of a handler that panicked.
func (c *Conn) endPanicked() {
	if c.stateNow() <= stateHead {
		c.refuse(refuseInternal) // the panic was the Upgrade hook's
	}
	if c.in != nil && c.in.rest != nil {
		c.in.rest.Free() // nobody knows how far it was handled
		c.in.rest = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(&ws.CloseError{Code: ws.CodeInternal, Reason: "internal error"}, endLinger)
	c.uncork()
}
