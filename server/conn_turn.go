package server

import (
	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/ws"
)

// Turn implements loop.Member: it is one turn of a connection. Keep the calls around and
// below it few: more levels were measurably slower, see docs/design/rooms.md.
func (m *member) Turn(base *loop.Worker, why reason) {
	c, w := (*Conn)(m), base.HostData.(*worker)
	if why == writable && c.stateNow() <= stateHead && !c.hasQueue() {
		return // the edge of its registration: it has nothing to write yet
	}
	if c.seat.HungUp() {
		c.noteHangup(w)
	}
	queued := c.cork(w)
	if why&^(readable|writable) == 0 && !queued {
		why &^= writable // each edge tells of both directions: there is nothing to write
	}
	if why&stopped != 0 {
		c.endForStop()
	}
	if why&(expired|draining) != 0 {
		why |= readable | writable // look before the cut: the loop itself may have been late
	}
	if why&woken != 0 && c.in != nil {
		c.begin(w)
	}
	if why&woken != 0 && c.stateNow() == stateSecure {
		c.secured()
		why |= readable | hangup // to the end, as below: what came meanwhile waits to be read
	}
	if why&woken != 0 {
		if mute, _ := c.writeBrokenOrOver(); mute {
			why |= readable | hangup // to the end: no edge may tell of it any more
		}
	}
	if why&woken != 0 && c.waitsForHook() {
		c.resumeHook(w)
	}
	drained := why&(writable|emptied) != 0 && c.flushQueue(w, why)
	if drained {
		c.seat.DueChanged() // that of the queue was another
	}
	if c.resume(w) {
		why |= readable | hangup // to the end: edges may have been put off
	}
	if why&(readable|hangup) != 0 {
		c.read(w, why)
	}
	if drained {
		c.callDrained(w)
	}
	if why&woken != 0 {
		c.callMissed(w)
	}
	if why&expired != 0 && !c.over() {
		c.expire(w)
	}
	if why&draining != 0 && !c.over() && !c.arriving(w) {
		c.endForDrain()
	}
	c.endTurn(w)
}

// newDecoder is a decoder, used or new, for setUp.
func (s *Server) newDecoder() *ws.Decoder {
	if d, _ := s.decoders.Get().(*ws.Decoder); d != nil {
		return d
	}
	return &ws.Decoder{MaxEmptyFragments: s.limits.maxEmpty}
}

// endTurn writes what the turn has gathered and, if the connection is at its
// end, ends it.
func (c *Conn) endTurn(w *worker) {
	c.mu.Lock()
	c.tally(messagesIn, w.received.messages)
	c.tally(bytesIn, w.received.bytes)
	c.uncork()
	if c.paused() {
		c.endPausedTurn()
	}
	if c.over() {
		c.dropInbound() // net/http has the connection
	} else {
		c.chargeInbound(w)
	}
	if c.stateNow() == stateClosing {
		c.noteLastWritten()
	}
	if c.out != nil || c.writeBroken() || c.stateNow() > stateOpen {
		c.seat.DueChanged()
	}
	sent := w.out.sent // complete: the cork is no longer the connection's
	c.mu.Unlock()
	c.loop.counters.add(w.received, sent)
	w.received, w.out.sent = turnStats{}, turnStats{}
	if state := c.stateNow(); state >= stateEnding && state < stateClosed {
		c.conclude(w)
	}
}

// callDrained tells the handler that the queue is empty again.
func (c *Conn) callDrained(w *worker) {
	if c.stateNow() != stateOpen {
		return
	}
	if h, ok := c.handler.Handler.(DrainedHandler); ok {
		h.Drained(c)
		w.noteSlow(c, "Drained")
	}
}
