package poller

import (
	"reflect"
	"syscall"

	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// queue is easygo's epoll.
type queue struct {
	epoll *netpoll.Epoll
	box   *mailbox
}

// easygoClosed is the event with which easygo tells every callback of its Close.
const easygoClosed = 0x20

func newQueue(box *mailbox) (*queue, error) {
	// easygo opens its two descriptors without close-on-exec: no child may
	// start before they have it.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	epoll, err := netpoll.EpollCreate(&netpoll.EpollConfig{OnWaitError: box.waitFailed})
	if err != nil {
		return nil, systemError("easygo epoll create", err)
	}
	for _, name := range []string{"fd", "eventFd"} {
		unix.CloseOnExec(privateDescriptor(epoll, name))
	}
	return &queue{epoll: epoll, box: box}, nil
}

// privateDescriptor reads a descriptor that easygo does not export. The version
// in go.mod is fixed, and a test holds what this relies on.
func privateDescriptor(epoll *netpoll.Epoll, field string) int {
	return int(reflect.ValueOf(epoll).Elem().FieldByName(field).Int())
}

func (q *queue) add(fd int, r *registration) error {
	err := q.epoll.Add(fd, socketEvents, func(bits netpoll.EpollEvent) {
		if bits&easygoClosed == 0 {
			q.box.note(r, epollReady(uint32(bits)))
		}
	})
	if err != nil {
		q.forget(fd) // a failed Add leaves the number in easygo's table
	}
	return err
}

// remove takes fd out of easygo's table and of the kernel's.
func (q *queue) remove(fd int) error { return q.epoll.Del(fd) }

// forget is remove for a descriptor that is about to be closed, or never came in.
func (q *queue) forget(fd int) { _ = q.epoll.Del(fd) }

func (q *queue) close() error { return q.epoll.Close() }
