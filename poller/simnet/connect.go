package simnet

import (
	"net/netip"
	"os"
	"syscall"
)

// Connect is [Network.DialFrom] for a client that knows its end by a
// descriptor; see [poller.Dialer]. The connection is made, or refused, at once.
// Any local address will do, and none runs out of ports.
func (n *Network) Connect(local netip.Addr, remote netip.AddrPort) (int, error) {
	local, host := local.Unmap(), remote.Addr().Unmap()
	if !remote.IsValid() || local.IsValid() && local.Is4() != host.Is4() {
		return -1, os.NewSyscallError("connect", syscall.EAFNOSUPPORT)
	}
	fd, ok := n.table.take()
	if !ok {
		return -1, errNoFD
	}
	c, err := n.DialFrom(netip.AddrPortFrom(local, 0), remote.String())
	if err != nil {
		n.table.release(fd)
		return -1, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setFD(client, fd)
	return fd, nil
}

// ConnectError returns nil, or ECONNRESET where the listener closed instead of
// accepting.
func (n *Network) ConnectError(fd int) error {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return n.badFD("getsockopt", fd)
	}
	defer c.mu.Unlock()
	if err := c.takeReset(s); err != nil {
		return callError("connect", err)
	}
	return nil
}

// ResetOnClose makes the descriptor's closing reset the connection.
func (n *Network) ResetOnClose(fd int) error {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return n.badFD("setsockopt", fd)
	}
	defer c.mu.Unlock()
	c.flags[s] |= resets
	return nil
}
