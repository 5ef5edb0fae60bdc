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

// Echo answers the frames of one connection. Its zero value is ready.
type Echo struct {
	opcode  ws.OpCode // of the message in fragments under way; 0: there is none
	message []byte    // what came of it
}

// Answer answers the whole frames at the beginning of in, which it overwrites,
// and tells how many of its bytes are used up. The rest has to become need bytes
// long before another call can use any. After an error the connection is to be
// closed; it is io.EOF after a close frame, which was answered.
func (e *Echo) Answer(in []byte, w io.Writer) (used, need int, err error) {
	var out []byte // the answers, in the memory of in
	for err == nil {
		h, n := parse(in[used:])
		if n == 0 {
			need = len(in) - used + 1
			break
		}
		if err = e.check(h); err != nil {
			out = append(out, ws.CompiledCloseProtocolError...)
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
		out, err = e.frame(out, h, payload, w)
	}
	if len(out) > 0 {
		if _, failed := w.Write(out); failed != nil {
			err = failed
		}
	}
	return used, need, err
}

func (e *Echo) check(h ws.Header) error {
	if h.Length > int64(peer.MaxMessage-len(e.message)) {
		return ErrTooLong
	}
	state := ws.StateServerSide
	if e.opcode != 0 {
		state = state.Set(ws.StateFragmented)
	}
	return ws.CheckHeader(h, state)
}

// frame adds the answer to a frame. That to a message in fragments it writes, and
// what was there before it: it is longer than the frame whose memory it could
// have.
func (e *Echo) frame(out []byte, h ws.Header, payload []byte, w io.Writer) ([]byte, error) {
	switch {
	case h.OpCode == ws.OpPong:
		return out, nil
	case h.OpCode == ws.OpPing:
		return appendFrame(out, ws.OpPong, payload), nil
	case h.OpCode == ws.OpClose:
		return appendFrame(out, ws.OpClose, payload), io.EOF
	case h.Fin && e.opcode == 0:
		return appendFrame(out, h.OpCode, payload), nil
	}
	if e.opcode == 0 {
		e.opcode = h.OpCode
	}
	e.message = append(e.message, payload...)
	if !h.Fin {
		return out, nil
	}
	whole := appendFrame(out[:len(out):len(out)], e.opcode, e.message) // in memory of its own
	*e = Echo{}
	_, err := w.Write(whole)
	return nil, err
}

// appendFrame adds a frame that a server sends. The payload may be in the memory
// that follows dst.
func appendFrame(dst []byte, opcode ws.OpCode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(opcode))
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
