package server

import (
	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/outqueue"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// outbound is what a connection has to send: during a turn, the worker's cork;
// after a short write, the connection's queue. It is guarded by Conn.mu.
type outbound struct {
	corked bool
	cork   []byte
	plain  int       // bytes at the cork's head that are no frames: the 101 response
	sent   turnStats // with the cork: what was accepted for sending

	outqueue.Queue

	started tick  // the write deadline counts from here
	written int   // since then
	acked   int64 // what the peer's side had then, which Conn.flush asks for
	ponged  tick  // when a pong got a place before a message of a group last

	waiters *waiter // see Conn.WaitBuffered; a queue's

	entry // a queue's, in the server's account
}

// keepCork is the size to which a worker's cork may stay grown.
const keepCork = 256 << 10

// queue is the connection's queue, nil if there is none; a cork is none. The caller
// holds mu.
func (c *Conn) queue() *outbound {
	if c.out == nil || c.out.corked {
		return nil
	}
	return c.out
}

func (o *outbound) resetCork() {
	o.plain = 0
	o.cork = o.cork[:0]
	if cap(o.cork) > keepCork {
		o.cork = nil
	}
}

func (o *outbound) size() int { return o.Len() + len(o.cork) }

// writeAtOnce bounds what one write takes, and flushAtOnce a flush: the kernel
// copies, and a stream encrypts, under Conn.mu.
const (
	writeAtOnce = 1 << 20
	flushAtOnce = 1 << 20
)

// streamGather is how many bytes of small pieces a stream is given in one go: a record of
// TLS has no more.
const streamGather = 16 << 10

// flush writes c's queue until the kernel takes no more or all is written, the
// pending pong included. more: that was enough for once, and no edge will tell.
func (o *outbound) flush(c *Conn, now tick) (more bool, err error) {
	if err := o.flushStream(c, now); err != nil {
		return false, err
	}
	c.expireShared(now)
	for written := 0; ; {
		if pong := o.FramePong(); pong > 0 {
			c.sentBytes(pong)
		}
		if o.Empty() {
			return false, nil
		}
		if written >= flushAtOnce {
			return true, nil
		}
		n, err := o.Write((*queueWriter)(c), writeAtOnce)
		if err == poller.ErrAgain {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		written += n
		o.progress(n, now)
	}
}

// flushStream lets a stream pass on what it holds; that the peer takes it is
// progress. One that holds nothing may have lost it, and says so here.
func (o *outbound) flushStream(c *Conn, now tick) error {
	s := c.stream()
	if s == nil {
		return nil
	}
	before := s.held()
	err := s.flush()
	if n := before - s.held(); n > 0 {
		o.progress(n, now)
	}
	return err
}

// progress notes that the peer has taken n bytes more.
func (o *outbound) progress(n int, now tick) {
	if o.written += n; o.written >= progressBytes || o.Unwritten() == 0 {
		o.started, o.written = now, 0
	}
}

// queueWriter is a connection as its queue sees it. Who calls holds mu.
type queueWriter Conn

// Write implements outqueue.Writer.
func (q *queueWriter) Write(p []byte) (n int, err error) { return (*Conn)(q).write(p, nil) }

// Writev implements outqueue.Writer. Of many pieces it may take only the first few.
func (q *queueWriter) Writev(pieces [][]byte) (n int, err error) {
	c := (*Conn)(q)
	s := c.stream()
	switch {
	case s == nil:
		return c.loop.engine.Writev(int(c.fd), pieces)
	case len(pieces[0])+len(pieces[1]) > streamGather:
		return s.write(pieces[0])
	}
	b := buffer.Get(streamGather) // or each small frame would be a record of TLS
	defer b.Free()
	for _, p := range pieces {
		if len(b.B)+len(p) > streamGather {
			break
		}
		b.B = append(b.B, p...)
	}
	return s.write(b.B)
}

// Missing implements outqueue.Writer.
func (q *queueWriter) Missing(messages int) []byte { return (*Conn)(q).missedFrame(messages) }

// Told implements outqueue.Writer.
func (q *queueWriter) Told(bytes int) {
	(*Conn)(q).sentMessages(1)
	(*Conn)(q).sentBytes(bytes)
}

// memory is what the queue is to be charged with, without what a stream holds.
func (o *outbound) memory() int { return queueMemory + o.Queue.Memory() }

// openQueue gives the connection an empty queue. The caller holds mu and charges
// it.
func (c *Conn) openQueue() {
	now := c.loop.RightNow()
	c.out = &outbound{started: now, ponged: now - pongPeriod}
	c.out.conn = c
	c.fitQueue()
	c.loop.queues.add(&c.out.entry)
}

// fitQueue has the queue know what the connection is. The caller holds mu.
func (c *Conn) fitQueue() {
	c.out.Events, c.out.Gaps = c.is(eventStream), c.handler != nil && c.handler.missed != nil
}

// openForRest opens the queue behind a write that took n of so many bytes, for the caller to
// put in what is left of them and to charge it. false: nothing is left, or the connection takes
// nothing more. The caller holds mu.
func (c *Conn) openForRest(n, of int, err error) bool {
	switch {
	case err != nil && err != poller.ErrAgain:
		c.writeFailed(err)
		return false
	case n < of && c.loop.srv.governor.outbound.full():
		c.loop.srv.hit(LimitQueueMemory)
		c.cut(errShed)
		return false
	case n == of && c.held() == 0: // else the stream has it, and must be flushed
		return false
	}
	c.openQueue()
	if n < of && err == nil && n >= writeAtOnce {
		c.loop.Post(c.member(), writable) // no edge will tell
	}
	return true
}

// charge charges the queue, if there is one, with what it has come to hold. The
// caller holds mu and has changed it.
func (c *Conn) charge() {
	o := c.queue()
	if o == nil {
		return
	}
	held := c.held()
	c.checkMarks(o.size() + held - o.Loose())
	o.waits.Store(int64(o.size() + held))
	c.loop.srv.governor.outbound.charge(&o.entry, int64(o.memory()+held))
	c.wakeWaiters()
}

// dropQueue gives up the queue, or the cork. The caller holds mu.
func (c *Conn) dropQueue() {
	o := c.out
	c.out = nil
	if o == nil || o.corked {
		return
	}
	c.checkMarks(0)
	o.wakeAll()
	o.Release()
	c.loop.queues.remove(&o.entry)
	c.loop.srv.governor.outbound.charge(&o.entry, 0)
}

// overflow refuses a message for which the queue may not grow: it is dropped, or ends the
// connection. The caller holds mu.
func (c *Conn) overflow(limit Limit, cause *ws.CloseError, drops bool) {
	if c.notTaken(limit, drops); drops {
		return
	}
	c.out.Truncate()
	c.charge()
	c.skipGroups()
	c.endLocked(cause, endLinger)
}

var errSlow = &ws.CloseError{Code: ws.CodePolicy, Reason: "outbound queue full: reading too slowly"}
