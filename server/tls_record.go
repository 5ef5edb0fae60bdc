package server

import "slices"

// Records of TLS (RFC 8446 section 5, RFC 5246 section 6.2), as far as it takes
// to find their ends.

const (
	recordHeader    = 5
	recordHandshake = 22 // its type
	clientHello     = 1  // a message's type, in such records
	messageHeader   = 4  // of a handshake message: type and length
	// maxPlaintext is the most that a record carries.
	maxPlaintext = 16 << 10
	// maxCiphertext is the most that may follow its header, in TLS 1.2.
	maxCiphertext = maxPlaintext + 2048
	// recordOverhead is a record's header and what encryption adds, with some room.
	recordOverhead = 64
)

// recordSize is the length of the record that b begins with, or 0 if its header
// is not whole. Of what is no record it is 5: crypto/tls, given just that, says
// so at once instead of waiting for the rest.
func recordSize(b []byte) int {
	if len(b) < recordHeader {
		return 0
	}
	n := int(b[3])<<8 | int(b[4])
	if b[1] != 3 || n > maxCiphertext {
		return recordHeader
	}
	return recordHeader + n
}

// wholeRecords is the length of the records that are whole at the head of b.
func wholeRecords(b []byte) int {
	end := 0
	for {
		size := recordSize(b[end:])
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
	// splitRoom is what the headers of splitHello take at most.
	splitRoom = 64 * recordHeader
)

// splitHello appends a ClientHello to dst in small records. A handshake message may
// be spread over records as its sender likes, and their version says nothing (RFC
// 8446 section 5.1), so nobody sees a difference, but a ClientHello of today has 1.5
// KB, and crypto/tls keeps buffers of its record's size for good. The number of equal
// parts is a power of two: the other buffer, where the parts come together, doubles.
func splitHello(dst, message []byte) []byte {
	parts := 1
	for len(message) > parts*smallRecord {
		parts *= 2
	}
	for part := range slices.Chunk(message, (len(message)+parts-1)/parts) {
		dst = append(dst, recordHandshake, 3, 1, byte(len(part)>>8), byte(len(part)))
		dst = append(dst, part...)
	}
	return dst
}
