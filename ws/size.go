package ws

import "encoding/binary"

const (
	// MaxControlPayload is the largest payload of a control frame in bytes (RFC
	// 6455 section 5.5).
	MaxControlPayload = 125
	// MaxHeader is the largest header of a frame that a server sends, in bytes.
	MaxHeader = maxHeader - maskLen
)

// IsControl says whether frames of this opcode are control frames (RFC 6455
// section 5.5).
func (o Opcode) IsControl() bool { return o.control() }

// FrameSize is the size in bytes, header and payload, of the unmasked frame that
// frame begins with; its header must be there whole.
func FrameSize(frame []byte) int {
	switch header := headerSize(frame); header {
	case 4:
		return header + int(binary.BigEndian.Uint16(frame[2:]))
	case MaxHeader:
		return header + int(binary.BigEndian.Uint64(frame[2:]))
	default:
		return header + int(frame[1]&^bitMask)
	}
}

// headerSize is the size of the header, without a mask, that frame begins with.
func headerSize(frame []byte) int {
	switch frame[1] &^ bitMask {
	case length16:
		return 4
	case length64:
		return MaxHeader
	}
	return 2
}
