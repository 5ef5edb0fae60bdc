//go:build linux || darwin || dragonfly || freebsd

package poller

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Inherit gives a listener of Go's net package for a descriptor that the process was
// given: by systemd's socket activation, where the first is 3, or by its parent. The
// listener takes its place, and closes it in the end; the file of a Unix socket stays.
//
// The error says what the descriptor is instead, which is left alone then: none (EBADF),
// no socket (ENOTSOCK), or one that does not listen for streams (EINVAL), all as
// os.SyscallError, wrapped.
func Inherit(fd int) (net.Listener, error) {
	if err := inheritable(fd); err != nil {
		return nil, fmt.Errorf("poller: descriptor %d: %w", fd, err)
	}
	file := os.NewFile(uintptr(fd), "inherited")
	defer file.Close() // the listener has a copy
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("poller: descriptor %d: %w", fd, exhaustedError(err))
	}
	return ln, nil
}

// inheritable looks before there is an os.File, whose end would close what may be the Go
// runtime's own.
func inheritable(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM || !listens(fd) {
		return os.NewSyscallError("accept", unix.EINVAL)
	}
	return nil
}

// listens says whether a socket does, as far as the system tells.
func listens(fd int) bool {
	yes, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err != nil || yes != 0
}
