package ws

import (
	"encoding/binary"
	"math"

	gobwas "github.com/gobwas/ws"
)

const (
	bitsReserved = 0x70 // in a header's first byte
	bitsOpcode   = 0x0f

	knownOpcodes = 1<<Continuation | 1<<Text | 1<<Binary | 1<<Close | 1<<Ping | 1<<Pong
)

var errMasked = &CloseError{Code: CodeProtocolError, Reason: "masked frame from a server"}

// AppendMaskedFrame appends one frame as a client must send it: masked with key
// (RFC 6455 section 5.3), which should be random for each frame. op and fin are
// as in AppendFragment; a control frame has fin and a payload of at most
// [MaxControlPayload] bytes. payload is left as it is and must not lie in dst's
// free room. It allocates only if dst has too little room.
func AppendMaskedFrame(dst []byte, op Opcode, fin bool, payload []byte, key [4]byte) []byte {
	start := len(dst)
	dst = AppendHeader(dst, op, fin, len(payload))
	dst[start+1] |= bitMask
	dst = append(dst, key[:]...)
	body := len(dst)
	dst = append(dst, payload...)
	gobwas.Cipher(dst[body:], key, 0)
	return dst
}

// FrameHeader is what a server's frame begins with.
type FrameHeader struct {
	Fin    bool
	Opcode Opcode
	Length int64 // of the payload, in bytes
	// Compressed: the frame begins a compressed message. Only ParseDeflateHeader
	// gives it.
	Compressed bool
}

// ParseServerHeader parses the frame header at in's beginning, as a client gets
// it, and gives its size n; the payload follows. n is 0, without an error, until
// the whole header is there. Nothing is kept between calls: call it again with
// the same bytes and more.
//
// The error is a *CloseError with CodeProtocolError, shared by all and not to be
// changed: a masked frame, a reserved bit or opcode, a control frame that is
// fragmented or over 125 bytes, a length above 2^63-1 or not in its shortest
// form (RFC 6455 section 5.2). How frames follow each other, how long they are
// and what is in them is the caller's to check. It allocates nothing.
func ParseServerHeader(in []byte) (h FrameHeader, n int, err error) {
	return parseServerHeader(in, 0)
}

// ParseDeflateHeader is ParseServerHeader where permessage-deflate has been
// agreed upon: the first frame of a message may be Compressed.
func ParseDeflateHeader(in []byte) (h FrameHeader, n int, err error) {
	if len(in) > 0 && mayCompress(Opcode(in[0]&bitsOpcode)) {
		return parseServerHeader(in, bitCompressed)
	}
	return parseServerHeader(in, 0)
}

// parseServerHeader takes the reserved bits that are allowed.
func parseServerHeader(in []byte, allowed byte) (h FrameHeader, n int, err error) {
	if len(in) < 2 {
		return FrameHeader{}, 0, nil
	}
	first := in[0] &^ allowed
	if wrong := checkServerStart(first, in[1]); wrong != nil {
		return FrameHeader{}, 0, wrong
	}
	length, least, n := uint64(in[1]), uint64(0), 2
	switch {
	case length == length16 && len(in) >= 4:
		length, least, n = uint64(binary.BigEndian.Uint16(in[2:])), length16, 4
	case length == length64 && len(in) >= 10:
		length, least, n = binary.BigEndian.Uint64(in[2:]), math.MaxUint16+1, 10
	case length >= length16:
		return FrameHeader{}, 0, nil
	}
	if length < least || length > math.MaxInt64 {
		return FrameHeader{}, 0, errLength
	}
	return FrameHeader{
		Fin:        first&bitFin != 0,
		Opcode:     Opcode(first & bitsOpcode),
		Length:     int64(length),
		Compressed: in[0] != first,
	}, n, nil
}

// checkServerStart vets a header's first two bytes. It sees the length code for
// the length: above 125 is the same to it.
func checkServerStart(first, second byte) *CloseError {
	op := Opcode(first & bitsOpcode)
	switch {
	case first&bitsReserved != 0:
		return headerErrors[gobwas.ErrProtocolNonZeroRsv]
	case knownOpcodes>>op&1 == 0:
		return headerErrors[gobwas.ErrProtocolOpCodeReserved]
	case second&bitMask != 0:
		return errMasked
	case !op.control():
		return nil
	case first&bitFin == 0:
		return headerErrors[gobwas.ErrProtocolControlNotFinal]
	case second > maxControl:
		return headerErrors[gobwas.ErrProtocolControlPayloadOverflow]
	}
	return nil
}
