package ws

import (
	"encoding/binary"

	gobwas "github.com/gobwas/ws"

	"github.com/millrace/millrace/internal/buffer"
)

// Default limits of a Decoder.
const (
	DefaultMaxMessage        = 1 << 20 // bytes
	DefaultMaxEmptyFragments = 1000
)

var errNotUTF8 = &CloseError{Code: CodeInvalidPayload, Reason: "text is not UTF-8"}

// Decoder turns a client's bytes, in whatever pieces they arrive, into messages
// and control frames (RFC 6455, 5 and 8.1). The zero value is ready. It is not
// safe for concurrent use.
//
// It keeps only what is unfinished: up to 14 bytes of a header in itself, and a
// message's or control frame's first bytes in a pooled buffer, which grows as
// bytes arrive (at most to twice of what came, at least 512 bytes), whatever
// length the frame claims. While Idle it holds no memory besides itself.
type Decoder struct {
	// MaxMessage is the largest message taken, in bytes; a header that would
	// exceed it gives CodeTooBig. 0 means DefaultMaxMessage.
	MaxMessage int64

	// MaxEmptyFragments is how many frames without payload a fragmented message
	// may have; one more gives CodePolicy. 0 means DefaultMaxEmptyFragments.
	MaxEmptyFragments int

	// Window, with Deflate, is the context that the client takes over from
	// message to message; nil if it agreed not to. It stays the caller's.
	Window *Window

	// Stream gives a message in pieces as its bytes arrive, instead of whole:
	// the opcode on each, More on all but the last, which may be empty. A piece
	// of a text message may begin and end inside a rune, but all bytes up to
	// its end have been checked. MaxMessage holds for the sum of the pieces.
	// Change it only while Idle.
	Stream bool

	// Deflate: permessage-deflate has been agreed upon, and messages may come
	// compressed (RFC 7692). Change it, and Window, only while Idle.
	//
	// A compressed message is kept as it comes until its last frame is whole, at
	// most MaxMessage and an eighth of it, then inflated at once, by a pooled
	// inflater, until it is over MaxMessage (CodeTooBig) or found to be corrupt
	// (CodeInvalidPayload). With Stream the pieces have at most 32 KiB, and are
	// all given before Next eats anything more.
	Deflate bool

	// Header state: the beginning of a header whose end is not there yet.
	headLen uint8
	head    [maxHeader]byte

	// Frame state, meaningful while inFrame.
	inFrame bool
	fin     bool
	opcode  Opcode
	phase   uint8 // position in mask of the next payload byte
	mask    [4]byte

	// Message state, from a message's first header to its last byte.
	message    Opcode // 0: none
	compressed bool
	text       utf8Checker
	failed     bool  // for good, not the message's: Next has given an error, or FindClose was called
	empty      int   // fragments without payload
	size       int64 // bytes that its headers have announced; of one in d.inflating: that it has given

	left  int64 // frame state again: payload bytes still to come
	taken int64 // for Taken

	unfinished *buffer.Buffer // the message's bytes so far
	control    *buffer.Buffer // a split control frame's bytes so far
	inflating  *inflater      // gives the pieces of a streamed message, which is whole in unfinished
}

// Next eats from in and gives the next message and the bytes it did not eat.
// Message.Opcode is 0 once in is used up and more bytes are needed.
//
// in is unmasked in place, so the caller must own it; a message that lies whole
// in one frame in it is given without a copy. A control frame between fragments
// is given at once, before their message. A close frame's payload is vetted, for
// ParseClose; what follows it is the caller's to drop.
//
// The error is a *CloseError with CodeProtocolError, CodeInvalidPayload,
// CodePolicy or CodeTooBig, found as early as the bytes allow. With it Next
// gives back all buffers, and rest is what FindClose goes on with. After it only
// FindClose and Reset may be called, and Idle, Buffered and Taken, which change
// nothing.
func (d *Decoder) Next(in []byte) (m Message, rest []byte, err error) {
	if d.unfinished != nil || d.control != nil {
		d.Release()
		if d.inflating != nil {
			if m, err = d.inflatePiece(); err != nil {
				return d.fail(in, 0, err)
			}
			return m, in, nil
		}
	}
	if op, payload, size := d.wholeFrame(in); size > 0 {
		gobwas.Cipher(payload, [4]byte(in[size-len(payload)-maskLen:]), 0)
		if op == Text && !validUTF8(payload) {
			return d.fail(in, size, errNotUTF8)
		}
		return Message{Opcode: op, Payload: payload}, in[size:], nil
	}
	for len(in) > 0 {
		if !d.inFrame {
			n, err := d.readHeader(in)
			if err != nil {
				return d.fail(in, 0, err)
			}
			in = in[n:]
			if !d.inFrame || len(in) == 0 && d.left > 0 {
				break
			}
		}
		n := int(min(int64(len(in)), d.left))
		m, err := d.take(in[:n:n])
		if err != nil {
			return d.fail(in, n, err)
		}
		in = in[n:]
		if m.Opcode != 0 {
			return m, in, nil
		}
	}
	return Message{}, nil, nil
}

// wholeFrame finds an unfragmented message of up to 64 KiB that lies whole at
// in's beginning while nothing is unfinished; size is 0 if there is none, or
// anything to refuse, which is left to readHeader and take. It is the way of
// nearly all messages, and measured: 64 bytes of text take 30 ns through here,
// 66 through those, and gobwas's ReadHeaderBuffer 38 for the header alone.
func (d *Decoder) wholeFrame(in []byte) (op Opcode, payload []byte, size int) {
	const short = 2 + maskLen
	if d.headLen > 0 || d.inFrame || d.message != 0 || len(in) < short {
		return 0, nil, 0
	}
	op = Opcode(in[0] ^ bitFin) // above Binary with FIN clear or an RSV bit set
	if op != Text && op != Binary || in[1] < bitMask {
		return 0, nil, 0
	}
	header, length := short, int(in[1]^bitMask)
	if length >= length16 {
		if length == length64 || len(in) < short+2 {
			return 0, nil, 0
		}
		header, length = short+2, int(binary.BigEndian.Uint16(in[2:]))
		if length < length16 {
			return 0, nil, 0
		}
	}
	size = header + length
	if size > len(in) || int64(length) > d.maxMessage() {
		return 0, nil, 0
	}
	return op, in[header:size:size], size
}

// Idle reports whether nothing is unfinished and no buffer is held: the decoder
// is between messages, and its state may be thrown away. After an error, or
// FindClose, it is not idle until Reset.
func (d *Decoder) Idle() bool {
	return d.headLen == 0 && !d.inFrame && d.message == 0 && !d.failed && d.Buffered() == 0
}

// Taken gives the payload bytes of text, binary and continuation frames, as they
// came, that Next has taken in all since the decoder was made or Reset. It only
// grows: a deadline by progress watches it while a message is unfinished. Headers
// and control frames do not count, for no message gets longer by them, nor does
// what FindClose drops. A message that lies whole in one frame in Next's in may
// be left out: it is never unfinished, and nearly all messages come so, on the
// short way of wholeFrame.
func (d *Decoder) Taken() int64 { return d.taken }

// Buffered gives the bytes of memory held in buffers.
func (d *Decoder) Buffered() int {
	n := 0
	if d.unfinished != nil {
		n += cap(d.unfinished.B)
	}
	if d.control != nil {
		n += cap(d.control.B)
	}
	if d.inflating != nil {
		n += d.inflating.held()
	}
	return n
}

// Release gives back the buffer of the last message, whose payload must no
// longer be used. Next does so too; call it when no call of Next is near.
func (d *Decoder) Release() {
	if d.unfinished != nil && d.message == 0 {
		d.unfinished.Free()
		d.unfinished = nil
	}
	if d.control != nil && !d.inFrame {
		d.control.Free()
		d.control = nil
	}
}

// Reset gives back all buffers and forgets what is unfinished; the limits,
// Stream, Deflate and Window stay.
func (d *Decoder) Reset() {
	d.freeBuffers()
	*d = Decoder{
		MaxMessage: d.MaxMessage, MaxEmptyFragments: d.MaxEmptyFragments,
		Stream: d.Stream, Deflate: d.Deflate, Window: d.Window,
	}
}

// take eats payload bytes of the current frame, which may be its last or none.
func (d *Decoder) take(p []byte) (Message, error) {
	gobwas.Cipher(p, d.mask, int(d.phase))
	d.phase = (d.phase + uint8(len(p)%4)) % 4
	d.left -= int64(len(p))
	d.inFrame = d.left > 0
	if d.opcode.control() {
		return d.takeControl(p)
	}
	return d.takeData(p)
}

func (d *Decoder) takeControl(p []byte) (Message, error) {
	if d.inFrame || d.control != nil {
		if d.control == nil {
			d.control = buffer.Get(maxControl)
		}
		d.control.B = append(d.control.B, p...)
		p = d.control.B
	}
	if d.inFrame {
		return Message{}, nil
	}
	if d.opcode == Close {
		if err := checkClose(p); err != nil {
			d.inFrame = true // for FindClose: it is the peer's close frame all the same
			return Message{}, err
		}
	}
	return Message{Opcode: d.opcode, Payload: p}, nil
}

func (d *Decoder) takeData(p []byte) (Message, error) {
	d.taken += int64(len(p))
	last := d.fin && !d.inFrame
	op := d.message
	if d.compressed {
		return d.takeCompressed(p, last)
	}
	if op == Text && (!d.text.write(p) || last && !d.text.complete()) {
		return Message{}, errNotUTF8
	}
	if last {
		d.message = 0
	}
	switch {
	case d.Stream && (last || len(p) > 0):
		return Message{Opcode: op, More: !last, Payload: p}, nil
	case last && d.unfinished == nil:
		return Message{Opcode: op, Payload: p}, nil
	}
	d.keep(p)
	if last {
		return Message{Opcode: op, Payload: d.unfinished.B}, nil
	}
	return Message{}, nil
}

// keep adds p to the unfinished message. The buffer doubles (but not beyond the
// message limit) so that a message in many small pieces is copied only a
// constant number of times.
func (d *Decoder) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	if d.unfinished == nil {
		d.unfinished = buffer.Get(len(p))
	}
	b := d.unfinished
	if cap(b.B)-len(b.B) < len(p) {
		double := min(int64(len(b.B)), d.maxBytes(d.compressed)-int64(len(b.B)))
		b = b.Grow(max(len(p), int(double)))
		d.unfinished = b
	}
	b.B = append(b.B, p...)
}
