package server

import (
	"context"
	"time"
)

// # Waiting for the queue
//
// Who waits for a connection's queue hangs on it, so that a connection without one
// holds nothing. Whoever makes the queue shorter, under Conn.mu, wakes those whose mark
// is reached; the end of the connection, and of the queue, wakes all. Each looks again.
//
// In the connection's own method waiting is like any blocking: the watchdog takes the
// loop, and its next leader writes beside the slow turn (member.MissedWhileAway). If all workers
// are held nobody leads the loop; then those who wait do the leader's part.

// waiter waits for a queue to be short enough.
type waiter struct {
	most  int
	woken chan struct{}
	next  *waiter
}

const (
	// standstillLook is how often who waits looks whether the loop stands still.
	standstillLook = 20 * time.Millisecond
	// leaderLook is how often he looks for the peer where it does.
	leaderLook = 2 * time.Millisecond
)

func (c *Conn) nextLook() time.Duration {
	if c.loop.StandsStill() {
		return leaderLook
	}
	return standstillLook
}

// WaitBuffered waits until at most so many bytes wait in the outbound queue (see
// Buffered): it is how a writer goes at the pace of a slow peer. It returns nil then,
// ErrClosed when the connection is closing or closed, or ctx.Err(). Others may send
// before the caller does.
//
// It blocks, and is the only method of Conn that does. It may be called from any
// goroutine, also in a method of the connection's own handler, which is slow then like
// any that blocks (see Server.Runtime.Workers); what that method has sent goes out.
// Timeouts.Write bounds the wait for a peer that takes nothing.
func (c *Conn) WaitBuffered(ctx context.Context, most int) error {
	most = max(most, 0)
	w, err := c.waitFor(most)
	if w == nil {
		return err
	}
	look := time.NewTimer(c.nextLook())
	defer look.Stop()
	for {
		select {
		case <-w.woken:
			if w, err = c.waitFor(most); w == nil {
				return err
			}
		case <-ctx.Done():
			c.forgetWaiter(w)
			return ctx.Err()
		case <-look.C:
			if c.loop.StandsStill() {
				c.flushForLeader()
			}
			look.Reset(c.nextLook())
		}
	}
}

// waitFor gives what to wait with until the queue is that short; nil: there is nothing
// to wait for, or err says why not.
func (c *Conn) waitFor(most int) (w *waiter, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.catchUp(); c.takesNothing() {
		return nil, ErrClosed
	}
	if c.out != nil && c.out.corked && c.queued() > most {
		if c.writeCork(); c.takesNothing() {
			return nil, ErrClosed
		}
	}
	if c.queued() <= most {
		return nil, nil
	}
	w = &waiter{most: most, woken: make(chan struct{}), next: c.out.waiters}
	c.out.waiters = w
	return w, nil
}

// takesNothing says whether Send returns ErrClosed. The caller holds mu.
func (c *Conn) takesNothing() bool { return c.stateNow() != stateOpen || c.writeBroken() }

// wakeWaiters wakes those whose mark the queue has reached. The caller holds mu and has
// changed the queue, or the state.
func (c *Conn) wakeWaiters() {
	o := c.queue()
	if o == nil || o.waiters == nil {
		return
	}
	over, queued := c.takesNothing(), c.queued()
	for at := &o.waiters; *at != nil; {
		if w := *at; over || queued <= w.most {
			close(w.woken)
			*at = w.next
		} else {
			at = &w.next
		}
	}
}

// wakeAll wakes who waits for a queue that is given up. The caller holds mu.
func (o *outbound) wakeAll() {
	for ; o.waiters != nil; o.waiters = o.waiters.next {
		close(o.waiters.woken)
	}
}

// forgetWaiter is for one that waits no more.
func (c *Conn) forgetWaiter(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.queue()
	if o == nil {
		return
	}
	for at := &o.waiters; *at != nil; at = &(*at).next {
		if *at == w {
			*at = w.next
			return
		}
	}
}

// flushForLeader does what the leader would for the queue, of a loop that nobody leads.
// A turn follows when somebody does.
func (c *Conn) flushForLeader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue() == nil || c.stateNow() != stateOpen {
		return
	}
	before := c.queued()
	switch drained := c.flush(); {
	case drained:
		c.loop.Post(c.member(), emptied)
	case c.queued() < before:
		c.wake()
	default:
		c.endOverdue()
	}
}

// endOverdue ends the connection if its peer takes too little of the queue, and says
// otherwise when to look again. It is for a connection whose slow turn has no loop: its
// method may be waiting for just that. The caller holds mu.
func (c *Conn) endOverdue() (due tick) {
	o, lim := c.queue(), c.limits()
	if o == nil || c.stateNow() != stateOpen {
		return noDue
	}
	if c.queueOverdue(lim, c.loop.RightNow()) {
		c.loop.srv.hit(LimitWriteTimeout)
		c.noteCut()
		c.endLocked(errNotTaken, endNow)
		return noDue
	}
	return o.started + lim.write
}

// watchAway is endOverdue for the leader.
func (c *Conn) watchAway() {
	c.mu.Lock()
	due := c.endOverdue()
	c.mu.Unlock()
	if due != noDue {
		c.loop.SetDue(c.member(), min(due, c.loop.Due(&c.seat)))
	}
}
