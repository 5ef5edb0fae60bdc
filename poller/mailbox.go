//go:build linux || darwin || dragonfly || freebsd

package poller

import (
	"sync"
	"time"
)

// mailbox holds what easygo's callbacks noted until Wait takes it. It needs no
// bound of its own: each registration stands in it at most once, its readiness
// merged, and leaves it with its removal.
type mailbox struct {
	// mu guards all of it and the fields of the registrations. No other lock is
	// taken under it.
	mu          sync.Mutex
	first, last *registration // the noted ones, oldest first
	woken       bool
	failure     error // why easygo's own waiting ended

	// signal has an element when there may be something to take.
	signal chan struct{}
	// timer belongs to the one that waits.
	timer *time.Timer
}

// registration is one descriptor's from Add to its removal. Its place in the
// mailbox is a link in it, so that noting and removing it cost nothing.
type registration struct {
	token      Token
	ready      Ready // 0 while it is not in the mailbox
	removed    bool
	prev, next *registration
}

func newMailbox() *mailbox {
	m := &mailbox{signal: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	m.timer.Stop()
	return m
}

// note adds to what a registration is ready for. What easygo still calls back
// for after the removal is dropped.
func (m *mailbox) note(r *registration, ready Ready) {
	if ready == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.removed {
		return
	}
	if r.ready == 0 {
		m.link(r)
	}
	r.ready |= ready
	m.rouse()
}

// remove takes a registration out, for good.
func (m *mailbox) remove(r *registration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.removed = true
	if r.ready != 0 {
		m.unlink(r)
		r.ready = 0
	}
}

// wake makes one wait return.
func (m *mailbox) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.woken = true
	m.rouse()
}

// fail makes every wait from now on return the error, once nothing is noted.
func (m *mailbox) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = err
	m.rouse()
}

// wait is [Poller.Wait].
func (m *mailbox) wait(events []Event, timeout time.Duration) (int, error) {
	n, over, err := m.take(events)
	if over || timeout == 0 {
		return n, err
	}
	var expired <-chan time.Time
	if timeout > 0 {
		m.timer.Reset(timeout)
		defer m.timer.Stop()
		expired = m.timer.C
	}
	for {
		select {
		case <-m.signal:
		case <-expired:
			n, _, err := m.take(events)
			return n, err
		}
		if n, over, err := m.take(events); over {
			return n, err
		}
	}
}

// take moves what is noted to events; over says whether wait is to return.
func (m *mailbox) take(events []Event) (n int, over bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n < len(events) && m.first != nil {
		r := m.first
		m.unlink(r)
		events[n] = Event{Token: r.token, Ready: r.ready}
		r.ready = 0
		n++
	}
	over = n > 0 || m.woken || m.failure != nil || len(events) == 0
	m.woken = false
	if n == 0 {
		err = m.failure
	}
	return n, over, err
}

// rouse signals without blocking: one signal is enough.
func (m *mailbox) rouse() {
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

func (m *mailbox) link(r *registration) {
	r.prev = m.last
	if m.last == nil {
		m.first = r
	} else {
		m.last.next = r
	}
	m.last = r
}

func (m *mailbox) unlink(r *registration) {
	if r.prev == nil {
		m.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		m.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}
