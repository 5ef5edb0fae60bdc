package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// firstFreePort is the first port that Listen chooses by itself.
const firstFreePort = 49152

// address is what a listener is found by.
type address struct {
	port uint16 // 0: a unix socket
	path string
}

// listenAddress resolves the address of a listener, and chooses the port if it
// is 0. n.mu is held.
func (n *Network) listenAddress(network, text string) (address, net.Addr, error) {
	if network == "unix" {
		return address{path: text}, &net.UnixAddr{Name: text, Net: network}, nil
	}
	ip, port, err := splitTCP(network, text)
	if err != nil {
		return address{}, nil, err
	}
	if port == 0 {
		if port, err = n.freePort(); err != nil {
			return address{}, nil, err
		}
	}
	return address{port: port}, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, port)), nil
}

// splitTCP reads the address of a TCP listener.
func splitTCP(network, text string) (netip.Addr, uint16, error) {
	wildcard := netip.IPv6Unspecified()
	switch network {
	case "tcp", "tcp6":
	case "tcp4":
		wildcard = netip.IPv4Unspecified()
	default:
		return netip.Addr{}, 0, fmt.Errorf("simnet: %w", net.UnknownNetworkError(network))
	}
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("simnet: %w", err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("simnet: port of %s: %w", text, err)
	}
	ip := wildcard
	switch host {
	case "":
	case "localhost":
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		if ip, err = netip.ParseAddr(host); err != nil {
			return netip.Addr{}, 0, fmt.Errorf("simnet: host of %s: %w", text, err)
		}
	}
	if network == "tcp4" && !ip.Is4() || network == "tcp6" && ip.Is4() {
		return netip.Addr{}, 0, fmt.Errorf("simnet: %s is no %s address", text, network)
	}
	return ip, uint16(port), nil
}

// freePort returns a port that nobody listens on, each in its turn.
func (n *Network) freePort() (uint16, error) {
	for range 1<<16 - firstFreePort {
		n.lastPort++
		if n.lastPort < firstFreePort {
			n.lastPort = firstFreePort
		}
		if n.listeners[address{port: n.lastPort}] == nil {
			return n.lastPort, nil
		}
	}
	return 0, fmt.Errorf("simnet: no port left to listen on")
}

// dialAddress resolves what a client dials: any host with a port, or a path.
func dialAddress(text string) (address, error) {
	colon := strings.LastIndexByte(text, ':')
	port, err := strconv.ParseUint(text[colon+1:], 10, 16)
	if colon >= 0 && err == nil {
		return address{port: uint16(port)}, nil
	}
	if strings.ContainsAny(text, "/@") {
		return address{path: text}, nil
	}
	return address{}, fmt.Errorf("simnet: %q has no port and is no path", text)
}

// LocalAddr returns the address of this end; see [poller.Namer].
func (n *Network) LocalAddr(fd int) (netip.AddrPort, error) {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return netip.AddrPort{}, n.badFD("getsockname", fd)
	}
	defer c.mu.Unlock()
	return c.addrPort(s), nil
}

// addrPort returns the address of an end, or none for a unix socket. c.mu is
// held, as for clientAddr and netAddr.
func (c *Conn) addrPort(s side) netip.AddrPort {
	tcp, ok := c.listener.addr.(*net.TCPAddr)
	switch {
	case !ok:
		return netip.AddrPort{}
	case s == client:
		return c.clientAddr()
	}
	listening := tcp.AddrPort()
	if ip := listening.Addr(); ip.IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), listening.Port())
	}
	return listening
}

// clientAddr returns what DialFrom was given, or an address made of the number:
// 10.x.y.z, and another port each 2^24 connections.
func (c *Conn) clientAddr() netip.AddrPort {
	if c.extra != nil && c.extra.remote.IsValid() {
		return c.extra.remote
	}
	i := c.number
	ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	return netip.AddrPortFrom(ip, firstFreePort+uint16(i>>24))
}

// lockedAddr is netAddr for callers that do not hold the lock.
func (c *Conn) lockedAddr(s side) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.netAddr(s)
}

// netAddr is addrPort for a net.Conn.
func (c *Conn) netAddr(s side) net.Addr {
	if c.listener.key.port != 0 {
		return net.TCPAddrFromAddrPort(c.addrPort(s))
	}
	if s == client {
		return &net.UnixAddr{Net: "unix"}
	}
	return c.listener.addr
}
