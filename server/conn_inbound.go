package server

import (
	"time"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/ws"
)

// inbound is what a connection has received in part.
type inbound struct {
	entry
	raw     int            // the capacity of what a TLS connection has received and not decrypted
	head    *buffer.Buffer // of the request, a PROXY header, or a ClientHello out of its records
	scanner ws.HeadScanner
	secure  bool // the PROXY header says that the client came over TLS
	hello   helloScanner
	decoder *ws.Decoder // in the midst of a frame or a fragmented message
	taken   *takenOver  // a connection of net/http that is to be opened
	hook    *hookWait   // it waits for the Upgrade hook
	back    *returned   // one that net/http has given back
	guest   *guest      // one that its bridge's reader has not met yet

	mark int64 // what the decoder had taken at entry.since

	rest    *buffer.Buffer // read and not handled: see conn_pause.go
	putOff  bool           // there is a rest, or there may be more to read, when the pause is over
	tooFast bool           // what came behind rest was too much a second

	answered bool // the connection has failed, and the peer's close frame has come

	drains      bool          // a drain has come, and goes on when the pause is over
	drainMost   uint64        // or when so many bytes have come in all; 0: there is none
	drainWaited time.Duration // or, behind a bridge, when its reader has waited so long
	drainAt     tick          // to be looked at then; 0: not
}

// empty says whether the connection needs it no more.
func (in *inbound) empty() bool {
	return in.raw == 0 && in.head == nil && !in.secure && in.decoder == nil && in.taken == nil && in.hook == nil && in.back == nil && in.guest == nil && !in.putOff &&
		!in.answered && !in.drains && in.drainMost == 0 && in.drainAt == 0
}

// ensureInbound returns c.in, made if need be. Only the turn calls it, and those below.
func (c *Conn) ensureInbound() *inbound {
	if c.in == nil {
		c.in = &inbound{}
		c.in.conn = c
		c.in.since.Store(uint32(c.loop.RightNow()))
		c.loop.unfinished.add(&c.in.entry)
	}
	return c.in
}

// dropInbound gives up what is unfinished.
func (c *Conn) dropInbound() {
	in := c.in
	if in == nil {
		return
	}
	in.head.Free()
	in.rest.Free()
	if in.decoder != nil {
		in.decoder.Reset()
	}
	c.in = nil
	c.loop.unfinished.remove(&in.entry)
	c.loop.srv.governor.inbound.charge(&in.entry, 0)
}

// chargeInbound charges what is unfinished at the end of a turn, or gives it up if
// it is nothing. Far beyond the bound it ends the connection. The caller holds mu.
func (c *Conn) chargeInbound(w *worker) {
	if s, ok := w.stream.(*tlsStream); ok && s.raw != nil {
		c.ensureInbound().raw = cap(s.raw.B)
	} else if c.in == nil {
		return
	} else {
		c.in.raw = 0
	}
	if c.in.empty() {
		c.dropInbound()
		return
	}
	inbound := &c.loop.srv.governor.inbound
	grew := int64(c.in.memory()) > c.in.charged.Load()
	inbound.charge(&c.in.entry, int64(c.in.memory()))
	if grew && inbound.full() {
		c.shedInbound()
	}
}

// memory is what is unfinished, in bytes.
func (in *inbound) memory() int {
	n := inboundMemory + in.raw
	if in.head != nil {
		n += cap(in.head.B)
	}
	if in.rest != nil {
		n += cap(in.rest.B)
	}
	if in.decoder != nil {
		n += in.decoder.Buffered()
	}
	return n
}

// trimInbound gives back the request head's buffer, and with the last unfinished
// thing its place.
func (c *Conn) trimInbound() {
	if c.in == nil {
		return
	}
	if c.stateNow() > stateHead {
		c.in.head.Free()
		c.in.head = nil
		c.in.secure = false
	}
	if c.in.empty() {
		c.dropInbound()
	}
}
