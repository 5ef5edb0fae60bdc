package poller

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollEngine is the kernel's network with epoll, the default on Linux.
type epollEngine struct{ sockets }

var (
	_ Dialer  = epollEngine{}
	_ Adopter = epollEngine{}
	_ Gauge   = epollEngine{}
	_ Namer   = epollEngine{}
)

func (epollEngine) Name() string { return "epoll" }

func (epollEngine) NewPoller() (Poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, systemError("epoll_create1", err)
	}
	p := &epollPoller{epfd: epfd}
	if err := p.parking.open(epfd); err != nil {
		unix.Close(epfd)
		return nil, systemError("fcntl", err)
	}
	if p.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.parking.close()
		unix.Close(epfd)
		return nil, systemError("eventfd2", err)
	}
	if err := p.control(unix.EPOLL_CTL_ADD, p.wakefd, unix.EPOLLIN|unix.EPOLLET, wakeToken); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

const (
	// socketEvents is everything a connection may report, edge by edge, so that
	// its registration never has to change.
	socketEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	// endedEvents tell that no more edges for reading will come.
	endedEvents = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	// wakeToken marks the eventfd among the events.
	wakeToken = ^Token(0)
)

// epollPoller is one epoll instance and the eventfd that wakes it.
type epollPoller struct {
	// mu lets no call use the two descriptors after Close, when their numbers
	// may be another file's: Add, Remove and Wake hold it for reading.
	mu     sync.RWMutex
	closed bool
	epfd   int
	wakefd int

	// woken is true from the first Wake to the Wait that sees it.
	woken atomic.Bool
	// buffer receives the kernel's events; it belongs to the one that waits.
	buffer []unix.EpollEvent
	// parking is how it waits while there is little to do.
	parking parking
}

func (p *epollPoller) Add(fd int, t Token) error {
	if t == wakeToken {
		return systemError("epoll_ctl", unix.EINVAL)
	}
	return p.control(unix.EPOLL_CTL_ADD, fd, socketEvents, t)
}

func (p *epollPoller) Remove(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

// CloseFD only closes: the kernel takes a file out of every epoll instance when
// its last descriptor closes, and ours is the only one. (A child that is
// between fork and exec holds a copy for a moment; what it lets through has the
// old token.) That saves a system call for every connection.
func (p *epollPoller) CloseFD(fd int) error { return sockets{}.Close(fd) }

func (p *epollPoller) control(op, fd int, events uint32, t Token) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return ErrClosed
	}
	// Fd and Pad are the two halves of the 64 bits the kernel hands back.
	event := unix.EpollEvent{Events: events, Fd: int32(t), Pad: int32(t >> 32)}
	// unsafe: the kernel reads the event through this pointer.
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.epfd), uintptr(op),
		uintptr(fd), uintptr(unsafe.Pointer(&event)), 0, 0)
	if errno != 0 {
		return systemError("epoll_ctl", errno)
	}
	return nil
}

// Wait looks without blocking first: a call that can't block needs none of the
// scheduler's bookkeeping, and on a busy server there nearly always is an event.
// If not, it parks; or it blocks, after other goroutines had their turn. See parking.
func (p *epollPoller) Wait(events []Event, timeout time.Duration) (int, error) {
	if len(events) == 0 {
		return 0, nil
	}
	if len(p.buffer) < len(events) {
		p.buffer = make([]unix.EpollEvent, len(events))
	}
	ready := p.buffer[:len(events)]
	n, errno := look(p.epfd, ready)
	switch {
	case n > 0 || errno != 0 || timeout == 0:
	case p.parking.calm():
		n, errno = p.parking.wait(ready, timeout)
	default:
		runtime.Gosched()
		n, errno = p.block(ready, timeout)
	}
	if errno != 0 {
		return 0, os.NewSyscallError("epoll_pwait", errno)
	}
	p.parking.count(n)
	return p.translate(events, ready[:n]), nil
}

// look asks for events without blocking.
func look(epfd int, ready []unix.EpollEvent) (int, syscall.Errno) {
	for {
		// unsafe: the kernel writes the events through this pointer.
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
			uintptr(unsafe.Pointer(&ready[0])), uintptr(len(ready)), 0, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// block sleeps until there are events or the timeout is over; below 0 is none.
func (p *epollPoller) block(ready []unix.EpollEvent, timeout time.Duration) (int, syscall.Errno) {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	for {
		// unsafe: the kernel writes the events through this pointer.
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd),
			uintptr(unsafe.Pointer(&ready[0])), uintptr(len(ready)),
			uintptr(milliseconds(timeout)), 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
		if timeout > 0 {
			timeout = max(time.Until(deadline), 0)
		}
	}
}

// milliseconds rounds up, lest a Wait for a deadline end just before it and
// spin; -1 is no timeout.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	const most = 1<<31 - 1
	return int(min((timeout+time.Millisecond-1)/time.Millisecond, most))
}

// translate turns the kernel's events into ours and takes the wake-up out.
func (p *epollPoller) translate(events []Event, ready []unix.EpollEvent) int {
	n := 0
	for i := range ready {
		t := Token(uint32(ready[i].Fd)) | Token(uint32(ready[i].Pad))<<32
		if t == wakeToken {
			// The eventfd is never read: each write to it is an edge. Swap, not
			// Store: it orders what the waker did before Wake with what follows.
			p.woken.Swap(false)
			continue
		}
		events[n] = Event{Token: t, Ready: epollReady(ready[i].Events)}
		n++
	}
	return n
}

func epollReady(bits uint32) Ready {
	var r Ready
	if bits&(unix.EPOLLIN|endedEvents) != 0 {
		r |= Readable
	}
	if bits&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		r |= Writable
	}
	if bits&endedEvents != 0 {
		r |= Hangup
	}
	return r
}

func (p *epollPoller) Wake() {
	if p.woken.Swap(true) {
		return
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return
	}
	one := [8]byte{1}
	// unsafe: the kernel reads the eight bytes through this pointer. The write
	// can't fail: it would take 2^64 of them to fill the counter.
	unix.RawSyscall(unix.SYS_WRITE, uintptr(p.wakefd), uintptr(unsafe.Pointer(&one[0])), 8)
}

func (p *epollPoller) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.closed = true
	p.parking.close()
	unix.Close(p.wakefd)
	return os.NewSyscallError("close", unix.Close(p.epfd))
}
