//go:build linux || darwin || dragonfly || freebsd

package poller

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func (s sockets) Connect(local netip.Addr, remote netip.AddrPort) (int, error) {
	local, remote = local.Unmap(), netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if !remote.IsValid() || local.IsValid() && local.Is4() != remote.Addr().Is4() {
		return -1, systemError("connect", unix.EAFNOSUPPORT)
	}
	family := unix.AF_INET6
	if remote.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := openStream(family, unix.IPPROTO_TCP)
	if err != nil {
		return -1, systemError("socket", err)
	}
	if err := s.beginConnect(fd, local, remote); err != nil {
		_ = s.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (s sockets) beginConnect(fd int, local netip.Addr, remote netip.AddrPort) error {
	if err := s.SetNoDelay(fd, true); err != nil {
		return err
	}
	if local.IsValid() {
		if err := bindAddress(fd, local); err != nil {
			return err
		}
	}
	to, err := socketAddress(remote)
	if err != nil {
		return err
	}
	switch err := unix.Connect(fd, to); err {
	case nil, unix.EINPROGRESS, unix.EINTR: // interrupted, it goes on by itself
		return nil
	case unix.EADDRNOTAVAIL, unix.EAGAIN: // FreeBSD's word is EAGAIN
		return noPorts("connect", err)
	default:
		return systemError("connect", err)
	}
}

// bindAddress leaves the port to connect, which knows the remote address.
func bindAddress(fd int, local netip.Addr) error {
	from, err := socketAddress(netip.AddrPortFrom(local, 0))
	if err != nil {
		return err
	}
	bindWithoutPort(fd)
	switch err := unix.Bind(fd, from); err {
	case nil:
		return nil
	case unix.EADDRINUSE: // a port was chosen after all
		return noPorts("bind", err)
	default:
		return systemError("bind", err)
	}
}

func noPorts(call string, err error) error {
	return fmt.Errorf("%w: %w", ErrNoPorts, os.NewSyscallError(call, err))
}

func (sockets) ConnectError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return systemError("getsockopt", err)
	}
	if code != 0 {
		return systemError("connect", syscall.Errno(code))
	}
	peer, err := unix.Getpeername(fd)
	if err == unix.ENOTCONN {
		return ErrAgain // an event that was early
	}
	if err != nil {
		return systemError("getpeername", err)
	}
	// Where nobody listens on a port that the system also chooses from, TCP may
	// connect a socket to itself, and keep the listener off its port.
	if self, err := unix.Getsockname(fd); err == nil && addrPort(self) == addrPort(peer) {
		return systemError("connect", unix.ECONNREFUSED)
	}
	return nil
}

func (sockets) ResetOnClose(fd int) error {
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return systemError("setsockopt", err)
	}
	return nil
}

// socketAddress is addrPort the other way.
func socketAddress(a netip.AddrPort) (unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	zone, err := zoneNumber(a.Addr().Zone())
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zone}, nil
}

// zoneNumber returns the number of an IPv6 zone, which may be an interface's
// name.
func zoneNumber(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if number, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(number), nil
	}
	device, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("poller: IPv6 zone %q: %w", zone, exhaustedError(err))
	}
	return uint32(device.Index), nil
}

// addrPort is zero for a unix socket.
func addrPort(address unix.Sockaddr) netip.AddrPort {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(a.ZoneId), 10))
		}
		return netip.AddrPortFrom(ip, uint16(a.Port))
	}
	return netip.AddrPort{}
}
