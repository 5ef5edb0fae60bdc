//go:build darwin || dragonfly || freebsd

package poller

import (
	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// queue is easygo's kqueue. The kernel does not pass a kqueue on to child
// processes, so it needs no close-on-exec.
type queue struct {
	kqueue *netpoll.Kqueue
	box    *mailbox
}

func newQueue(box *mailbox) (*queue, error) {
	kqueue, err := netpoll.KqueueCreate(&netpoll.KqueueConfig{OnWaitError: box.waitFailed})
	if err != nil {
		return nil, systemError("easygo kqueue create", err)
	}
	return &queue{kqueue: kqueue, box: box}, nil
}

// bothFilters are the changes that add or delete a descriptor for reading and
// writing.
func bothFilters(flags netpoll.KeventFlag) netpoll.Kevents {
	return netpoll.Kevents{
		{Filter: netpoll.EVFILT_READ, Flags: flags},
		{Filter: netpoll.EVFILT_WRITE, Flags: flags},
	}
}

func (q *queue) add(fd int, r *registration) error {
	err := q.kqueue.Add(fd, bothFilters(netpoll.EV_ADD|netpoll.EV_CLEAR), 2, func(e netpoll.Kevent) {
		q.box.note(r, keventReady(e))
	})
	if err != nil {
		_ = q.remove(fd) // one filter may be in, and the number is in easygo's table
	}
	return err
}

func keventReady(e netpoll.Kevent) Ready {
	var r Ready
	switch e.Filter {
	case netpoll.EVFILT_READ:
		r = Readable
	case netpoll.EVFILT_WRITE:
		r = Writable
	}
	if e.Flags&(netpoll.EV_EOF|netpoll.EV_ERROR) != 0 {
		r |= Readable | Hangup
	}
	return r
}

// remove deletes the filters first: after Del easygo knows the number no more.
func (q *queue) remove(fd int) error {
	err := q.kqueue.Mod(fd, bothFilters(netpoll.EV_DELETE), 2)
	q.forget(fd)
	return err
}

// forget is remove for a descriptor that is about to be closed, with which its
// filters go.
func (q *queue) forget(fd int) { _ = q.kqueue.Del(fd) }

// close makes easygo's goroutine end and close the kqueue, which easygo's own
// Close does not: the goroutine returns on an event of the number -1, and a
// timer may have any number. Where the kernel refuses the timer, the kqueue
// stays open, as easygo leaves it.
func (q *queue) close() error {
	const easygoStop = -1
	timer := netpoll.Kevents{{Filter: unix.EVFILT_TIMER, Flags: netpoll.EV_ADD | netpoll.EV_ONESHOT}}
	_ = q.kqueue.Add(easygoStop, timer, 1, func(netpoll.Kevent) {})
	return nil
}
