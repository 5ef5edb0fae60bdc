package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// readable reads once what is there. more says that something is known to be
// behind a short read: the end of the stream.
func (l *loop) readable(c *conn, slot int, more bool) {
	n := l.readSome(c, len(l.in))
	more = more || c.wire != nil // a record, and another may be there
	if (n == len(l.in) || n > 0 && more) && c.state >= upgrading {
		l.visit(c, slot)
	}
}

// visit has a connection read again, after the others.
func (l *loop) visit(c *conn, slot int) {
	if !c.again {
		c.again = true
		l.visits = append(l.visits, slot)
	}
}

// readSome reads and takes at most so many bytes, and says how many.
func (l *loop) readSome(c *conn, most int) int {
	n, err := l.read(c, l.in[:most])
	switch {
	case err == io.EOF, err == poller.ErrAgain && c.deaf:
		l.peerGone(c)
	case err == poller.ErrAgain:
	case err != nil:
		l.readFailed(c, err)
	default:
		l.eat(c, l.in[:n])
	}
	return n
}

// eat takes bytes that were read.
func (l *loop) eat(c *conn, in []byte) {
	l.now, l.owed = l.engine.Now(), 0
	if c.state == upgrading {
		in = l.upgrade(c, in)
	}
	if c.stream != nil {
		l.eatBody(c, in)
		return
	}
	for c.state >= open && (len(in) > 0 || c.in.inFrame && c.in.left == 0) {
		if !c.in.inFrame {
			in = l.eatHeader(c, in)
		} else {
			in = l.eatPayload(c, in)
		}
	}
	if l.owed > 0 && c.state == open {
		l.send(c, l.owed)
	}
}

// peerGone: the stream has ended.
func (l *loop) peerGone(c *conn) {
	switch {
	case c.deaf:
		l.readFailed(c, syscall.ECONNRESET) // it was told to the one that wrote
	case c.state == upgrading:
		l.tryAfterNothing(c)
		l.lose(c, "%s: the server ended the connection without a full answer", c.asked())
	case c.state == open && c.stream != nil:
		l.lose(c, "the server ended the event stream")
	case c.state == open:
		l.lose(c, "the server ended the connection without a close frame")
	default:
		l.end(c)
	}
}

func (l *loop) readFailed(c *conn, err error) {
	reset := errors.Is(err, syscall.ECONNRESET)
	switch {
	case c.state == closing:
		l.end(c) // the server was faster
	case reset && c.state == upgrading:
		l.tryAfterNothing(c)
		l.lose(c, "%s: the server reset the connection", c.asked())
	case reset:
		l.lose(c, "the server reset the connection")
	default:
		l.lose(c, "read: %v", cause(err))
	}
}

// eatHeader takes a frame's header, or the part of it that is there.
func (l *loop) eatHeader(c *conn, in []byte) (rest []byte) {
	i := &c.in
	held := int(i.held)
	head := in
	if held > 0 {
		copied := copy(i.header[held:], in)
		head = i.header[:held+copied]
	}
	parse := ws.ParseServerHeader
	if c.deflate != nil {
		parse = ws.ParseDeflateHeader
	}
	h, n, err := parse(head)
	switch {
	case err != nil:
		l.lose(c, "wrong frame: %s", brief(err))
		return nil
	case n == 0:
		if held == 0 {
			copy(i.header[:], in)
		}
		i.held = uint8(len(head))
		return nil
	}
	i.held, i.inFrame, i.fin, i.opcode, i.left = 0, true, h.Fin, h.Opcode, h.Length
	if c.deflate != nil && h.Opcode < ws.Close {
		if h.Opcode != ws.Continuation {
			c.deflate.compressed, c.deflate.wire = h.Compressed, 0
		}
		c.deflate.wire += int64(n) + h.Length
	}
	if !l.begin(c) {
		return nil
	}
	return in[n-held:]
}

// begin checks a frame's place and length against what is expected.
func (l *loop) begin(c *conn) bool {
	i := &c.in
	switch {
	case i.opcode >= ws.Close:
		i.control = i.control[:0]
		return true
	case (i.opcode == ws.Continuation) == (i.message == 0):
		l.lose(c, "wrong frame: a message begins inside another, or goes on without a beginning")
		return false
	case i.message == 0:
		i.message = i.opcode
		if !l.expect(c) {
			return false
		}
	}
	switch {
	case l.checking == unchecked:
	case c.packed():
		if i.left > int64(packedRoom(i.size)) {
			l.wrongEcho(c, "compressed, it is longer than %d bytes can become", i.size)
			return false
		}
	case i.left > l.mayFollow(i):
		l.wrongEcho(c, "it is longer than the %d bytes sent", i.size)
		return false
	}
	return true
}

// eatPayload takes payload bytes of the frame, and ends it when it is whole.
func (l *loop) eatPayload(c *conn, in []byte) (rest []byte) {
	i := &c.in
	n := int(min(int64(len(in)), i.left))
	part, rest := in[:n], in[n:]
	i.left -= int64(n)
	switch {
	case i.opcode >= ws.Close:
		i.control = append(i.control, part...)
	case l.checking == unchecked:
		i.size += n
	case c.packed():
		if !l.eatPacked(c, part, i.fin && i.left == 0) {
			return nil
		}
	case !l.compare(c, part):
		return nil
	}
	if i.opcode < ws.Close && l.showsLife(c) {
		l.meter.Payload += int64(n)
	}
	if i.left > 0 {
		return nil
	}
	i.inFrame = false
	switch {
	case i.opcode >= ws.Close:
		l.control(c)
	case !i.fin:
	case !c.packed() && l.mayFollow(i) > 0:
		l.wrongEcho(c, "it ends after %d of %d bytes", i.size-int(l.mayFollow(i)), i.size)
	default:
		l.whole(c)
	}
	return rest
}

// whole is called when a message is whole, and right.
func (l *loop) whole(c *conn) {
	c.in.message = 0
	l.countWire(c)
	if l.checking != published || c.in.of.publisher != c.number {
		l.meter.Returned++
	}
	l.behaviour.received(l, c)
}

// showsLife tells whether all that a connection receives shows that the server sends
// messages back, before they are whole. To a publisher its own may come.
func (l *loop) showsLife(c *conn) bool {
	return l.checking != published || int(c.number) >= l.plan.Publishers
}

// differs is the first place where a and b are not alike.
func differs(a, b []byte) int {
	shorter := min(len(a), len(b))
	for i := range shorter {
		if a[i] != b[i] {
			return i
		}
	}
	return shorter
}

// wrongEcho counts a message that is not the one that was sent, and tells of the
// loop's first one more.
func (l *loop) wrongEcho(c *conn, what string, args ...any) {
	l.meter.strange++
	if !l.toldWrong {
		l.toldWrong = true
		if c.received == c.base { // the first of all
			l.tryAfterStranger()
		}
		l.meter.note(fmt.Sprintf("a wrong echo: message %d of connection %d: %s", c.received, c.number, fmt.Sprintf(what, args...)))
	}
	l.lose(c, "wrong echo: the payload is not what was sent")
}

// control is called when a control frame is whole.
func (l *loop) control(c *conn) {
	payload := c.in.control
	switch c.in.opcode {
	case ws.Ping:
		if len(c.unsent) < gather { // else a server that only sends pings would fill our memory
			l.write(c, ws.AppendMaskedFrame(l.out[:0], ws.Pong, true, payload, l.maskKey()))
		}
	case ws.Close:
		if c.state == closing {
			return // the server ends the stream next
		}
		said := saidInClose(payload)
		l.write(c, ws.AppendMaskedFrame(l.out[:0], ws.Close, true, payload[:min(len(payload), 2)], l.maskKey()))
		if c.state != absent {
			l.lose(c, "closed by the server: %s", said)
		}
	}
}

// saidInClose is what a close frame says: its code, and the reason if it has one.
func saidInClose(payload []byte) string {
	return inCloseWords(ws.ParseClose(payload))
}

func inCloseWords(code ws.Code, reason string) string {
	if reason == "" {
		return code.String()
	}
	return fmt.Sprintf("%v: %q", code, reason)
}

// headSize is the length of the response's head in b; 0: it is not whole.
func headSize(b []byte) int {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return 0
}
