package server

import (
	"io"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// read takes what is there, once: one peer at line rate does not keep the others
// waiting.
func (c *Conn) read(w *worker, why reason) {
	switch {
	case c.over():
		return
	case c.waitsForHook():
		if why&hangup != 0 {
			c.lookForEnd(w)
		}
		return
	case c.standsStill():
		c.putOff()
		c.readAll()
		return
	}
	n, more, err := c.receive(w)
	switch {
	case err == nil:
		w.received.bytes += n
		c.noteAlive()
		if more || why&hangup != 0 {
			c.seat.Again(readable | why&hangup) // a short read means drained, unless the end is behind it
		}
		if n > 0 { // a stream may have had bytes that make none
			c.consume(w, w.in[:n])
		}
	case err == poller.ErrAgain:
		w.pacing.caughtUp(c.loop)
		c.readAll()
	case err == io.EOF:
		c.peerGone()
	default:
		c.readFailed(err)
	}
}

// readAll ends a connection that can not be written to, now that what had come is
// read. The reader of a bridge may have more: that has until the deadline.
func (c *Conn) readAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, bridged := c.stream().(*bridge); c.writeBroken() && !bridged {
		c.endLocked(c.facts.broken, endNow)
	}
}

// consume gives bytes to the connection's stages, each of which leaves the rest to
// the next.
func (c *Conn) consume(w *worker, in []byte) {
	if c.stateNow() == stateProxy {
		in = c.consumeProxy(in)
	}
	if c.stateNow() == stateSecure {
		in = c.consumeHello(w, in)
	}
	if c.stateNow() == stateHead {
		in = c.consumeHead(w, in)
	}
	switch state := c.stateNow(); {
	case state == stateOpen || state == stateClosing:
		c.consumeOpen(w, in)
	case c.lingers():
		c.findClose(w, c.decoder(w), in)
	}
	c.trimInbound()
}

// decoder is the one that has the connection's unfinished frame or message, or w's
// if nothing is unfinished.
func (c *Conn) decoder(w *worker) *ws.Decoder {
	if c.in != nil && c.in.decoder != nil {
		return c.in.decoder
	}
	return w.decoder
}

// consumeFrames decodes messages and hands them to the handler.
func (c *Conn) consumeFrames(w *worker, in []byte) {
	d := c.decoder(w)
	c.setUp(w, d)
	messages := w.received.messages
	for {
		if c.is(pausedBits | newLimits) {
			c.adoptLimits(w, d)
			if c.paused() {
				c.keepRest(in)
				break
			}
		}
		m, rest, err := d.Next(in)
		if err != nil {
			c.failBy(err)
			c.leaveDecoder(w, d, rest)
			return
		}
		if m.Opcode == 0 {
			break
		}
		in = rest
		if !c.deliver(w, m) {
			c.leaveDecoder(w, d, in)
			return
		}
	}
	c.keepDecoder(w, d, w.received.messages > messages)
}

// setUp has d take what c's peer may send: decoders go from one connection to another.
// Within a message nothing changes but its bound, by SetLimits.
func (c *Conn) setUp(w *worker, d *ws.Decoder) {
	d.MaxMessage, d.Stream = w.limits.maxMessage, c.is(streaming)
	if w.deflate != nil || d.Deflate {
		w.deflate.setUp(d)
	}
}

// adoptLimits has d, in the midst of a turn, go by what SetLimits has said, if it has.
func (c *Conn) adoptLimits(w *worker, d *ws.Decoder) {
	if !c.is(newLimits) {
		return
	}
	c.mu.Lock()
	c.takeLimits(w)
	c.mu.Unlock()
	d.MaxMessage = w.limits.maxMessage
}

// deliver hands a message on; false means that nothing after it counts.
func (c *Conn) deliver(w *worker, m ws.Message) (goOn bool) {
	if w.pacing.rates != nil && m.Opcode != ws.Close && !m.More && !c.withinRate(w) {
		return false
	}
	switch m.Opcode {
	case ws.Text, ws.Binary:
		if !m.More {
			w.received.messages++
		}
		if m.Compressed > 0 {
			c.loop.counters.inflated.addPiece(m)
		}
		if c.stateNow() == stateOpen {
			c.callMessage(w, m)
			c.loop.srv.spoil(m.Payload)
		}
	case ws.Close:
		c.peerClosed(w, m.Payload)
		return false
	case ws.Ping:
		c.pong(m.Payload)
		if h, ok := c.handler.Handler.(PingHandler); ok && c.stateNow() == stateOpen {
			h.Ping(c, m.Payload)
			w.noteSlow(c, "Ping")
			c.loop.srv.spoil(m.Payload)
		}
	case ws.Pong:
		if h, ok := c.handler.Handler.(PongHandler); ok && c.stateNow() == stateOpen {
			h.Pong(c, m.Payload)
			w.noteSlow(c, "Pong")
			c.loop.srv.spoil(m.Payload)
		}
	}
	return c.stateNow() <= stateClosing
}

// callMessage calls the handler with a message, or a piece of one.
func (c *Conn) callMessage(w *worker, m ws.Message) {
	if w.limits.idle > 0 {
		c.facts.messageAt = c.loop.RightNow()
	}
	if c.is(streaming) {
		c.handler.Handler.(StreamHandler).Piece(c, m)
		w.noteSlow(c, "Piece")
		return
	}
	c.handler.Message(c, m)
	w.noteSlow(c, "Message")
}

// keepDecoder keeps d with the connection while it is in the midst of something,
// and only then.
func (c *Conn) keepDecoder(w *worker, d *ws.Decoder, whole bool) {
	d.Release()
	own := c.in != nil && c.in.decoder == d
	switch {
	case d.Idle() && own:
		c.in.decoder = nil
		w.srv.decoders.Put(d)
	case !d.Idle():
		c.ownDecoder(w, d)
		c.noteProgress(d, whole || !own)
	}
}

// noteProgress notes when an unfinished message last made progress, for its deadline.
func (c *Conn) noteProgress(d *ws.Decoder, begun bool) {
	in := c.in
	if begun || d.Taken()-in.mark >= progressBytes {
		in.mark = d.Taken()
		in.since.Store(uint32(c.loop.RightNow()))
	}
	if begun {
		c.seat.DueChanged()
	}
}

// ownDecoder keeps d with the connection.
func (c *Conn) ownDecoder(w *worker, d *ws.Decoder) {
	if p := c.ensureInbound(); p.decoder != d {
		p.decoder = d
		w.decoder = w.srv.newDecoder()
	}
}

// leaveDecoder is for a connection that is over: of what is left in in, and of what
// comes, only a close frame counts, if anything does.
func (c *Conn) leaveDecoder(w *worker, d *ws.Decoder, in []byte) {
	if c.lingers() {
		c.findClose(w, d, in)
	} else {
		c.dropDecoder(w, d)
	}
}

// lingers says whether the connection is a WebSocket that has failed and waits for
// the peer to have read why.
func (c *Conn) lingers() bool {
	return c.handler != nil && c.stateNow() >= stateEnding && c.manner() == endLinger && !c.is(eventStream)
}

// dropDecoder forgets what d is in the midst of: the connection reads nothing
// more.
func (c *Conn) dropDecoder(w *worker, d *ws.Decoder) {
	d.Reset()
	if c.in != nil && c.in.decoder == d {
		c.in.decoder = nil
		w.srv.decoders.Put(d)
	}
}

// receive reads what is there into w.in. more: there may be more at once.
func (c *Conn) receive(w *worker) (n int, more bool, err error) {
	if w.stream != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		n, more, err = w.stream.read(w, w.in)
		c.passOn() // what reading made it write
		return n, more, err
	}
	in := w.in
	if c.handler == nil {
		in = in[:earlyRead]
	}
	n, err = c.loop.engine.Read(int(c.fd), in)
	return n, n == len(in), err
}
