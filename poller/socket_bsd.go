//go:build darwin || dragonfly || freebsd

package poller

import (
	"io"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPieces is how many pieces one Writev takes.
const maxPieces = 64

func (sockets) Read(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.Read(fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, systemError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s sockets) Write(fd int, p []byte) (int, error) {
	return s.Writev(fd, [][]byte{p})
}

func (sockets) Writev(fd int, pieces [][]byte) (int, error) {
	pieces = pieces[:min(len(pieces), maxPieces)]
	size := 0
	for _, piece := range pieces {
		size += len(piece)
	}
	if size == 0 {
		return 0, nil
	}
	for {
		n, err := unix.SendmsgBuffers(fd, pieces, nil, nil, unix.MSG_NOSIGNAL)
		if err == nil {
			return n, nil
		}
		if err != unix.EINTR {
			return 0, systemError("sendmsg", err)
		}
	}
}

func (sockets) Close(fd int) error {
	// Never again after EINTR: the number is free by then.
	return os.NewSyscallError("close", unix.Close(fd))
}

// fionread is FIONREAD of sys/filio.h, which x/sys leaves out.
const fionread = 0x4004667f

func (sockets) Unread(fd int) (int, error) { return ioctlInt(fd, fionread) }

// ioctlInt asks for a number of a descriptor.
func ioctlInt(fd int, request uint) (int, error) {
	n, err := unix.IoctlGetInt(fd, request)
	if err != nil {
		return 0, systemError("ioctl", err)
	}
	return n, nil
}

// accept takes one connection off a listener's queue.
func accept(listener int) (int, netip.AddrPort, error) {
	for {
		fd, address, err := acceptCloseOnExec(listener)
		if err == nil {
			if err = unix.SetNonblock(fd, true); err != nil {
				unix.Close(fd)
				return -1, netip.AddrPort{}, systemError("fcntl", err)
			}
			return fd, addrPort(address), nil
		}
		if !acceptAgain(err) {
			return -1, netip.AddrPort{}, systemError("accept", err)
		}
	}
}

// acceptCloseOnExec lets no child start between the two calls: macOS has no
// accept4.
func acceptCloseOnExec(listener int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, address, err := unix.Accept(listener)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, address, err
}

// inheritsNoDelay: whether an accepted socket has its listener's TCP_NODELAY
// differs between these systems, so it is set on each.
const inheritsNoDelay = false

// openStream opens a stream socket: non-blocking, close-on-exec. The lock lets no
// child start between the two calls.
func openStream(family, protocol int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, protocol)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bindWithoutPort does nothing: these systems choose the port in bind.
func bindWithoutPort(int) {}

// dup copies a descriptor, close-on-exec.
func dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, systemError("fcntl", err)
	}
	return n, nil
}
