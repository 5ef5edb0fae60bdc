package server

import (
	"github.com/millrace/millrace/ws"
)

// # The way to the end
//
// What was accepted for sending is written as long as the peer takes it, also by a
// connection that ends, and only then the peer's own time begins:
//
//	queue not empty        Timeouts.Write, by progress of our writes or of the peer's side
//	with the kernel        Timeouts.Write, by progress of the peer's side (poller.Gauge)
//	with the peer          Timeouts.Close for its close frame, lingerTime behind a failure
//	                       or a refusal, nothing if it has said its last word
//
// endNow waits for none of it, nor does a drain's deadline.

// conclude is for a connection that is over, at the end of each of its turns: it
// tells the handler, once, and lets the descriptor go when all is written.
func (c *Conn) conclude(w *worker) {
	c.dropUnfinished(w)
	if c.stateNow() == stateEnding {
		c.mu.Lock()
		c.advance(stateFlushing)
		cause := c.facts.cause
		if c.grouped() != nil {
			c.loop.groups.pushEnd(c)
		}
		c.mu.Unlock()
		if c.handler != nil {
			c.countClosed(cause)
			c.logFailure(cause)
			c.handler.Close(c, cause)
			w.noteSlow(c, "Close")
		}
	}
	if c.finishOutput() {
		c.finish()
	}
}

// dropUnfinished gives back what was received and is not handled any more, but for
// what finds the peer's close frame.
func (c *Conn) dropUnfinished(w *worker) {
	in := c.in
	if in == nil || in.answered {
		return
	}
	if in.hook != nil {
		w.srv.hooks.forget(in.hook)
		in.hook = nil
	}
	if c.lingers() {
		var rest []byte
		if in.rest != nil {
			rest = in.rest.B
		}
		c.findClose(w, c.decoder(w), rest)
	} else {
		c.dropDecoder(w, c.decoder(w))
	}
	in.head.Free()
	in.rest.Free()
	in.head, in.rest, in.putOff, in.secure, in.drains, in.drainMost, in.drainAt = nil, nil, false, false, false, 0, 0
	c.mu.Lock()
	c.chargeInbound(w)
	c.mu.Unlock()
}

// smallTail is how many unacknowledged bytes a connection is closed with, without waiting
// for the peer to acknowledge them: as many as a close frame has, and less than a message.
const smallTail = 256

// finishOutput says whether a connection that is over waits for nothing more, and ends
// our direction if that is next: at once behind an HTTP answer, an event stream among them, or
// when the peer is done. Behind the close frame of a failure that waits for the peer's close frame,
// since a proxy that ends TLS may drop what it has when our FIN comes.
func (c *Conn) finishOutput() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	how := c.manner()
	switch {
	case how == endNow:
		return true
	case c.out != nil:
		return false
	}
	done := how == endFlush && c.unacked() <= smallTail
	if done && c.stream() == nil {
		return true
	}
	answered := c.in != nil && c.in.answered
	if (how == endFlush || answered || c.handler == nil || c.is(eventStream) || c.streamBroken()) && c.stateNow() < stateLingering {
		c.advance(stateLingering)
		if c.closeWrite() != nil {
			return true // the peer has reset it
		}
		if c.out != nil {
			return false // the stream's last word waits
		}
	}
	if !done {
		c.noteLastWritten()
	}
	return done
}

// noteLastWritten notes, once, that our last word is written: from when the peer's side has it,
// the rest is the peer's part. The caller holds mu.
func (c *Conn) noteLastWritten() {
	f := c.facts
	if f.lastWrittenAt != 0 || c.out != nil {
		return
	}
	now, unacked := c.loop.RightNow(), c.unacked()
	f.lastWrittenAt, f.ackedAt, f.acked = max(now, 1), now, c.written()-unacked
	if f.behind = unacked > 0; f.behind {
		f.closeAt = now + firstLook
	} else {
		f.closeAt = now + c.peersPart()
	}
}

// While our last word is on its way we look whether it has arrived, first after
// firstLook and then less often, down to once in lastLook.
const (
	firstLook ticks = 2
	lastLook  ticks = 10
)

// peersPart is how long the peer may take to answer our last word. The caller holds mu.
func (c *Conn) peersPart() ticks {
	switch c.manner() {
	case endGraceful:
		return c.limits().closing
	case endLinger:
		return c.loop.srv.limits.linger
	}
	return 0
}

// expireEnd looks what is overdue of a connection that is closing or over.
func (c *Conn) expireEnd(lim *connLimits, now tick) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := c.facts; {
	case c.queue() != nil && f.lastWrittenAt == 0:
		if c.queueOverdue(lim, now) {
			c.loop.srv.hit(LimitWriteTimeout)
			c.noteCut()
			c.endLocked(errNotTaken, endNow)
		}
	case f.lastWrittenAt == 0 || now < f.closeAt || c.underWay(lim, now):
	default:
		limit := LimitCloseTimeout
		if f.behind {
			limit = LimitWriteTimeout
		}
		if f.behind || c.stateNow() == stateClosing {
			c.loop.srv.hit(limit)
		}
		c.noteCut()
		c.endLocked(errNoAnswer, endNow)
	}
}

// underWay puts the deadline off while our last word is on its way, or has just
// arrived.
func (c *Conn) underWay(lim *connLimits, now tick) bool {
	f := c.facts
	if !f.behind {
		return false
	}
	switch unacked := c.unacked(); {
	case unacked == 0:
		f.behind = false
		f.closeAt = now + c.peersPart()
		return true
	case progressed(&f.acked, c.written()-unacked):
		f.ackedAt = now
	case now >= f.ackedAt+lim.write:
		return false
	}
	f.closeAt = min(now+min(max(now-f.lastWrittenAt, firstLook), lastLook), f.ackedAt+lim.write)
	return true
}

// findClose looks for the peer's close frame in what comes behind a failure, since
// only then the peer is sure to have ours. All else is dropped (RFC 6455 section
// 7.1.7).
func (c *Conn) findClose(w *worker, d *ws.Decoder, in []byte) {
	c.ownDecoder(w, d)
	c.in.answered = d.FindClose(in) || c.in.answered
}

// finish marks the connection closed; its descriptor and slot go when the leader
// settles the turn.
func (c *Conn) finish() {
	c.mu.Lock()
	c.advance(stateClosed)
	c.dropQueue()
	c.closeStream()
	c.loop.srv.freeWindows(c.deflation())
	c.mu.Unlock()
	c.seat.Leave()
	c.dropInbound()
}

// closeStream ends what carries the connection's bytes besides the descriptor.
// The caller holds mu.
func (c *Conn) closeStream() {
	if s := c.stream(); s != nil {
		s.close()
		c.facts.stream = nil
	}
}

// discard frees what the server keeps of a finished connection.
func (l *shard) discard(c *Conn) {
	c.keepID()
	if l.StopSeen() != 0 {
		l.countEnd(c)
	}
	l.leave(c) // before the peer can know: it may come again at once
	if c.fd >= 0 {
		l.logUnclosed(l.poll.CloseFD(int(c.fd)))
	}
	l.counters.open.Add(-1)
}
