package ws

import (
	"bytes"
	"errors"
)

// Bounds of what may come before the answer to an upgrade.
const (
	maxInterim      = 10       // responses
	maxInterimBytes = 16 << 10 // of them all
)

var errInterim = errors.New("ws: too many interim responses, or too long ones")

// SkipInterim gives the size of the interim responses that p, what a server has
// sent so far, begins with: 100, 102, 103 and all other 1xx but 101, which a
// client must let pass whether it expects them or not (RFC 9110 section 15.2). The
// answer is behind them. One that is not whole yet is not counted: call again, from
// its beginning or that of all, when there is more. The error says that one is
// malformed, or that there are more than 10 of them or 16 KiB. CheckResponse skips
// them by itself. It allocates nothing.
func SkipInterim(p []byte) (size int, err error) {
	for n := 0; isInterim(p[size:]); n++ {
		end := bytes.Index(p[size:], []byte("\r\n\r\n"))
		switch {
		case n == maxInterim, end < 0 && len(p) >= maxInterimBytes, size+end+len("\r\n\r\n") > maxInterimBytes:
			return 0, errInterim
		case end < 0:
			return size, nil
		}
		head := p[size : size+end+len("\r\n\r\n")]
		var a answer
		if err := a.parseFields(head); err != nil {
			return 0, err
		}
		size += len(head)
	}
	return size, nil
}

// isInterim reports whether p begins with the status line of an interim response.
func isInterim(p []byte) bool {
	const start, status = "HTTP/1.1 1", "HTTP/1.1 100"
	return len(p) > len(status) && string(p[:len(start)]) == start && p[len(status)] == ' ' &&
		isDigit(p[len(start)]) && isDigit(p[len(start)+1]) && string(p[len(start):len(status)]) != "01"
}
