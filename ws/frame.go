package ws

import (
	"encoding/binary"
	"math"
)

const (
	bitFin        = 0x80 // in a header's first byte
	bitCompressed = 0x40 // likewise: RSV1, which RFC 7692 section 6 takes
	bitMask       = 0x80 // in its second byte

	length16 = 126 // the length follows in 2 bytes
	length64 = 127 // the length follows in 8 bytes

	maskLen   = 4
	maxHeader = 2 + 8 + maskLen
)

// AppendFrame appends a whole message or a control frame, unmasked as a server
// must send it. A control frame's payload has at most 125 bytes; for Close use
// AppendClose. It allocates only if dst has too little room.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(AppendHeader(dst, op, true, len(payload)), payload...)
}

// AppendFragment appends one frame of a message that is sent in several: op is
// the message's for the first and Continuation for the others, fin marks the
// last.
func AppendFragment(dst []byte, op Opcode, fin bool, payload []byte) []byte {
	return append(AppendHeader(dst, op, fin, len(payload)), payload...)
}

// AppendHeader appends the header (2, 4 or 10 bytes) of an unmasked frame whose
// payload of length bytes is written from elsewhere.
func AppendHeader(dst []byte, op Opcode, fin bool, length int) []byte {
	first := byte(op)
	if fin {
		first |= bitFin
	}
	switch {
	case length < length16:
		return append(dst, first, byte(length))
	case length <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first, length16), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, length64), uint64(length))
}
