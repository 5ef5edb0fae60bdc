package simnet

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millrace/millrace/poller"
)

// maxStale bounds the stale events that wait for a Wait.
const maxStale = 1024

// noDeadline is the deadline of a Wait without a timeout.
const noDeadline = time.Duration(1<<63 - 1)

// readyEntry is a descriptor that was noted ready. It is stale when the
// descriptor was registered anew since.
type readyEntry struct {
	fd         int32
	generation uint32
}

// Poller waits for the readiness of a network's descriptors.
type Poller struct {
	net    *Network
	signal chan struct{} // has room for one: Wait should look again
	timer  *time.Timer   // only with a real clock; used by Wait alone
	closed atomic.Bool

	mu       sync.Mutex
	ready    fifo[readyEntry]
	live     int // entries of ready that are not stale
	stale    []poller.Event
	woken    bool
	inWait   bool
	asleep   bool          // in Wait, with nothing to do
	deadline time.Duration // of the Wait that is asleep
}

// NewPoller returns a poller. It never fails.
func (n *Network) NewPoller() (poller.Poller, error) {
	p := &Poller{net: n, signal: make(chan struct{}, 1)}
	if n.config.RealClock {
		p.timer = time.NewTimer(0)
	}
	n.pollersMu.Lock()
	defer n.pollersMu.Unlock()
	n.pollers = append(n.pollers, p)
	return p, nil
}

// Add registers a descriptor; see [poller.Poller].
func (p *Poller) Add(fd int, t poller.Token) error {
	d := p.net.table.at(fd)
	if c, s, ok := p.net.lockConn(fd); ok {
		defer c.mu.Unlock()
		if err := c.judgeAdd(s); err != nil {
			return callError("add", err)
		}
		return p.register(d, fd, t, c.readiness(s))
	}
	if l := p.net.listenerAt(fd); l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return p.register(d, fd, t, l.readiness())
	}
	return p.net.badFD("add", fd)
}

// Remove forgets a descriptor, which stays open.
func (p *Poller) Remove(fd int) error {
	d := p.net.table.at(fd)
	if c, _, ok := p.net.lockConn(fd); ok {
		defer c.mu.Unlock()
	} else if l := p.net.listenerAt(fd); l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
	} else {
		return p.net.badFD("remove", fd)
	}
	if d.poller.Load() != p {
		p.net.violate("remove", fd, "is not in this poller")
		return os.NewSyscallError("remove", syscall.ENOENT)
	}
	p.unregister(d, fd)
	return nil
}

// CloseFD forgets a descriptor and closes it.
func (p *Poller) CloseFD(fd int) error {
	c, s, ok := p.net.lockConn(fd)
	if !ok {
		return p.net.badFD("close", fd)
	}
	defer c.mu.Unlock()
	d := p.net.table.at(fd)
	if owner := d.poller.Load(); owner != nil {
		if owner != p {
			p.net.violate("close", fd, "is in another poller")
		}
		owner.unregister(d, fd)
	}
	c.closeFD(s)
	return nil
}

// register puts a descriptor in, with what it is ready for already. The lock of
// the descriptor's owner is held.
func (p *Poller) register(d *descriptor, fd int, t poller.Token, ready poller.Ready) error {
	if p.closed.Load() {
		return poller.ErrClosed
	}
	if old := d.poller.Load(); old != nil && !old.closed.Load() {
		p.net.violate("add", fd, "is in a poller already")
		return os.NewSyscallError("add", syscall.EEXIST)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.poller.Store(p)
	d.token = t
	d.generation++
	d.ready, d.queued = 0, false
	if ready != 0 {
		p.enqueue(d, int32(fd), ready)
	}
	return nil
}

// unregister takes a descriptor of this poller out. The lock of the
// descriptor's owner is held.
func (p *Poller) unregister(d *descriptor, fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.queued {
		p.live--
	}
	if p.net.config.StaleEvents && len(p.stale) < maxStale {
		p.stale = append(p.stale, poller.Event{Token: d.token, Ready: poller.Readable | poller.Writable})
		p.rouse()
	}
	d.poller.Store(nil)
}

// note puts a descriptor that became ready in the list.
func (p *Poller) note(d *descriptor, fd int32, ready poller.Ready) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.poller.Load() == p && !p.closed.Load() {
		p.enqueue(d, fd, ready)
	}
}

// enqueue has a descriptor reported once, whatever it is noted until then.
func (p *Poller) enqueue(d *descriptor, fd int32, ready poller.Ready) {
	d.ready |= ready
	if d.queued {
		return
	}
	d.queued = true
	// Entries of removed descriptors must not pile up between two Waits.
	if p.ready.len() > 2*p.live+64 {
		p.ready.keep(func(e readyEntry) bool { return p.current(e) != nil })
	}
	p.ready.push(readyEntry{fd, d.generation})
	p.live++
	p.rouse()
}

// current returns the descriptor of an entry, or nil when the entry is stale.
func (p *Poller) current(e readyEntry) *descriptor {
	d := p.net.table.at(int(e.fd))
	if d.poller.Load() != p || d.generation != e.generation {
		return nil
	}
	return d
}

// rouse makes a sleeping Wait look again.
func (p *Poller) rouse() {
	if !p.asleep {
		return
	}
	select {
	case p.signal <- struct{}{}:
	default: // one is on its way already
	}
}

// Wait fills events with what became ready; see [poller.Poller]. The timeout is
// measured by the network's clock.
func (p *Poller) Wait(events []poller.Event, timeout time.Duration) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inWait {
		p.net.violate("wait", -1, "another Wait is under way")
	}
	p.inWait = true
	defer func() { p.inWait = false }()

	deadline := time.Duration(0) // not yet known: most calls find an event and need no clock
	for {
		if p.closed.Load() {
			p.net.violate("wait", -1, "the poller is closed")
			return 0, poller.ErrClosed
		}
		count := p.collect(events)
		if count > 0 || p.woken || timeout == 0 {
			p.woken = false
			return count, nil
		}
		now := p.net.Now()
		if deadline == 0 {
			deadline = deadlineAfter(now, timeout)
		}
		if now >= deadline {
			return 0, nil
		}
		p.sleep(deadline)
	}
}

// deadlineAfter returns when a timeout that is not 0 is over.
func deadlineAfter(now, timeout time.Duration) time.Duration {
	if timeout < 0 || timeout > noDeadline-now {
		return noDeadline
	}
	return now + timeout
}

// collect moves events out of the lists, and returns how many.
func (p *Poller) collect(events []poller.Event) int {
	count := copy(events, p.stale)
	p.stale = p.stale[:copy(p.stale, p.stale[count:])]
	for count < len(events) && p.ready.len() > 0 {
		d := p.current(p.ready.pop())
		if d == nil {
			continue
		}
		events[count] = poller.Event{Token: d.token, Ready: d.ready}
		d.ready, d.queued = 0, false
		p.live--
		count++
	}
	return count
}

// sleep lets go of the lock until it is roused or the real clock comes to the
// deadline. It may return early.
func (p *Poller) sleep(deadline time.Duration) {
	p.asleep, p.deadline = true, deadline
	p.mu.Unlock()
	p.net.maybeIdle()
	if p.timer != nil && deadline != noDeadline {
		p.timer.Reset(deadline - p.net.Now())
		select {
		case <-p.signal:
		case <-p.timer.C:
		}
	} else {
		<-p.signal
	}
	p.mu.Lock()
	p.asleep = false
}

// Wake makes the Wait under way, or else the next one, return soon.
func (p *Poller) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.woken = true
	p.rouse()
}

// clockMoved ends a Wait whose timeout is over.
func (p *Poller) clockMoved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.net.Now() >= p.deadline {
		p.rouse()
	}
}

// idle reports whether the poller sleeps with nothing due. p.mu is held.
func (p *Poller) idle() bool {
	return p.asleep && p.live == 0 && len(p.stale) == 0 && !p.woken && p.net.Now() < p.deadline
}

// Close frees the poller, not the descriptors in it.
func (p *Poller) Close() error {
	if p.closed.Swap(true) {
		p.net.violate("close", -1, "the poller is closed already")
		return poller.ErrClosed
	}
	p.net.forget(p)
	p.net.maybeIdle() // the others may have been idle all along
	return nil
}
