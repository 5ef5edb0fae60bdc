package load

import "bytes"

// checking says with what a message that comes is compared.
type checking uint8

const (
	echoes    checking = iota // the oldest that the connection has under way
	published                 // the one that its head names
	unchecked                 // nothing: only its frames must follow each other
)

// expect prepares for a message that begins.
func (l *loop) expect(c *conn) (ok bool) {
	i := &c.in
	switch l.checking {
	case unchecked:
		i.size = 0
		return true
	case published:
		i.size, i.heads, i.expected = l.plan.MaxSize, 0, nil
	default:
		if i.expected = l.echo(c); i.expected == nil {
			l.meter.strange++
			l.tryAfterStranger()
			l.lose(c, "wrong echo: a message that was not due")
			return false
		}
		i.size = len(i.expected)
	}
	if i.opcode != l.plan.opcode() {
		l.meter.strange++
		l.lose(c, "wrong echo: text for binary, or the other way round")
		return false
	}
	return true
}

// mayFollow is how many bytes a message may still have that is not compressed.
func (l *loop) mayFollow(i *incoming) int64 {
	if l.checking == published && i.heads < markSize {
		return int64(i.size) - int64(i.heads)
	}
	return int64(len(i.expected))
}

// compare takes a part of a message that is not compressed.
func (l *loop) compare(c *conn, part []byte) (ok bool) {
	i := &c.in
	if l.checking == published && i.heads < markSize {
		n := copy(i.head[i.heads:], part)
		part = part[n:]
		if i.heads += uint8(n); i.heads < markSize {
			return true
		}
		if !l.identify(c, i.head[:]) {
			return false
		}
		if more := i.left + int64(len(part)); more > int64(len(i.expected)) {
			l.wrongEcho(c, "it is longer than the %d bytes sent", i.size)
			return false
		}
	}
	if !bytes.Equal(part, i.expected[:len(part)]) {
		at := differs(part, i.expected)
		l.wrongEcho(c, "byte %d is %q, not %q", i.size-len(i.expected)+at, part[at], i.expected[at])
		return false
	}
	i.expected = i.expected[len(part):]
	return true
}

// identify reads a published message's head and finds what is to follow.
func (l *loop) identify(c *conn, text []byte) (ok bool) {
	i := &c.in
	i.of, ok = parseHead(text, l.now+l.zero)
	if !ok || int(i.of.publisher) >= l.plan.Publishers {
		l.wrongEcho(c, "its head %q names no publisher", text)
		return false
	}
	i.of.due -= l.zero
	i.expected = l.content.message(i.of.publisher, i.of.number)
	i.size = markSize + len(i.expected)
	return true
}
