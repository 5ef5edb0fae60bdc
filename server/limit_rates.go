package server

import (
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/ws"
)

// # What a peer may send
//
// With Limits.MessageRate or Limits.ByteRate, or its own, a connection has a token bucket for each among its
// facts; without them nothing is kept, and the clock is not looked at.
//
// What a read finds may have come at any time since the last read that found all
// there was. As long as the server was ready for it, that is now. While it was not
// (the handler took its time, the loop was late, the buffer full), the peer may
// well have sent at its rate, so its buckets fill for that time as if they had no
// bound: a server that is late does not take it out on its peers.

// rates is what a connection has sent lately. It is the turn's.
type rates struct {
	messages, bytes time.Duration // when each bucket is full again
	drained         time.Duration // of the last read that found all there was
	ready           time.Duration // since when an event leads to a read at once
	more            bool          // there is more to read: not ready yet
}

// pacing is the time of a read, for the buckets: a worker's, while it is in a
// turn.
type pacing struct {
	*rates               // nil: there are no rates to be kept
	now    time.Duration // of the read
	since  time.Duration // from when on what was read may have been sent; now if we were not late
}

var (
	errManyMessages = &ws.CloseError{Code: ws.CodePolicy, Reason: "too many messages a second"}
	errManyBytes    = &ws.CloseError{Code: ws.CodePolicy, Reason: "too many bytes a second"}
)

// newRates are those of a connection that opens now.
func (l *shard) newRates() *rates {
	now := l.engine.Now()
	return &rates{drained: now, ready: now}
}

// renewRates has r, or new ones for nil, begin with full buckets.
func (l *shard) renewRates(r *rates) *rates {
	if r == nil {
		return l.newRates()
	}
	r.messages, r.bytes = 0, 0
	return r
}

// consumeOpen gives bytes to an open connection.
func (c *Conn) consumeOpen(w *worker, in []byte) {
	if c.is(eventStream) {
		c.throwAway(w)
		return
	}
	if w.pacing.rates == nil {
		c.consumeFrames(w, in)
		return
	}
	p := &w.pacing
	p.read(c.loop, w.Round)
	within := len(in)
	if limit := w.limits.bytes; limit.Limited() {
		p.bytes, within = limit.TakeUpTo(p.bytes, p.since, p.now, len(in))
	}
	c.consumeFrames(w, in[:within])
	paused := c.in != nil && c.in.putOff // as consumeFrames has found it
	switch {
	case within == len(in) || c.stateNow() > stateClosing:
	case paused:
		c.in.tooFast = true
	default:
		c.tooFast(LimitByteRate, errManyBytes)
		c.leaveDecoder(w, c.decoder(w), in[within:])
	}
	p.handled(c.loop, c.seat.AsksAgain() == 0 && !paused)
}

// read notes that bytes were read just now, in this round.
func (p *pacing) read(l *shard, r loop.Round) {
	p.now = l.engine.Now()
	ready := p.ready
	if p.more {
		ready = p.now
	}
	late := max(ready-p.drained, r.Took+p.now-r.Began)
	p.since = p.now - late
}

// handled notes that they are handled; all: there were no more.
func (p *pacing) handled(l *shard, all bool) {
	if p.more = !all; all {
		p.drained, p.ready = p.now, l.engine.Now()
	}
}

// caughtUp notes, after a pause, that there is nothing more to read.
func (p *pacing) caughtUp(l *shard) {
	if p.rates != nil && p.more {
		p.now = l.engine.Now()
		p.handled(l, true)
	}
}

// withinRate takes a message, or control frame, off the bucket; false means that
// there were too many, and the connection ends.
func (c *Conn) withinRate(w *worker) bool {
	p, limit := &w.pacing, w.limits.messages
	if !limit.Limited() {
		return true
	}
	next, ok := limit.Take(p.messages, p.since, p.now, 1)
	if !ok {
		c.tooFast(LimitMessageRate, errManyMessages)
		return false
	}
	p.messages = next
	return true
}

func (c *Conn) tooFast(limit Limit, cause *ws.CloseError) {
	c.loop.srv.hit(limit)
	c.end(cause, endLinger)
}
