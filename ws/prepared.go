package ws

import (
	"bytes"
	"sync/atomic"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/sse"
)

// Prepared is a message that has been framed once, to be sent to many. What it
// says never changes, and it is safe for use from any goroutine.
type Prepared struct {
	frame    []byte
	header   int                      // bytes of frame in front of the payload
	deflated atomic.Pointer[deflated] // a list of the compressed forms asked for so far
	event    atomic.Pointer[[]byte]   // as one of an event stream; nil: nobody has asked
	more     *prepareMore             // nil: there are no options
}

// PrepareOptions are about the other forms of a message.
type PrepareOptions struct {
	// ID is that of its event in event streams, which a client that has lost its connection
	// sends as Last-Event-ID when it comes back; "" is none. It may not hold CR, LF
	// or NUL: the event then has none.
	ID string
	// Event is the name of that event; "" is none. It may not hold CR, LF or NUL: the event then has none.
	Event string
	// NotPlain has the message be one for event streams, and for connections that ask for envelopes, alone.
	NotPlain bool
	// Envelope, if not nil, makes the text that connections get in place of the payload
	// which ask for envelopes, as one that also says what the message is about. It is called when
	// the first of them is to get it, on any goroutine, perhaps on several at once, and gives the same each time. That may be
	// a server's loop: it must not block, panic, or use a connection or a group.
	// Its result must not be changed, and is valid UTF-8.
	Envelope func() []byte
}

type prepareMore struct {
	PrepareOptions
	enveloped atomic.Pointer[Prepared] // nil: nobody has asked
}

// deflated is one compressed form of a Prepared.
type deflated struct {
	z          Deflater
	frame      []byte // the Prepared's own if it does not become smaller
	compressed bool
	next       *deflated
}

// Prepare is PrepareWith without options.
func Prepare(op Opcode, payload []byte) *Prepared { return PrepareWith(op, payload, PrepareOptions{}) }

// PrepareWith frames a copy of payload. All other forms of the message are made when they
// are first asked for, once for all, and kept with it.
func PrepareWith(op Opcode, payload []byte, o PrepareOptions) *Prepared {
	if o.ID == "" && o.Event == "" && !o.NotPlain && o.Envelope == nil {
		return new(Prepared).with(op, payload)
	}
	p := &struct { // one allocation
		Prepared
		options prepareMore
	}{options: prepareMore{PrepareOptions: o}}
	p.more = &p.options
	return p.with(op, payload)
}

// with frames a copy of payload.
func (p *Prepared) with(op Opcode, payload []byte) *Prepared {
	frame := AppendHeader(make([]byte, 0, maxHeader-maskLen+len(payload)), op, true, len(payload))
	p.header = len(frame)
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

// Enveloped is the message for connections that ask for envelopes, a text with the same
// id; p itself if it was prepared without PrepareOptions.Envelope.
func (p *Prepared) Enveloped() *Prepared {
	if p.more == nil || p.more.Envelope == nil {
		return p
	}
	if e := p.more.enveloped.Load(); e != nil {
		return e
	}
	e := PrepareWith(Text, p.more.Envelope(), PrepareOptions{ID: p.more.ID, Event: p.more.Event})
	p.more.enveloped.CompareAndSwap(nil, e) // else somebody else has made the same
	return p.more.enveloped.Load()
}

// Plain says whether the message is also for connections that ask for no envelopes, and are no event streams.
func (p *Prepared) Plain() bool { return p.more == nil || !p.more.NotPlain }

// Forms is how many bytes the forms have that were made so far, besides Frame.
func (p *Prepared) Forms() (bytes int) {
	for d := p.deflated.Load(); d != nil; d = d.next {
		if d.compressed {
			bytes += len(d.frame)
		}
	}
	if event := p.event.Load(); event != nil {
		bytes += len(*event)
	}
	if p.more != nil {
		if e := p.more.enveloped.Load(); e != nil {
			bytes += len(e.frame) + e.Forms()
		}
	}
	return bytes
}

// Event gives the message as an event of an event stream (package sse), a text as its data;
// nil for another opcode, since an event stream is text. It must not be changed.
func (p *Prepared) Event() []byte {
	if p.Opcode() != Text {
		return nil
	}
	if event := p.event.Load(); event != nil {
		return *event
	}
	e := sse.Event{Data: p.Payload()}
	if p.more != nil {
		e.ID, e.Name = p.more.ID, p.more.Event
	}
	event := sse.AppendEvent(make([]byte, 0, len("id: \nevent: \ndata: \n\n")+len(e.ID)+len(e.Name)+len(e.Data)), e)
	p.event.CompareAndSwap(nil, &event) // else somebody else has made the same
	return *p.event.Load()
}

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
