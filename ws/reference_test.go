package ws_test

import (
	"fmt"

	"github.com/millrace/millrace/ws"
)

// event is a message or control frame as a test sees it.
type event struct {
	op      ws.Opcode
	payload string
}

func (e event) String() string { return fmt.Sprintf("%s %.60q", e.op, e.payload) }

// reference is a decoder that takes one byte at a time and shares no code with
// ws.Decoder: slow, and simple enough to be believed.
type reference struct {
	maxMessage int
	maxEmpty   int

	events []event
	code   ws.Code // of the error that ended it; 0: none

	head    []byte
	payload []byte // of the current frame, unmasked
	inside  bool   // a fragmented message is under way
	text    bool   // ... and is text
	message []byte
	empty   int
}

// decode takes bytes until one is wrong, and says how many it took before that.
func (r *reference) decode(wire []byte) (good int) {
	for i, c := range wire {
		if r.code = r.take(c); r.code != 0 {
			return i
		}
	}
	return len(wire)
}

func (r *reference) take(c byte) ws.Code {
	if !r.headWhole() {
		r.head = append(r.head, c)
		if code := r.checkHead(); code != 0 || !r.headWhole() {
			return code
		}
		r.payload = nil
		if first := r.head[0] & 15; first == 1 || first == 2 {
			r.inside, r.text, r.message, r.empty = true, first == 1, nil, 0
		}
		if r.length() == 0 && r.head[0]&15 < 8 {
			r.empty++
		}
	} else {
		mask := r.head[len(r.head)-4:]
		r.payload = append(r.payload, c^mask[len(r.payload)%4])
	}
	return r.checkPayload()
}

func (r *reference) lengthBytes() int {
	switch {
	case len(r.head) < 2 || r.head[1]&127 < 126:
		return 0
	case r.head[1]&127 == 126:
		return 2
	}
	return 8
}

func (r *reference) headWhole() bool {
	return len(r.head) >= 2 && len(r.head) == 2+r.lengthBytes()+4
}

// length is the payload length, with 0 for the bytes that are not there yet.
func (r *reference) length() uint64 {
	n := r.lengthBytes()
	if n == 0 {
		return uint64(r.head[1] & 127)
	}
	var length uint64
	for i := 2; i < 2+n; i++ {
		length *= 256
		if i < len(r.head) {
			length += uint64(r.head[i])
		}
	}
	return length
}

func (r *reference) checkHead() ws.Code {
	op, fin := r.head[0]&15, r.head[0]&128 != 0
	switch {
	case r.head[0]&0x70 != 0, op > 2 && op < 8, op > 10:
		return 1002
	case op >= 8 && !fin:
		return 1002
	case op == 0 && !r.inside, op > 0 && op < 8 && r.inside:
		return 1002
	case len(r.head) == 1:
		return 0
	case r.head[1] < 128:
		return 1002
	case op >= 8 && r.head[1] > 128+125:
		return 1002
	}
	return r.checkLength()
}

func (r *reference) checkLength() ws.Code {
	n, have := r.lengthBytes(), len(r.head)-2
	length, op := r.length(), r.head[0]&15
	before := 0
	if op == 0 {
		before = len(r.message)
	}
	switch {
	case n == 8 && have > 0 && r.head[2] >= 128:
		return 1002
	case n == 2 && have >= 2 && length < 126:
		return 1002
	case n == 8 && have >= 6 && length < 65536:
		return 1002
	case op < 8 && length > uint64(r.maxMessage-before):
		return 1009
	case op == 0 && n == 0 && length == 0 && r.empty >= r.maxEmpty:
		return 1008
	}
	return 0
}

// checkPayload looks at the frame after each of its payload's bytes, and once
// before.
func (r *reference) checkPayload() ws.Code {
	op, fin := r.head[0]&15, r.head[0]&128 != 0
	whole := uint64(len(r.payload)) == r.length()
	if op < 8 && r.text {
		all := append(r.message[:len(r.message):len(r.message)], r.payload...)
		switch state := dfa(all); {
		case state == dfaBad, whole && fin && state != dfaDone:
			return 1007
		}
	}
	if !whole {
		return 0
	}
	r.head = nil
	if op == 8 {
		if code := referenceClose(r.payload); code != 0 {
			return code
		}
	}
	if op >= 8 {
		r.events = append(r.events, event{ws.Opcode(op), string(r.payload)})
		return 0
	}
	r.message = append(r.message, r.payload...)
	if fin {
		kind := ws.Binary
		if r.text {
			kind = ws.Text
		}
		r.events = append(r.events, event{kind, string(r.message)})
		r.inside = false
	}
	return 0
}

func referenceClose(payload []byte) ws.Code {
	if len(payload) == 0 {
		return 0
	}
	if len(payload) == 1 || !allowedInClose[int(payload[0])*256+int(payload[1])] {
		return 1002
	}
	if dfa(payload[2:]) != dfaDone {
		return 1007
	}
	return 0
}

// allowedInClose lists every code that may stand in a close frame.
var allowedInClose = func() map[int]bool {
	allowed := map[int]bool{
		1000: true, 1001: true, 1002: true, 1003: true, 1007: true, 1008: true, 1009: true,
		1010: true, 1011: true, 1012: true, 1013: true, 1014: true,
	}
	for code := 3000; code < 5000; code++ {
		allowed[code] = true
	}
	return allowed
}()

const (
	dfaDone = iota // between runes
	dfaMid         // inside one
	dfaBad         // nothing can follow
)

// dfa walks text by the table of RFC 3629, section 4.
func dfa(text []byte) int {
	low, high, more := byte(0x80), byte(0xbf), 0
	for _, c := range text {
		if more > 0 {
			if c < low || c > high {
				return dfaBad
			}
			low, high, more = 0x80, 0xbf, more-1
			continue
		}
		switch {
		case c < 0x80:
		case c >= 0xc2 && c <= 0xdf:
			more = 1
		case c == 0xe0:
			low, more = 0xa0, 2
		case c == 0xed:
			high, more = 0x9f, 2
		case c >= 0xe1 && c <= 0xef:
			more = 2
		case c == 0xf0:
			low, more = 0x90, 3
		case c >= 0xf1 && c <= 0xf3:
			more = 3
		case c == 0xf4:
			high, more = 0x8f, 3
		default:
			return dfaBad
		}
	}
	if more > 0 {
		return dfaMid
	}
	return dfaDone
}
