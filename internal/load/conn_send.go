package load

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// gather is how many bytes of frames are gathered for one write.
const gather = 256 << 10

func (p *plan) opcode() ws.Opcode {
	if p.Binary {
		return ws.Binary
	}
	return ws.Text
}

// send sends a connection's next n messages.
func (l *loop) send(c *conn, n int) {
	l.out = l.out[:0]
	now := l.engine.Now()
	for range n {
		payload := l.content.message(c.number, c.sent)
		c.note(now)
		l.out = l.appendMessage(l.out, c, payload)
		if len(l.out) >= gather {
			if l.write(c, l.out); c.state != open {
				return
			}
			l.out = l.out[:0]
		}
	}
	l.write(c, l.out)
}

// maskKey is a fresh random key (RFC 6455 section 5.3).
func (l *loop) maskKey() (key [4]byte) {
	binary.LittleEndian.PutUint32(key[:], uint32(l.random.Uint64()))
	return key
}

// writeRaw writes what the kernel takes and keeps the rest. The connection may be
// gone after it.
func (l *loop) writeRaw(c *conn, b []byte) {
	if c.deaf {
		return
	}
	if len(c.unsent) > 0 {
		c.unsent = append(c.unsent, b...)
		return
	}
	n, err := l.engine.Write(int(c.fd), b)
	if err != nil && err != poller.ErrAgain {
		l.writeFailed(c, err)
		return
	}
	if n < len(b) {
		c.unsent = append(c.unsent, b[n:]...)
	}
}

// flush writes what the kernel did not take before.
func (l *loop) flush(c *conn) {
	n, err := l.engine.Write(int(c.fd), c.unsent)
	if err != nil && err != poller.ErrAgain {
		l.writeFailed(c, err)
		return
	}
	if c.unsent = c.unsent[n:]; len(c.unsent) == 0 {
		c.unsent = nil
		l.behaviour.emptied(l, c)
	}
}

func (l *loop) writeFailed(c *conn, err error) {
	reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	switch {
	case c.state == closing:
		l.end(c) // the server was faster
	case reset && !c.slow:
		// Before the reset it may have said why: a close frame, an answer.
		c.deaf, c.unsent = true, nil
		l.visit(c, l.slot(c))
	default:
		l.lose(c, "write: %v", cause(err))
	}
}

// close begins the end of an open connection: with a close handshake, or at once
// if the plan says so, or if it is an event stream.
func (l *loop) close(c *conn) {
	if l.plan.Reset || c.stream != nil {
		l.drop(c)
		return
	}
	c.state, c.until = closing, l.engine.Now()+l.plan.endTimeout()
	l.connects.closing++
	l.write(c, ws.AppendMaskedFrame(l.out[:0], ws.Close, true, []byte{1000 >> 8, 1000 & 0xff}, l.maskKey()))
}

// drop ends an open connection without a close handshake.
func (l *loop) drop(c *conn) {
	c.state = closing
	l.connects.closing++
	if l.plan.Reset {
		_ = l.engine.ResetOnClose(int(c.fd)) // else it ends with a FIN
	}
	l.end(c)
}
