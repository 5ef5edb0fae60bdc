// Package tlsrecord finds the ends of TLS records (RFC 8446 section 5, RFC 5246 section
// 6.2), so that a caller can hand crypto/tls whole records only.
//
//	n := tlsrecord.Whole(b) // b[:n] are whole records
//
// [Size] is for one record. [SplitHello] cuts a ClientHello into small records, which
// keeps crypto/tls from growing its buffers.
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

// Size returns the length of the record at the start of b, or 0 while its header is
// incomplete. If b starts with something else it returns 5, the length of a header:
// crypto/tls then reports the error at once, without waiting for a body.
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

// Whole returns the length of all complete records at the start of b.
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
	// SplitRoom is the most that SplitHello adds to a message for headers.
	SplitRoom = 64 * Header
)

// SplitHello appends a ClientHello to dst in small records. A sender may spread a
// handshake message over records as it likes, and their version means nothing (RFC 8446
// section 5.1), so the result is equivalent. It saves memory: a ClientHello has 1.5 KB
// today, and crypto/tls keeps a buffer of its record's size for the connection's life.
// The number of parts is a power of two because crypto/tls doubles the buffer in which
// it joins them.
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
