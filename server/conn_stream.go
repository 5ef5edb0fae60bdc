package server

import (
	"sync"

	"github.com/millrace/millrace/poller"
)

// stream carries a connection's bytes where its descriptor alone does not. To the
// rest of the server it is a kernel like any other: it takes and gives what it
// can, and an event tells when there is more. Its methods are called with Conn.mu
// held, and none blocks.
type stream interface {
	// read is poller.Engine's Read, with w's buffers. more: there may be more at
	// once, and no event will tell of it.
	read(w *worker, p []byte) (n int, more bool, err error)
	// write is poller.Engine's Write: it takes some of p or answers ErrAgain.
	write(p []byte) (n int, err error)
	// flush passes on what write has taken and the peer's side has not, as far as
	// possible. What is left shows in held.
	flush() error
	// held is the number of such bytes.
	held() int
	// closeWrite ends our direction once nothing is held.
	closeWrite() error
	// close is called once, when the connection is over; the descriptor, if there
	// is one, is closed by the loop after it.
	close()
}

// stream is what carries c's bytes, nil for its descriptor. The caller holds mu.
func (c *Conn) stream() stream {
	if c.facts == nil {
		return nil
	}
	return c.facts.stream
}

// pieces are the arrays that a write of two pieces needs.
var pieces = sync.Pool{New: func() any { return new([2][]byte) }}

// write writes head and tail, as much as is taken. The caller holds mu.
func (c *Conn) write(head, tail []byte) (n int, err error) {
	if len(head)+len(tail) > writeAtOnce {
		head = head[:min(len(head), writeAtOnce)]
		tail = tail[:min(len(tail), writeAtOnce-len(head))]
	}
	if s := c.stream(); s != nil {
		return writeBoth(s, head, tail)
	}
	if len(tail) == 0 {
		return c.loop.engine.Write(int(c.fd), head)
	}
	p := pieces.Get().(*[2][]byte)
	p[0], p[1] = head, tail
	n, err = c.loop.engine.Writev(int(c.fd), p[:])
	*p = [2][]byte{}
	pieces.Put(p)
	return n, err
}

func writeBoth(s stream, head, tail []byte) (n int, err error) {
	n, err = s.write(head)
	if err != nil || n < len(head) || len(tail) == 0 {
		return n, err
	}
	m, err := s.write(tail)
	if err == poller.ErrAgain {
		err = nil // head was taken
	}
	return n + m, err
}

// held is how many bytes were taken by the connection's stream and go no
// further for now. The caller holds mu.
func (c *Conn) held() int {
	if s := c.stream(); s != nil {
		return s.held()
	}
	return 0
}

// passOn flushes what the stream holds, unless a queue will: what it goes on
// holding becomes one. The caller holds mu.
func (c *Conn) passOn() {
	if c.queue() != nil {
		c.charge()
		return
	}
	if c.held() == 0 {
		return
	}
	if c.out != nil {
		c.writeCork()
	}
	if c.held() == 0 || c.queue() != nil {
		return
	}
	if err := c.stream().flush(); err != nil {
		c.writeFailed(err)
	} else if c.held() > 0 {
		c.openQueue()
		c.out.acked = c.acked()
		c.charge()
	}
}

// closeWrite ends our direction. The caller holds mu; there is no queue.
func (c *Conn) closeWrite() error {
	s := c.stream()
	if s == nil {
		return c.loop.engine.CloseWrite(int(c.fd))
	}
	err := s.closeWrite()
	if err == nil {
		c.passOn()
	}
	return err
}

// streamBroken says whether TLS has failed, so that only its alert is left to write.
func (c *Conn) streamBroken() bool {
	s, ok := c.stream().(*tlsStream)
	return ok && s.state == secureBroken
}

// broke ends a connection whose stream is broken: what is queued can not be sent,
// but the peer is given the time to read what the stream holds.
func (c *Conn) broke(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil && c.out.corked {
		c.out.resetCork()
	} else {
		c.dropQueue()
	}
	c.skipGroups()
	if c.stateNow() >= stateEnding {
		c.endLocked(cause, endNow)
		return
	}
	c.endLocked(cause, endLinger)
	c.passOn()
	now := c.loop.RightNow()
	c.facts.lastWrittenAt, c.facts.closeAt = max(now, 1), now+c.loop.srv.limits.linger
}
