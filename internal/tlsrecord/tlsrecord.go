// Package tlsrecord knows the records of TLS (RFC 8446 section 5, RFC 5246 section 6.2),
// as far as it takes to find their ends.
package tlsrecord

import "slices"

const (
	Header        = 5
	Handshake     = 22 // its type
	ClientHello   = 1  // a message's type, in such records
	MessageHeader = 4  // of a handshake message: type and length
	// MaxPlaintext is the most that a record carries.
	MaxPlaintext = 16 << 10
	// maxCiphertext is the most that may follow its header, in TLS 1.2.
	maxCiphertext = MaxPlaintext + 2048
	// Overhead is a record's header and what encryption adds, with some room.
	Overhead = 64
)

// Size is the length of the record that b begins with, or 0 if its header
// is not whole. Of what is no record it is 5: crypto/tls, given just that, says
// so at once instead of waiting for the rest.
func Size(b []byte) int {
	if len(b) < Header {
		return 0
	}
	n := int(b[3])<<8 | int(b[4])
	if b[1] != 3 || n > maxCiphertext {
		return Header
	}
	return Header + n
}

// Whole is the length of the records that are whole at the head of b.
func Whole(b []byte) int {
	end := 0
	for {
		size := Size(b[end:])
		if size == 0 || size > len(b)-end {
			return end
		}
		end += size
	}
}

const (
	// smallRecord is the most that a record may carry, or crypto/tls would grow its
	// own buffer, which it keeps, beyond 1,152 bytes.
	smallRecord = 635
	// SplitRoom is what the headers of SplitHello take at most.
	SplitRoom = 64 * Header
)

// SplitHello appends a ClientHello to dst in small records. A handshake message may
// be spread over records as its sender likes, and their version says nothing (RFC
// 8446 section 5.1), so nobody sees a difference, but a ClientHello of today has 1.5
// KB, and crypto/tls keeps buffers of its record's size for good. The number of equal
// parts is a power of two: the other buffer, where the parts come together, doubles.
func SplitHello(dst, message []byte) []byte {
	parts := 1
	for len(message) > parts*smallRecord {
		parts *= 2
	}
	for part := range slices.Chunk(message, (len(message)+parts-1)/parts) {
		dst = append(dst, Handshake, 3, 1, byte(len(part)>>8), byte(len(part)))
		dst = append(dst, part...)
	}
	return dst
}
