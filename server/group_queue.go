package server

import (
	"cmp"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// # Queues with what is shared
//
// What a slow reader is to get waits in its queue by reference: it is there, and
// charged, once, for whoever waits for it (groupMessage). Small frames that may not be
// dropped are copied, since a reference takes more.

// sharedFrom is the length from which a frame waits by reference, which takes 96 bytes
// of a queue.
const sharedFrom = 256

// policyFor is what happens to a message that does not fit into c's queue.
func (c *Conn) policyFor(p pending) QueuePolicy {
	own := CloseWhenFull
	if c.limits().drops {
		own = DropNewest
	}
	return cmp.Or(p.policy, own)
}

// mayDrop says whether a message may be dropped from c's queue.
func (c *Conn) mayDrop(p pending) bool {
	return p.message.key != nil || p.message.expires > 0 || c.policyFor(p) != CloseWhenFull
}

// writeShared writes the frames of some messages, which all together are b. What the
// kernel does not take waits. The caller holds mu; there is no queue.
func (c *Conn) writeShared(messages []pending, frames [][]byte, b []byte) {
	c.sentBytes(len(b))
	c.sentMessages(len(messages))
	n, err := c.write(b, nil)
	switch {
	case err != nil && err != poller.ErrAgain:
		c.writeFailed(err)
		return
	case n < len(b) && c.loop.srv.governor.outbound.full():
		c.loop.srv.hit(LimitQueueMemory)
		c.cut(errShed)
		return
	case n < len(b):
		c.openQueue()
		for i, frame := range frames {
			if n >= len(frame) {
				n -= len(frame)
				continue
			}
			c.wait(messages[i], frame, n)
			n = 0
		}
		if err == nil && len(b) > writeAtOnce {
			c.loop.Post(c.member(), writable) // no edge will tell
		}
	case c.held() > 0:
		c.openQueue() // the stream has it, and must be flushed
	default:
		return
	}
	c.out.acked = c.acked()
	c.charge()
	c.wake() // for the write deadline; the edge comes by itself
}

// wait queues what is not written of a frame.
func (c *Conn) wait(p pending, frame []byte, written int) {
	if loose := c.mayDrop(p); loose || len(frame) >= sharedFrom {
		c.out.Share(p.message.share(frame), written, loose)
	} else {
		c.out.Add(frame, nil, 0, written)
	}
}

// queueShared puts a message behind what waits already, or does to it what the policy
// says. The caller holds mu; there is a queue.
func (c *Conn) queueShared(p pending, frame []byte) {
	n, policy := &c.loop.counters, c.policyFor(p)
	if p.message.key != nil {
		shared := p.message.share(frame)
		if c.out.Replace(shared) {
			n.groupReplaced.Add(1)
			c.charge()
			return
		}
		shared.Released()
	}
	if over := c.queued() + len(frame) - c.limits().maxQueue; over > 0 && policy == DropOldest {
		n.groupOldest.Add(uint64(c.out.DropOldest(over)))
	}
	switch {
	case c.queued()+len(frame) > c.limits().maxQueue:
		c.sharedOverflow(LimitQueue, errSlow, policy)
	case c.loop.srv.governor.outbound.full():
		c.sharedOverflow(LimitQueueMemory, errShed, policy)
	default:
		c.wait(p, frame, 0)
		c.sentBytes(len(frame))
		c.sentMessages(1)
		c.charge()
	}
}

// sharedOverflow is overflow by a message's policy.
func (c *Conn) sharedOverflow(limit Limit, cause *ws.CloseError, policy QueuePolicy) {
	if c.dropsBy(limit, policy != CloseWhenFull) {
		c.loop.counters.groupNewest.Add(1)
		c.charge() // older ones may have gone
		return
	}
	c.out.Truncate()
	c.charge()
	c.endLocked(cause, endLinger)
}

// sharedTooBig refuses a message that would not fit into the empty queue.
func (c *Conn) sharedTooBig(p pending) {
	if c.dropsBy(LimitQueue, c.policyFor(p) != CloseWhenFull) {
		c.loop.counters.groupNewest.Add(1)
	} else {
		c.endLocked(errTooBig, endLinger)
	}
}
