package server

import (
	"slices"
	"sync"
)

// # The account of what waits
//
// The server keeps account of the memory that all queues hold: of their buffers'
// capacity rather than of the bytes in them, since that is what it costs. Each
// queue knows what it is charged with; whoever changes a queue, under Conn.mu,
// charges the difference (Conn.charge). A loop knows its connections with a queue,
// and only those (backlog): that is where the governor looks for the largest.

const (
	// queueMemory is what an empty queue takes: itself, and the pieces of a write.
	queueMemory = 768
	// segmentMemory is what a segment takes besides its bytes: its place in
	// outbound.segments, which grows by halves, and the buffer's header.
	segmentMemory = 96
)

// backlog is a loop's queues, in no order. Its lock is taken with Conn.mu held
// or alone, and held for a few instructions only.
type backlog struct {
	mu     sync.Mutex
	queues []*outbound // each at its place
}

func (b *backlog) add(o *outbound) {
	b.mu.Lock()
	o.place = len(b.queues)
	b.queues = append(b.queues, o)
	b.mu.Unlock()
}

func (b *backlog) remove(o *outbound) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.queues) - 1
	moved := b.queues[last]
	b.queues[o.place], b.queues[last] = moved, nil
	moved.place = o.place
	b.queues = b.queues[:last]
	if cap(b.queues) > 1024 && last < cap(b.queues)/4 {
		b.queues = slices.Clip(slices.Clone(b.queues))
	}
}

func (b *backlog) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queues)
}

// queued is a queue and how it stood when the governor looked.
type queued struct {
	queue *outbound
	size  int64 // what it was charged with
	over  bool  // its connection has ended, and is only written out
}

// list appends all queues.
func (b *backlog) list(to []queued) []queued {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.queues {
		to = append(to, queued{o, o.charged.Load(), o.conn.lifeNow() >= lifeEnding})
	}
	return to
}

// memory is what the queue is to be charged with, without what a stream holds.
func (o *outbound) memory() int {
	return queueMemory + o.room + len(o.segments)*segmentMemory + cap(o.pong)
}

// openQueue gives the connection an empty queue. The caller holds mu and charges
// it.
func (c *Conn) openQueue() {
	c.out = &outbound{conn: c, since: c.loop.rightNow()}
	c.loop.backlog.add(c.out)
}

// charge charges the queue, if there is one, with what it has come to hold. The
// caller holds mu and has changed it.
func (c *Conn) charge() {
	o := c.out
	if o == nil || o.corked {
		return
	}
	held := c.held()
	c.pace(o.size() + held)
	now := int64(o.memory() + held)
	if before := o.charged.Load(); now != before {
		o.charged.Store(now)
		c.loop.srv.governor.add(now - before)
	}
}

// dropQueue gives up the queue, or the cork. The caller holds mu.
func (c *Conn) dropQueue() {
	o := c.out
	c.out = nil
	if o == nil || o.corked {
		return
	}
	c.pace(0)
	o.release()
	c.loop.backlog.remove(o)
	c.loop.srv.governor.add(-o.charged.Swap(0))
}
