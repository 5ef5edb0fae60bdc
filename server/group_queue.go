package server

import (
	"cmp"
	"time"

	"github.com/millrace/millrace/internal/loop"
)

// # Queues with what is shared
//
// What a slow reader is to get waits in its queue by reference: it is there, and
// charged, once, for whoever waits for it (groupMessage). Small frames that may not be
// dropped are copied, since a reference takes more.

// sharedFrom is the length from which a frame waits by reference, which takes 96 bytes
// of a queue.
const sharedFrom = 256

// maxLoose is how many messages that may be dropped wait in a queue at most: those with keys are looked for among all.
const maxLoose = 10_000

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
	if !c.openForRest(n, len(b), err) {
		return
	}
	for i, frame := range frames {
		if n < len(frame) {
			c.wait(messages[i], frame, n)
		}
		n = max(n-len(frame), 0)
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
	if p.message.key != nil && c.replaceShared(p, frame) {
		return
	}
	policy := c.policyFor(p)
	drops, loose := policy != CloseWhenFull, c.mayDrop(p)
	over := c.excess(frame, loose)
	switch {
	case over <= 0:
	case policy == DropNewest:
		c.expireShared(c.loop.RightNow())
	default:
		c.makeRoom(over)
	}
	switch {
	case c.excess(frame, loose) > 0:
		c.overflow(LimitQueue, errSlow, drops)
		c.countNewest(drops)
	case c.loop.srv.governor.outbound.full():
		c.overflow(LimitQueueMemory, errShed, drops)
		c.countNewest(drops)
	default:
		c.placePong()
		c.wait(p, frame, 0)
		c.sentBytes(len(frame))
		c.sentMessages(1)
		c.charge()
	}
}

// excess is how many bytes of the queue have to go for a frame, for one that may be dropped one at least if there are too many of
// those.
func (c *Conn) excess(frame []byte, loose bool) int {
	over := c.queued() + len(frame) - c.limits().maxQueue
	if loose && c.out.LooseFrames() >= maxLoose {
		return max(over, 1)
	}
	return over
}

// pongPeriod is how often a pong gets a place before a message of a group.
var pongPeriod = loop.TimeoutTicks(time.Second)

// placePong has a pong that waits go before the next message of a group: else a reader who is slow for long would
// get none. Not each does, for it would take more than the message.
func (c *Conn) placePong() {
	if !c.out.HasPong() {
		return
	}
	if now := c.loop.RightNow(); now-c.out.ponged >= pongPeriod {
		c.out.ponged = now
		c.sentBytes(c.out.PlacePong())
	}
}

// replaceShared puts a message in the place of the one with its key. If it does not fit there, or is to stand
// in order, it drops that one. It says whether the message is in.
func (c *Conn) replaceShared(p pending, frame []byte) bool {
	m := p.message
	at, old := c.out.Keyed(m.key, m.keyHash)
	if old == 0 {
		return false
	}
	before := c.out.size()
	inPlace := !m.inOrder && c.queued()-old+len(frame) <= c.limits().maxQueue
	if inPlace {
		c.out.Replace(at, m.share(frame))
	} else {
		c.out.Remove(at)
	}
	c.loop.counters.groupReplaced.Add(1)
	c.resized(before)
	return inPlace
}

// makeRoom drops messages of groups that may be dropped, those that have expired first and
// then the oldest, until so many bytes are free. If all of them are not enough it drops those that have
// expired alone. The caller holds mu; there is a queue.
func (c *Conn) makeRoom(bytes int) {
	if c.out.Loose() == 0 {
		return
	}
	before := c.out.size()
	c.expireShared(c.loop.RightNow())
	if bytes -= before - c.out.size(); bytes > 0 && bytes <= c.out.Loose() {
		before = c.out.size()
		dropped := c.out.DropOldest(bytes)
		c.loop.counters.groupOldest.Add(uint64(dropped))
		c.noteMissed(dropped)
		c.resized(before)
	}
}

// expireShared drops what has expired. The caller holds mu; there is a queue.
func (c *Conn) expireShared(now tick) {
	before := c.out.size()
	if dropped := c.out.Expire(uint32(now)); dropped > 0 {
		c.loop.counters.groupExpired.Add(uint64(dropped))
		c.noteMissed(dropped)
		c.resized(before)
	}
}

// resized is for a queue that has another size than before since messages were dropped or
// replaced: these bytes never were on their way to the peer. The caller holds mu.
func (c *Conn) resized(before int) {
	if n := before - c.out.size(); n >= 0 {
		c.untally(bytesOut, n)
	} else {
		c.sentBytes(-n)
	}
	paused := c.paused()
	if c.charge(); paused && !c.paused() {
		c.wake() // to read on
	}
}

// countNewest counts a message that was dropped for want of room, and not those before it.
func (c *Conn) countNewest(drops bool) {
	if drops {
		c.loop.counters.groupNewest.Add(1)
		c.leaveGap()
		c.noteMissed(1)
	}
}

// missedEvery is how often a handler is told of dropped messages, as long as the queue is not half
// empty: what it sends about them is not to fill the rest.
const missedEvery = time.Second

// noteMissed has the handler told, in a turn, of messages that were dropped, if it wants to
// know. The caller holds mu.
func (c *Conn) noteMissed(messages int) {
	if f, ok := c.handler.Handler.(HandlerFuncs); ok && f.OnMissed == nil {
		return
	}
	if _, ok := c.handler.Handler.(MissedHandler); ok && messages > 0 {
		c.ownFacts().missed += uint32(messages)
		c.wakeMissed()
	}
}

// wakeMissed has a turn tell the handler, if it is due. The caller holds mu.
func (c *Conn) wakeMissed() {
	if c.missedDue() {
		c.wake()
	}
}

// missedDue says whether the handler is to be told something now. The caller holds mu.
func (c *Conn) missedDue() bool {
	f := c.facts
	return f != nil && f.missed > 0 && (f.missedAt == 0 || c.loop.RightNow() >= f.missedAt+loop.TicksOf(missedEvery) || c.queued() <= c.limits().maxQueue/2)
}

// callMissed tells the handler what it has missed.
func (c *Conn) callMissed(w *worker) {
	c.mu.Lock()
	messages := uint32(0)
	if c.stateNow() == stateOpen && c.missedDue() {
		messages, c.facts.missed = c.facts.missed, 0
		c.facts.missedAt = max(c.loop.RightNow(), 1)
	}
	c.mu.Unlock()
	if messages == 0 {
		return
	}
	if h, ok := c.handler.Handler.(MissedHandler); ok {
		h.Missed(c, int(messages))
		w.noteSlow(c, "Missed")
	}
}
