//go:build linux || darwin || dragonfly || freebsd

package poller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sockets is the kernel's network without readiness: the part of [Dialer] that
// epoll's and easygo's engines share, and [Gauge]'s and [Namer]'s. socket_linux.go and
// socket_bsd.go define its Read, Write, Writev, Close and Unread, the functions
// accept, dup, openStream and bindWithoutPort, and inheritsNoDelay. Unacked is in
// socket_linux.go, and in a file of each BSD's own.
type sockets struct{}

func (sockets) Now() time.Duration { return time.Since(start) }

func (sockets) CloseWrite(fd int) error {
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return systemError("shutdown", err)
	}
	return nil
}

func (sockets) LocalAddr(fd int) (netip.AddrPort, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, systemError("getsockname", err)
	}
	return addrPort(local), nil
}

func (sockets) SetNoDelay(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, value)
	if err == unix.EOPNOTSUPP || err == unix.ENOPROTOOPT {
		return nil // a unix socket never waits for more bytes
	}
	if err != nil {
		return systemError("setsockopt", err)
	}
	return nil
}

// Listen lets Go's net package resolve a TCP address, open the socket
// (SO_REUSEADDR, the system's longest backlog) and name its errors, and keeps a
// copy of the descriptor, which is out of the runtime's own poller.
func (s sockets) Listen(network, address string) (Listener, error) {
	switch network {
	case "unix":
		return s.ListenUnix(address, 0)
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	var config net.ListenConfig
	// Go's default on Linux is an MPTCP listener, whose connections cost more
	// and take fewer socket options.
	config.SetMultipathTCP(false)
	nl, err := config.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("poller: %w", exhaustedError(err))
	}
	l := &socketListener{addr: nl.Addr(), tcp: true}
	l.fd, err = takeDescriptor(nl.(syscall.Conn))
	nl.Close()
	if err == nil {
		err = s.SetNoDelay(l.fd, true)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Attach keeps a copy of the connection's descriptor, which shares all with it,
// and closes the original. It takes a type of net itself only: a type that
// wraps one may hold bytes, or encrypt them.
func (sockets) Attach(c net.Conn) (int, netip.AddrPort, error) {
	none := netip.AddrPort{}
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return -1, none, unsupportedError(fmt.Sprintf("cannot attach a %T: it has no descriptor of its own", c))
	}
	fd, err := takeDescriptor(c.(syscall.Conn))
	if err != nil {
		return -1, none, err
	}
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		_ = sockets{}.Close(fd)
		return -1, none, unsupportedError("cannot attach a connection of datagrams")
	}
	// With a linger time (net's SetLinger) even a non-blocking close blocks.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	var remote netip.AddrPort
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		remote = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	c.Close()
	return fd, remote, nil
}

// takeDescriptor returns a copy of the descriptor under a connection or
// listener of net. Unlike its File method this never makes the socket block.
func takeDescriptor(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("poller: %w", err)
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(original uintptr) { fd, dupErr = dup(int(original)) }); err != nil {
		return -1, fmt.Errorf("poller: %w", err)
	}
	return fd, dupErr
}

// Detach gives net a copy, so that on an error fd is still whole and open.
func (s sockets) Detach(fd int) (net.Conn, error) {
	other, err := dup(fd)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(other), "millrace")
	c, err := net.FileConn(file) // on a copy of its own
	file.Close()
	if err != nil {
		// FileConn may have made the socket, which fd shares, block.
		_ = unix.SetNonblock(fd, true)
		return nil, fmt.Errorf("poller: %w", exhaustedError(err))
	}
	_ = s.Close(fd)
	return c, nil
}

// acceptAgain tells the errors of a connection that was gone before it was
// taken, or of a signal.
func acceptAgain(err error) bool {
	return err == unix.ECONNABORTED || err == unix.EPROTO || err == unix.EINTR
}

// systemError is the error of a system call in the words of the contract.
func systemError(call string, err error) error {
	if err == unix.EAGAIN {
		return ErrAgain
	}
	return exhaustedError(os.NewSyscallError(call, err))
}

// exhaustedError wraps ErrExhausted round an error that says that.
func exhaustedError(err error) error {
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ENOSPC} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: %w", ErrExhausted, err)
		}
	}
	return err
}
