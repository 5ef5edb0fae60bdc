package ws

import "unicode/utf8"

// utf8Checker checks text that arrives in pieces, and finds an error at the
// first byte that cannot continue the text so far. The zero value is ready.
type utf8Checker struct {
	tail [utf8.UTFMax - 1]byte // the last rune's bytes, while it is incomplete
	held uint8                 // how many
}

// write reports whether all text so far can be the beginning of valid UTF-8.
func (c *utf8Checker) write(p []byte) bool {
	if c.held > 0 {
		n, ok := c.finishRune(p)
		if !ok {
			return false
		}
		p = p[n:]
	}
	whole := len(p) - incompleteTail(p)
	if !utf8.Valid(p[:whole]) {
		return false
	}
	if whole < len(p) {
		c.held = uint8(copy(c.tail[:], p[whole:]))
	}
	return true
}

// complete reports whether the text so far does not end inside a rune.
func (c *utf8Checker) complete() bool { return c.held == 0 }

// finishRune adds the bytes of p that the held rune lacks, and says how many
// these are and whether they fit.
func (c *utf8Checker) finishRune(p []byte) (n int, ok bool) {
	var char [utf8.UTFMax]byte
	size := copy(char[:], c.tail[:c.held])
	for n < len(p) && !utf8.FullRune(char[:size]) {
		char[size] = p[n]
		size++
		n++
	}
	if !utf8.FullRune(char[:size]) {
		c.held = uint8(copy(c.tail[:], char[:size]))
		return n, true
	}
	c.held = 0
	return n, utf8.Valid(char[:size])
}

// incompleteTail counts the bytes at p's end that begin a rune without
// finishing it. FullRune takes what no byte can finish for full, so that bytes
// which are wrong already are not among them.
func incompleteTail(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if last := p[len(p)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
