package load

import (
	"bytes"
	"errors"

	"github.com/millrace/millrace/ws"
)

// What Plan.Deflate may be.
const (
	DeflateOff      = "off"
	DeflateOn       = "on"       // each message is compressed by itself
	DeflateTakeover = "takeover" // with what went before in mind, in both directions
)

// deflating is what a connection that compresses keeps.
type deflating struct {
	deflater ws.Deflater
	sent     *ws.Window // what our messages may refer to; nil: each is by itself
	seen     *ws.Window // and the server's

	compressed bool   // the message under way is
	wire       int64  // bytes of its frames, so far
	packed     []byte // so far
}

// offer is what the plan offers to the server; nil: no compression.
func (p *plan) offer() *ws.DeflateParams {
	switch p.Deflate {
	case DeflateOn:
		return &ws.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ClientMaxWindowBits: 15}
	case DeflateTakeover:
		return &ws.DeflateParams{ClientMaxWindowBits: 15}
	}
	return nil
}

// compresses tells whether messages are to be compressed.
func (p *plan) compresses() bool { return p.Deflate == DeflateOn || p.Deflate == DeflateTakeover }

func newDeflating(agreed ws.DeflateParams) *deflating {
	z := &deflating{deflater: ws.Deflater{WindowBits: agreed.ClientMaxWindowBits}}
	if !agreed.ClientNoContextTakeover {
		z.sent = &ws.Window{Bits: agreed.ClientMaxWindowBits}
	}
	if !agreed.ServerNoContextTakeover {
		z.seen = &ws.Window{Bits: agreed.ServerMaxWindowBits}
	}
	return z
}

// free gives the windows back.
func (z *deflating) free() {
	if z == nil {
		return
	}
	if z.sent != nil {
		z.sent.Free()
	}
	if z.seen != nil {
		z.seen.Free()
	}
}

// appendMessage appends a connection's message as a frame. It will be sent.
func (l *loop) appendMessage(dst []byte, c *conn, payload []byte) []byte {
	l.meter.sent++
	op := l.plan.opcode()
	if c.deflate == nil {
		return ws.AppendMaskedFrame(dst, op, true, payload, l.maskKey())
	}
	z, before := c.deflate, len(dst)
	dst, compressed := z.deflater.AppendMaskedFrame(dst, op, payload, l.maskKey(), z.sent)
	if l.meter.measures(l.now) {
		l.meter.Wire.Sent += int64(len(dst) - before)
		l.meter.Wire.SentPayload += int64(len(payload))
	}
	if compressed && z.sent != nil {
		z.sent.Add(payload)
	}
	return dst
}

// countWire counts a message that came, if its connection compresses and its
// payload is known.
func (l *loop) countWire(c *conn) {
	if c.deflate != nil && l.checking != unchecked && l.meter.measures(l.now) {
		l.meter.Wire.Received += c.deflate.wire
		l.meter.Wire.ReceivedPayload += int64(c.in.size)
	}
}

// packed says whether the message under way is compressed.
func (c *conn) packed() bool { return c.deflate != nil && c.deflate.compressed }

// packedRoom is how much longer than its message a compressed one may be: DEFLATE
// adds five bytes to each 64 KiB that it can not make smaller, a server perhaps
// the same to each piece that it flushes.
func packedRoom(size int) int { return size + size/8 + 1024 }

// eatPacked takes a part of a compressed message, and compares it when it is
// whole. Nothing of it can be compared before.
func (l *loop) eatPacked(c *conn, part []byte, whole bool) (ok bool) {
	z, i := c.deflate, &c.in
	if whole && len(z.packed) == 0 {
		return l.compareInflated(c, part)
	}
	z.packed = append(z.packed, part...)
	if len(z.packed) > packedRoom(i.size) {
		l.wrongEcho(c, "compressed, it is longer than %d bytes can become", i.size)
		return false
	}
	if !whole {
		return true
	}
	packed := z.packed
	z.packed = nil // most connections wait most of the time
	return l.compareInflated(c, packed)
}

func (l *loop) compareInflated(c *conn, packed []byte) (ok bool) {
	i := &c.in
	var err error
	var tooBig *ws.CloseError
	l.inflated, err = ws.AppendInflated(l.inflated[:0], packed, int64(i.size), c.deflate.seen)
	switch {
	case errors.As(err, &tooBig) && tooBig.Code == ws.CodeTooBig:
		l.wrongEcho(c, "inflated, it is longer than the %d bytes sent", i.size)
		return false
	case err != nil:
		l.lose(c, "wrong frame: %s", brief(err))
		return false
	}
	inflated := l.inflated
	if l.checking == published {
		if len(inflated) < markSize {
			l.wrongEcho(c, "inflated, it has %d bytes and no head", len(inflated))
			return false
		}
		if inflated = inflated[markSize:]; !l.identify(c, l.inflated[:markSize]) {
			return false
		}
	}
	if !bytes.Equal(inflated, i.expected) {
		at := i.size - len(i.expected) + differs(inflated, i.expected)
		l.wrongEcho(c, "inflated, it differs from byte %d of %d on", at, i.size)
		return false
	}
	i.expected = nil
	return true
}
