//go:build linux || darwin || dragonfly || freebsd

package poller

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketListener is a listening socket of the kernel.
type socketListener struct {
	addr   net.Addr
	tcp    bool
	file   *socketFile  // of a unix socket; nil: none
	origin net.Listener // whose copy it is, closed with it; nil: it is none

	// mu lets no Accept use fd after Close, when it may be another file's.
	mu     sync.RWMutex
	fd     int
	closed bool
}

func (l *socketListener) FD() int        { return l.fd }
func (l *socketListener) Addr() net.Addr { return l.addr }

func (l *socketListener) Accept() (int, netip.AddrPort, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return -1, netip.AddrPort{}, ErrClosed
	}
	if l.origin != nil {
		l.unblock()
	}
	fd, remote, err := accept(l.fd)
	if err == nil && l.tcp && !inheritsNoDelay {
		// It only fails on a connection that is gone, as its first Read tells.
		_ = sockets{}.SetNoDelay(fd, true)
	}
	return fd, remote, err
}

// Close also removes the file of a unix socket, while fd still keeps its number from
// being another's.
func (l *socketListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.closed = true
	l.file.remove()
	if l.origin != nil {
		_ = l.origin.Close() // its owner may have; a Unix socket's file goes now
	}
	if l.fd < 0 {
		return nil
	}
	return sockets{}.Close(l.fd)
}

// unblock undoes what others may have done to the socket, which is theirs as well: who
// gives it to another process, for example, makes it block (os/exec).
func (l *socketListener) unblock() {
	flags, err := unix.FcntlInt(uintptr(l.fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		_ = unix.SetNonblock(l.fd, true) // fails on no open descriptor
	}
}

// Adopt implements [Adopter].
func (s sockets) Adopt(ln net.Listener) (Listener, error) {
	from := ln
	if own, ok := ln.(*unixListener); ok {
		from = own.Listener
	}
	_, tcp := from.(*net.TCPListener)
	if _, isUnix := from.(*net.UnixListener); !tcp && !isUnix {
		return nil, unsupportedError(fmt.Sprintf("cannot adopt a %T: it has no descriptor of its own", ln))
	}
	fd, err := takeDescriptor(from.(syscall.Conn))
	if err != nil {
		return nil, err
	}
	if err = adoptable(fd); err == nil && tcp {
		err = s.SetNoDelay(fd, true) // where connections inherit it
	}
	if err != nil {
		_ = s.Close(fd)
		return nil, err
	}
	return &socketListener{addr: ln.Addr(), tcp: tcp, origin: ln, fd: fd}, nil
}

// adoptable says whether connections can be accepted from a socket, and have a stream.
func adoptable(fd int) error {
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return unsupportedError("cannot adopt a listener of datagrams")
	}
	if !listens(fd) {
		return fmt.Errorf("poller: the socket does not listen: %w", os.NewSyscallError("accept", unix.EINVAL))
	}
	return nil
}
