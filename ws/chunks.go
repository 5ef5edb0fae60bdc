package ws

import "net/http"

// Where a ChunkScanner stands: what the next byte belongs to.
type chunkState uint8

const (
	atChunkSize chunkState = iota // the first digit of a chunk's size
	inChunkSize                   // behind a digit
	inExtension                   // behind a ';'
	atSizeLF                      // LF of the line with the size
	inChunkData
	atDataCR      // CR behind the data
	atDataLF      // LF behind it
	atTrailerLine // the first byte of a trailer line, or of the final empty one
	inTrailerName
	inTrailerValue
	atTrailerLF // LF behind a trailer line's CR
	atBodyLF    // LF of the final empty line
	atBodyEnd
)

const (
	// maxChunkDigits keeps a size within 60 bits.
	maxChunkDigits = 15
	// maxChunkLine bounds a chunk's line, with its extensions.
	maxChunkLine = 1 << 10
	// maxTrailer bounds the trailer section.
	maxTrailer = 4 << 10
)

// ChunkScanner finds the end of a chunked body (RFC 9112 section 7.1) whose bytes
// arrive in any split, and vets its framing as it goes: lines end with CRLF, nothing
// else; a size has at most 15 digits; a chunk's line has at most 1 KiB, the trailer
// section 4 KiB. The zero value is ready for one body, for one goroutine at a time.
type ChunkScanner struct {
	left  int64 // of the chunk's size, or of its data
	seen  int   // of the line, or of the trailer section
	state chunkState
}

// Scan takes the next bytes of the connection: the first n of p belong to the body,
// all of them unless done, which says that the body ends there. The error is a
// [*Refusal], 400, for the first wrong byte, which is p[n]; further calls give it
// again.
func (s *ChunkScanner) Scan(p []byte) (n int, done bool, err error) {
	for n < len(p) && s.state != atBodyEnd {
		if s.state == inChunkData {
			k := min(s.left, int64(len(p)-n))
			n += int(k)
			if s.left -= k; s.left == 0 {
				s.state = atDataCR
			}
			continue
		}
		if !s.step(p[n]) {
			return n, false, refuseChunk
		}
		n++
	}
	return n, s.state == atBodyEnd, nil
}

// Left is how many bytes are missing of the chunk's data; 0 outside of it.
func (s *ChunkScanner) Left() int64 {
	if s.state != inChunkData {
		return 0
	}
	return s.left
}

// step goes on with a byte that is none of the data; false means that it is wrong.
func (s *ChunkScanner) step(b byte) bool {
	switch s.state {
	case atChunkSize, inChunkSize, inExtension:
		return s.stepSize(b)
	case atSizeLF:
		if s.state, s.seen = inChunkData, 0; s.left == 0 {
			s.state = atTrailerLine
		}
		return b == '\n' || s.fail()
	case atDataCR:
		return s.expect(b, '\r', atDataLF)
	case atDataLF:
		return s.expect(b, '\n', atChunkSize)
	}
	return s.stepTrailer(b)
}

// stepSize is step within a chunk's line.
func (s *ChunkScanner) stepSize(b byte) bool {
	digit, isDigit := hexDigit(b)
	s.seen++
	switch {
	case s.seen > maxChunkLine:
		return s.fail()
	case s.state <= inChunkSize && isDigit:
		s.left = s.left<<4 | digit
		s.state = inChunkSize
		return s.seen <= maxChunkDigits || s.fail()
	case s.state == atChunkSize:
		return s.fail()
	case b == '\r':
		s.state = atSizeLF
	case s.state == inExtension:
		return valueByte.has(b) || s.fail()
	case b == ';':
		s.state = inExtension
	default:
		return s.fail()
	}
	return true
}

// stepTrailer is step within the trailer section.
func (s *ChunkScanner) stepTrailer(b byte) bool {
	if s.seen++; s.seen > maxTrailer {
		return s.fail()
	}
	switch s.state {
	case atTrailerLine:
		if b == '\r' {
			s.state = atBodyLF
			return true
		}
		s.state = inTrailerName
		return tokenByte.has(b) || s.fail()
	case inTrailerName:
		return tokenByte.has(b) || s.expect(b, ':', inTrailerValue)
	case inTrailerValue:
		return valueByte.has(b) || s.expect(b, '\r', atTrailerLF)
	case atTrailerLF:
		return s.expect(b, '\n', atTrailerLine)
	}
	return s.expect(b, '\n', atBodyEnd)
}

func (s *ChunkScanner) expect(b, want byte, next chunkState) bool {
	if b != want {
		return s.fail()
	}
	s.state = next
	return true
}

// fail sees to it that nothing more is taken.
func (s *ChunkScanner) fail() bool {
	s.state, s.seen = atChunkSize, maxChunkLine
	return false
}

func hexDigit(b byte) (value int64, ok bool) {
	switch {
	case isDigit(b):
		return int64(b - '0'), true
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		return int64(b|0x20-'a') + 10, true
	}
	return 0, false
}

var refuseChunk = &Refusal{Status: http.StatusBadRequest, Reason: "malformed chunk of the body"}

// Body says how the request's body is framed: chunked, or as so many bytes, 0 if there
// is none (RFC 9112 section 6.3).
func (r *Request) Body() (length int64, chunked bool) {
	if _, codings := r.first("Transfer-Encoding"); codings > 0 {
		return 0, true
	}
	value, _ := r.first("Content-Length")
	if length, ok := parseDecimal(value, 1<<63-1); ok {
		return length, false
	}
	return 0, false
}
