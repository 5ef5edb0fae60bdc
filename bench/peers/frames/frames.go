// Package frames answers WebSocket frames with gobwas/ws, for the servers that
// have bytes rather than messages.
//
// It works as the README of gobwas/ws tells those who want no intermediate
// allocations: on the low-level API, in buffers of one's own. A frame is unmasked
// and its answer composed in the memory it was read into, and all answers to one
// read go out in one write. What wsutil does instead costs 5 allocations a
// message.
package frames

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/gobwas/ws"

	"github.com/millrace/millrace/bench/peers/peer"
)

// ErrTooLong is what Answer fails with when a message is longer than MaxMessage.
var ErrTooLong = errors.New("frames: the message is too long")

// compressed is the bit of a compressed message in ws.Header.Rsv.
const compressed = 4

// Echo answers the frames of one connection. Its zero value is ready.
type Echo struct {
	All io.Writer // gets messages, which do not go back then; nil: they go back

	deflate bool      // permessage-deflate was agreed on
	opcode  ws.OpCode // of the message in fragments under way; 0: there is none
	packed  bool      // it is compressed
	message []byte    // what came of it
}

// Answer answers the whole frames at the beginning of in, which it overwrites,
// and tells how many of its bytes are used up. The rest has to become need bytes
// long before another call can use any. After an error the connection is to be
// closed; it is io.EOF after a close frame, which was answered.
func (e *Echo) Answer(in []byte, back io.Writer) (used, need int, err error) {
	to := back // where messages go
	if e.All != nil {
		to = e.All
	}
	var out []byte // what goes there, in the memory of in
	for err == nil {
		h, n := parse(in[used:])
		if n == 0 {
			need = len(in) - used + 1
			break
		}
		if err = e.check(h); err != nil {
			out = e.own(out, ws.CompiledCloseProtocolError, back)
			break
		}
		if need = n + int(h.Length); need > len(in)-used {
			break
		}
		if out == nil {
			out = in[used+len(h.Mask):][:0] // by so much an answer is shorter
		}
		payload := in[used+n : used+need]
		used += need
		ws.Cipher(payload, h.Mask, 0)
		if h.OpCode.IsControl() {
			out, err = e.control(out, h.OpCode, payload, back)
		} else {
			out, err = e.data(out, h, payload, to)
		}
	}
	if len(out) > 0 {
		if _, failed := to.Write(out); failed != nil {
			err = failed
		}
	}
	return used, need, err
}

func (e *Echo) check(h ws.Header) error {
	if h.Length > int64(peer.MaxMessage-len(e.message)) {
		return ErrTooLong
	}
	if e.deflate && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
		h.Rsv &^= compressed
	}
	state := ws.StateServerSide
	if e.opcode != 0 {
		state = state.Set(ws.StateFragmented)
	}
	return ws.CheckHeader(h, state)
}

// control answers a control frame.
func (e *Echo) control(out []byte, opcode ws.OpCode, payload []byte, back io.Writer) ([]byte, error) {
	switch {
	case opcode == ws.OpPong:
		return out, nil
	case opcode == ws.OpPing:
		opcode = ws.OpPong
	}
	if e.All == nil {
		out = appendFrame(out, byte(opcode), payload)
	} else {
		out = e.own(out, appendFrame(nil, byte(opcode), payload), back)
	}
	if opcode == ws.OpClose {
		return out, io.EOF
	}
	return out, nil
}

// own adds a frame that is for the connection alone; where messages go to all, it
// is written at once. The next read tells if that fails.
func (e *Echo) own(out, frame []byte, back io.Writer) []byte {
	if e.All == nil {
		return append(out, frame...)
	}
	_, _ = back.Write(frame)
	return out
}

// data adds the answer to a frame of a message. That to a message in fragments, or
// to one that may be compressed, it writes, and what was there before it: it can
// be longer than the frame whose memory it could have.
func (e *Echo) data(out []byte, h ws.Header, payload []byte, to io.Writer) ([]byte, error) {
	if h.Fin && e.opcode == 0 && !e.deflate {
		return appendFrame(out, byte(h.OpCode), payload), nil
	}
	if e.opcode == 0 {
		e.opcode, e.packed = h.OpCode, h.Rsv&compressed != 0
	}
	if !h.Fin || len(e.message) > 0 {
		e.message = append(e.message, payload...)
		payload = e.message
	}
	if !h.Fin {
		return out, nil
	}
	opcode, packed := e.opcode, e.packed
	e.opcode, e.packed, e.message = 0, false, nil
	if e.deflate {
		return nil, deflated(out, opcode, payload, packed, to)
	}
	_, err := to.Write(appendFrame(out[:len(out):len(out)], byte(opcode), payload)) // in memory of its own
	return nil, err
}

// appendFrame adds a frame that a server sends, with an opcode and perhaps the bit
// of compression. The payload may be in the memory that follows dst.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	end := len(dst) + len(payload)
	if len(payload) > 0 && end <= cap(dst) && &dst[:end][len(dst)] == &payload[0] {
		return dst[:end] // it is there already
	}
	return append(dst, payload...)
}

// parse reads a header of n bytes; 0: it is not whole. It is ws.ReadHeader, but
// on bytes: through an io.Reader it takes 13 ns more, which would show with many
// messages in one read.
func parse(in []byte) (h ws.Header, n int) {
	if len(in) < 2 {
		return h, 0
	}
	h.Fin = in[0]&0x80 != 0
	h.Rsv = in[0] >> 4 & 7
	h.OpCode = ws.OpCode(in[0] & 15)
	h.Masked = in[1]&0x80 != 0
	h.Length = int64(in[1] & 0x7f)
	n = 2
	switch {
	case h.Length == 126 && len(in) >= 4:
		h.Length = int64(binary.BigEndian.Uint16(in[2:]))
		n = 4
	case h.Length == 127 && len(in) >= 10:
		h.Length = int64(binary.BigEndian.Uint64(in[2:]) & (1<<63 - 1))
		n = 10
	case h.Length > 125:
		return h, 0
	}
	if h.Masked {
		if len(in) < n+len(h.Mask) {
			return h, 0
		}
		n += copy(h.Mask[:], in[n:])
	}
	return h, n
}
