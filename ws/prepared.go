package ws

import (
	"bytes"
	"sync/atomic"

	"github.com/millrace/millrace/internal/buffer"
)

// Prepared is a message that has been framed once, to be sent to many. What it
// says never changes, and it is safe for use from any goroutine.
type Prepared struct {
	frame    []byte
	header   int                      // bytes of frame in front of the payload
	deflated atomic.Pointer[deflated] // a list of the compressed forms asked for so far
}

// deflated is one compressed form of a Prepared.
type deflated struct {
	z          Deflater
	frame      []byte // the Prepared's own if it does not become smaller
	compressed bool
	next       *deflated
}

// Prepare frames a copy of payload.
func Prepare(op Opcode, payload []byte) *Prepared {
	frame := AppendHeader(make([]byte, 0, maxHeader-maskLen+len(payload)), op, true, len(payload))
	p := &Prepared{header: len(frame)}
	frame = append(frame, payload...)
	p.frame = frame[:len(frame):len(frame)]
	return p
}

// Frame gives the bytes to send; they must not be changed.
func (p *Prepared) Frame() []byte { return p.frame }

// Opcode gives the message's opcode.
func (p *Prepared) Opcode() Opcode { return Opcode(p.frame[0] &^ bitFin) }

// Len gives the length of the payload in bytes.
func (p *Prepared) Len() int { return len(p.frame) - p.header }

// Payload gives the message's content, which must not be changed.
func (p *Prepared) Payload() []byte { return p.frame[p.header:] }

// Deflated gives the bytes to send where permessage-deflate is in use; they must
// not be changed. They are made when first asked for and kept with the message,
// once for all whose Deflaters come to the same. They refer to nothing that was
// sent before, so they fit every receiver, one that keeps a context too: then
// Window.Add is due as for Deflater.AppendFrame.
func (p *Prepared) Deflated(z Deflater) (frame []byte, compressed bool) {
	if p.Len() < z.threshold() {
		return p.frame, false
	}
	z = z.comeTo(p.Len())
	for {
		first := p.deflated.Load()
		for d := first; d != nil; d = d.next {
			if d.z == z {
				return d.frame, d.compressed
			}
		}
		// Whoever asks at the same time makes one too; the first stays.
		p.deflated.CompareAndSwap(first, p.deflate(z, first))
	}
}

func (p *Prepared) deflate(z Deflater, next *deflated) *deflated {
	room := buffer.Get(MaxHeader + p.Len() + DeflateRoom)
	defer room.Free()
	frame, compressed := z.AppendFrame(room.B, p.Opcode(), p.Payload(), nil)
	if !compressed {
		return &deflated{z: z, frame: p.frame, next: next}
	}
	return &deflated{z: z, frame: bytes.Clone(frame), compressed: true, next: next}
}
