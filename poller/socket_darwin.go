package poller

import "golang.org/x/sys/unix"

// Unacked asks for what is in the socket's send buffer.
func (sockets) Unacked(fd int) (int, error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	if err != nil {
		return 0, systemError("getsockopt", err)
	}
	return n, nil
}
