package ws

import (
	"io"
	"math"

	"github.com/millrace/millrace/internal/buffer"
)

// inflatedPiece is the room for a piece of a streamed message: what the codec
// gives at once.
const inflatedPiece = 32 << 10

// mayCompress says whether a frame of this opcode may have RSV1 set: the first
// of a message (RFC 7692 section 6.1).
func mayCompress(op Opcode) bool { return op == Text || op == Binary }

// takeCompressed is takeData for a compressed message.
func (d *Decoder) takeCompressed(p []byte, last bool) (Message, error) {
	if !last {
		d.keep(p)
		return Message{}, nil
	}
	if d.unfinished == nil {
		d.unfinished = buffer.Get(len(p) + len(flushTail))
	}
	d.keep(p)
	d.unfinished = d.unfinished.Grow(len(flushTail))
	d.unfinished.B = append(d.unfinished.B, flushTail...)
	f := newInflater(d.unfinished.B, d.Window)
	if d.Stream {
		d.inflating, d.size = f, 0
		return d.inflatePiece()
	}
	defer f.free()
	return d.inflateWhole(f)
}

// inflateWhole gives the message in a buffer that takes the place of the
// compressed one.
func (d *Decoder) inflateWhole(f *inflater) (Message, error) {
	limit := d.maxMessage()
	out := buffer.Get(int(min(int64(4*len(d.unfinished.B)), limit)))
	for {
		size := int64(len(out.B))
		if len(out.B) == cap(out.B) && size < limit {
			out = out.Grow(int(min(size, limit-size)))
		}
		n, err := d.inflate(f, out.B[size:cap(out.B)], size)
		if err == io.EOF {
			break
		}
		if err != nil {
			out.Free()
			return Message{}, err
		}
		out.B = out.B[:len(out.B)+n]
	}
	if d.Window != nil {
		d.Window.Add(out.B)
	}
	m := Message{Opcode: d.message, Compressed: wireSize(d.size), Payload: out.B}
	d.unfinished.Free()
	d.message, d.unfinished = 0, out
	return m, nil
}

// inflatePiece gives the next piece of a streamed message, of which d.size bytes
// have been given.
func (d *Decoder) inflatePiece() (Message, error) {
	f, op := d.inflating, d.message
	if f.piece == nil {
		f.piece = buffer.Get(inflatedPiece)
	}
	piece := f.piece.B[:cap(f.piece.B)]
	n, err := d.inflate(f, piece, d.size)
	m := Message{Opcode: op, Compressed: wireSize(int64(len(d.unfinished.B) - len(flushTail)))}
	if err == io.EOF {
		d.message, d.inflating = 0, nil
		f.free()
		return m, nil
	}
	if err != nil {
		return Message{}, err
	}
	d.size += int64(n)
	if d.Window != nil {
		d.Window.Add(piece[:n])
	}
	m.More, m.Payload = true, piece[:n:n]
	return m, nil
}

func wireSize(n int64) uint32 { return uint32(min(n, math.MaxUint32)) }

// inflate is f.read into room for a message of which size bytes are there, as
// far as the message's limit and text's encoding let it.
func (d *Decoder) inflate(f *inflater, room []byte, size int64) (n int, err error) {
	n, err = f.readWithin(d.maxMessage()-size, room)
	if d.message == Text && (!d.text.write(room[:n]) || err == io.EOF && !d.text.complete()) {
		return 0, errNotUTF8
	}
	return n, err
}
