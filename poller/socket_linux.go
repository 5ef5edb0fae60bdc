package poller

import (
	"encoding/binary"
	"io"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here never block, so they skip the scheduler's bookkeeping for
// calls that may (RawSyscall). Each unsafe.Pointer hands the kernel the address
// of memory that it reads or writes during the call, and no longer.

// maxPieces is how many pieces one Writev takes.
const maxPieces = 64

func (sockets) Read(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, systemError("recvfrom", errno)
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

func (sockets) Write(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, systemError("sendto", errno)
		}
	}
}

func (sockets) Writev(fd int, pieces [][]byte) (int, error) {
	var vector [maxPieces]unix.Iovec
	n := 0
	for _, piece := range pieces[:min(len(pieces), maxPieces)] {
		if len(piece) > 0 {
			vector[n].Base = &piece[0]
			vector[n].SetLen(len(piece))
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	message := unix.Msghdr{Iov: &vector[0]}
	message.SetIovlen(n)
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&message)), unix.MSG_NOSIGNAL)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, systemError("sendmsg", errno)
		}
	}
}

func (sockets) Close(fd int) error {
	// Never again after EINTR: Linux has freed the number by then.
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return systemError("close", errno)
	}
	return nil
}

// RTT reads the kernel's TCP_INFO.
func (sockets) RTT(fd int) (time.Duration, error) {
	var info unix.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, systemError("getsockopt", errno)
	}
	return time.Duration(info.Rtt) * time.Microsecond, nil
}

// Unacked asks for what is between the first byte without an acknowledgement
// and the last one written.
func (sockets) Unacked(fd int) (int, error) { return ioctlInt(fd, unix.SIOCOUTQ) }

func (sockets) Unread(fd int) (int, error) { return ioctlInt(fd, unix.SIOCINQ) }

// ioctlInt asks for a number of a descriptor, which the kernel writes as a C int.
func ioctlInt(fd int, request uintptr) (int, error) {
	var n int32
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0, systemError("ioctl", errno)
	}
	return int(n), nil
}

// accept takes one connection off a listener's queue.
func accept(listener int) (int, netip.AddrPort, error) {
	for {
		var address unix.RawSockaddrAny
		size := uint32(unix.SizeofSockaddrAny)
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener),
			uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno == 0 {
			return int(fd), rawAddrPort(&address), nil
		}
		if !acceptAgain(errno) {
			return -1, netip.AddrPort{}, systemError("accept4", errno)
		}
	}
}

// inheritsNoDelay: an accepted socket has its listener's TCP_NODELAY.
const inheritsNoDelay = true

// rawAddrPort reads the kernel's address; it is zero for a unix socket.
func rawAddrPort(address *unix.RawSockaddrAny) netip.AddrPort {
	switch address.Addr.Family {
	case unix.AF_INET:
		// unsafe: the family says which of the kernel's structures this is.
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(address))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), networkOrder(a.Port))
	case unix.AF_INET6:
		// unsafe: as above.
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(address))
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.Itoa(int(a.Scope_id)))
		}
		return netip.AddrPortFrom(ip, networkOrder(a.Port))
	}
	return netip.AddrPort{}
}

// networkOrder reads a port whose two bytes stand in network order.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// openStream opens a stream socket: non-blocking, close-on-exec.
func openStream(family, protocol int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
}

// bindWithoutPort has bind take the address only, so that connect can share a
// port among remote addresses. A Linux before 4.2 does not know the option; bind
// chooses the port there.
func bindWithoutPort(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// dup copies a descriptor, close-on-exec.
func dup(fd int) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, systemError("fcntl", errno)
	}
	return int(n), nil
}
