//go:build linux || darwin || dragonfly || freebsd

package poller

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// easygoEngine is the kernel's network with package netpoll of easygo, which
// brings kqueue: the default on macOS, FreeBSD and DragonFly (easygo does not
// compile on OpenBSD and NetBSD). It shares all but readiness with epoll's
// engine. easygo_linux.go and easygo_bsd.go define queue, with newQueue and the
// methods add, remove, forget and close.
//
// Of easygo it uses the bare queue on raw descriptors, whose callbacks only
// note the event for Wait. Its Handle functions would duplicate every
// descriptor and switch sockets to blocking.
type easygoEngine struct{ sockets }

var (
	_ Dialer  = easygoEngine{}
	_ Adopter = easygoEngine{}
	_ Gauge   = easygoEngine{}
	_ Namer   = easygoEngine{}
)

func (easygoEngine) Name() string { return "easygo" }

func (easygoEngine) NewPoller() (Poller, error) {
	box := newMailbox()
	q, err := newQueue(box)
	if err != nil {
		return nil, err
	}
	return &easygoPoller{queue: q, box: box, registered: make(map[int]*registration)}, nil
}

// easygoPoller is one easygo queue with its goroutine, which waits for the
// kernel, and the mailbox between that and Wait.
type easygoPoller struct {
	box   *mailbox
	queue *queue

	// mu guards what follows. easygo's lock and the mailbox's are taken under
	// it; a callback takes the mailbox's only.
	mu         sync.Mutex
	closed     bool
	registered map[int]*registration
}

func (p *easygoPoller) Add(fd int, t Token) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	// easygo's entry for the number must stay the first registration's.
	if p.registered[fd] != nil {
		return systemError("easygo add", unix.EEXIST)
	}
	r := &registration{token: t}
	if err := p.queue.add(fd, r); err != nil {
		p.box.remove(r)
		return systemError("easygo add", err)
	}
	p.registered[fd] = r
	return nil
}

func (p *easygoPoller) Remove(fd int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if err := p.unregister(fd); err != nil {
		return err
	}
	if err := p.queue.remove(fd); err != nil {
		return systemError("easygo remove", err)
	}
	return nil
}

// CloseFD leaves easygo's table before the close: its entry would refuse the
// number's next owner for ever. The lock is held over both, lest that owner's
// Add come between.
func (p *easygoPoller) CloseFD(fd int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.unregister(fd) == nil {
		p.queue.forget(fd)
	}
	return sockets{}.Close(fd)
}

func (p *easygoPoller) unregister(fd int) error {
	r := p.registered[fd]
	if r == nil {
		return systemError("easygo remove", unix.ENOENT)
	}
	delete(p.registered, fd)
	p.box.remove(r)
	return nil
}

func (p *easygoPoller) Wait(events []Event, timeout time.Duration) (int, error) {
	return p.box.wait(events, timeout)
}

// Wake does nothing that matters after Close: nobody waits any more.
func (p *easygoPoller) Wake() { p.box.wake() }

func (p *easygoPoller) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.closed = true
	p.registered = nil
	if err := p.queue.close(); err != nil {
		return fmt.Errorf("poller: closing easygo's queue: %w", err)
	}
	return nil
}

// waitFailed is what easygo calls when its goroutine can't wait any more.
func (m *mailbox) waitFailed(err error) {
	m.fail(fmt.Errorf("poller: easygo stopped waiting: %w", err))
}
