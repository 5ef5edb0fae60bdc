package ws

import (
	"iter"
	"math"
)

// byteClass is a set of the byte classes below.
type byteClass uint8

const (
	tokenByte  byteClass = 1 << iota // tchar, RFC 9110 section 5.6.2
	targetByte                       // what a request target may hold: visible ASCII, and what is none
	valueByte                        // HTAB, SP, visible ASCII and obs-text, RFC 9110 section 5.5
	hostByte                         // of a registered name or an IPv4 address, but for escapes
)

var classOfByte = func() (classes [256]byteClass) {
	for i := range classes {
		b := byte(i)
		if isAlpha(b) || isDigit(b) {
			classes[b] |= tokenByte | hostByte
		}
		if b > ' ' && b != 0x7f {
			classes[b] |= targetByte
		}
		if b == '\t' || b >= ' ' && b != 0x7f {
			classes[b] |= valueByte
		}
	}
	for _, b := range []byte("!#$%&'*+-.^_`|~") {
		classes[b] |= tokenByte
	}
	for _, b := range []byte("-._~!$&'()*+,;=") { // unreserved and sub-delims, RFC 3986 section 2
		classes[b] |= hostByte
	}
	classes['#'] &^= targetByte // a fragment is never sent, RFC 9112 section 3.2
	return classes
}()

func (c byteClass) has(b byte) bool { return classOfByte[b]&c != 0 }

// run counts the bytes at the beginning of p that are of class c.
func (c byteClass) run(p []byte) int {
	for i, b := range p {
		if classOfByte[b]&c == 0 {
			return i
		}
	}
	return len(p)
}

func isAlpha(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }
func isDigit(b byte) bool { return '0' <= b && b <= '9' }
func isHex(b byte) bool   { return isDigit(b) || 'a' <= b|0x20 && b|0x20 <= 'f' }

func isToken(p []byte) bool { return len(p) > 0 && tokenByte.run(p) == len(p) }

// equalFold compares ASCII letters in any case and all else exactly. Unlike
// bytes.EqualFold it does not take the Kelvin sign for a k.
func equalFold[A, B []byte | string](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || !isAlpha(x)) {
			return false
		}
	}
	return true
}

// trimSpace cuts optional whitespace (OWS, RFC 9110 section 5.6.3).
func trimSpace(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

// cutElement takes the first element off a comma-separated list (RFC 9110
// section 5.6.1), which may be empty. It knows no quoted strings.
func cutElement(list []byte) (element, rest []byte) {
	for i, b := range list {
		if b == ',' {
			return trimSpace(list[:i]), list[i+1:]
		}
	}
	return trimSpace(list), nil
}

// parseDecimal reads 1*DIGIT; ok is false for anything else and above limit.
func parseDecimal(p []byte, limit int64) (n int64, ok bool) {
	for _, b := range p {
		digit := int64(b - '0')
		if !isDigit(b) || n > (math.MaxInt64-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, len(p) > 0 && n <= limit
}

// field is one header line; both parts point into the head.
type field struct{ name, value []byte }

// each ranges over the values of the lines of this name.
func (r *Request) each(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range r.fields {
			if equalFold(r.fields[i].name, name) && !yield(r.fields[i].value) {
				return
			}
		}
	}
}

// eachBackward is each from the last line to the first.
func (r *Request) eachBackward(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := len(r.fields) - 1; i >= 0; i-- {
			if equalFold(r.fields[i].name, name) && !yield(r.fields[i].value) {
				return
			}
		}
	}
}

// first gives the first value of this name and the number of lines that have it.
func (r *Request) first(name string) (value []byte, lines int) {
	for v := range r.each(name) {
		if lines == 0 {
			value = v
		}
		lines++
	}
	return value, lines
}

// hasElement reports whether a list field, over all its lines, holds element in
// any letter case.
func (r *Request) hasElement(name, element string) bool {
	for list := range r.each(name) {
		for len(list) > 0 {
			var e []byte
			if e, list = cutElement(list); equalFold(e, element) {
				return true
			}
		}
	}
	return false
}
