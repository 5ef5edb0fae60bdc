package simnet

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// maxPieces is how many pieces one Writev takes.
const maxPieces = 64

// exhausted are the errors that poller.ErrExhausted stands for.
var exhausted = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ENOSPC,
}

// errNoFD is the answer at Config.MaxFDs.
var errNoFD = fmt.Errorf("simnet: %w: too many open files", poller.ErrExhausted)

// lockConn finds the connection whose descriptor fd is, and which of its ends,
// and locks it. It answers false, with nothing locked, when there is none.
func (n *Network) lockConn(fd int) (*Conn, side, bool) {
	d := n.table.at(fd)
	if d == nil {
		return nil, 0, false
	}
	c := d.conn.Load()
	if c == nil {
		return nil, 0, false
	}
	c.mu.Lock()
	// The number may have been closed, and reused, before the lock was ours.
	for _, s := range [...]side{server, client} {
		if c.fd[s] == int32(fd) && c.flags[s]&detached == 0 {
			return c, s, true
		}
	}
	c.mu.Unlock()
	return nil, 0, false
}

// badFD notes the use of a descriptor that is not open.
func (n *Network) badFD(call string, fd int) error {
	n.violate(call, fd, "is not an open connection")
	return os.NewSyscallError(call, syscall.EBADF)
}

// callError is the error of a call as poller.Engine promises it.
func callError(call string, err error) error {
	errno, ok := err.(syscall.Errno)
	switch {
	case !ok:
		return err
	case slices.Contains(exhausted, errno):
		return fmt.Errorf("simnet: %w: %w", poller.ErrExhausted, os.NewSyscallError(call, err))
	default:
		return os.NewSyscallError(call, err)
	}
}

// Read reads what is there; see [poller.Engine].
func (n *Network) Read(fd int, p []byte) (int, error) {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return 0, n.badFD("read", fd)
	}
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	limit := len(p)
	if c.scripted() && c.readable(s) {
		var err error
		if limit, err = c.judge(OpRead, s, len(p)); err != nil {
			return 0, callError("read", err)
		}
	}
	count, err := c.receive(s, p[:limit])
	if err != nil {
		return 0, callError("read", err)
	}
	if c.scripted() {
		c.extra.script.calls[OpRead].offset[s] += int64(count)
	}
	if limit < len(p) && c.readable(s) {
		c.announce(s, c.readiness(s)&^poller.Writable) // what was held back comes now
	}
	return count, nil
}

// Write writes what the window takes; see [poller.Engine].
func (n *Network) Write(fd int, p []byte) (int, error) {
	pieces := [1][]byte{p}
	return n.Writev(fd, pieces[:])
}

// Writev is Write over several pieces, of which it takes at most 64.
func (n *Network) Writev(fd int, pieces [][]byte) (int, error) {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return 0, n.badFD("write", fd)
	}
	defer c.mu.Unlock()
	pieces = pieces[:min(len(pieces), maxPieces)]
	if size(pieces) == 0 {
		return 0, nil
	}
	limit := math.MaxInt
	if c.scripted() && c.writable(s) {
		var err error
		if limit, err = c.judge(OpWrite, s, size(pieces)); err != nil {
			return 0, callError("write", err)
		}
	}
	count, err := c.send(s, pieces, limit)
	if err != nil {
		return 0, callError("write", err)
	}
	if c.scripted() {
		c.extra.script.calls[OpWrite].offset[s] += int64(count)
	}
	if limit < size(pieces) && c.writable(s) {
		c.announce(s, poller.Writable) // what was not taken may come now
	}
	return count, nil
}

// CloseWrite ends our direction (FIN); reading goes on.
func (n *Network) CloseWrite(fd int) error {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return n.badFD("shutdown", fd)
	}
	defer c.mu.Unlock()
	if err := c.end(s); err != nil {
		return callError("shutdown", err)
	}
	return nil
}

// SetNoDelay checks the descriptor: nothing is ever delayed here.
func (n *Network) SetNoDelay(fd int, _ bool) error {
	c, _, ok := n.lockConn(fd)
	if !ok {
		return n.badFD("setsockopt", fd)
	}
	c.mu.Unlock()
	return nil
}

// Close closes a descriptor that is in no poller.
func (n *Network) Close(fd int) error {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return n.badFD("close", fd)
	}
	defer c.mu.Unlock()
	n.leavePoller("close", fd)
	c.closeFD(s)
	return nil
}

// leavePoller notes that a descriptor should be in no poller, and is. The lock
// of its owner is held.
func (n *Network) leavePoller(call string, fd int) {
	d := n.table.at(fd)
	if p := d.poller.Load(); p != nil && !p.closed.Load() {
		n.violate(call, fd, "is still in a poller")
		p.unregister(d, fd)
	}
	d.poller.Store(nil)
}

// Attach takes the descriptor out of a connection that [Network.Detach] gave, or
// makes one for a [Conn] that was dialed, so that a client can run in a loop,
// too. Any other connection is poller.ErrNotSupported.
func (n *Network) Attach(conn net.Conn) (int, netip.AddrPort, error) {
	var c *Conn
	s := client
	switch conn := conn.(type) {
	case *Conn:
		c = conn
	case *serverConn:
		c, s = conn.conn, server
	}
	if c == nil || c.net != n {
		return 0, netip.AddrPort{}, fmt.Errorf("simnet: attach of a %T: %w", conn, poller.ErrNotSupported)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held(s) {
		return 0, netip.AddrPort{}, fmt.Errorf("simnet: attach: %w", net.ErrClosed)
	}
	if c.fd[s] == 0 {
		if _, ok := c.openFD(s); !ok {
			return 0, netip.AddrPort{}, errNoFD
		}
	}
	c.flags[s] &^= detached
	c.wakeBlocked(s)
	return int(c.fd[s]), c.addrPort(s.other()), nil
}

// Detach hands a descriptor that is in no poller over to a net.Conn. It counts
// as open until that is closed.
func (n *Network) Detach(fd int) (net.Conn, error) {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return nil, n.badFD("detach", fd)
	}
	defer c.mu.Unlock()
	n.leavePoller("detach", fd)
	c.flags[s] |= detached
	if s == client {
		return c, nil
	}
	return &serverConn{c}, nil
}

// Spurious gives the server a readiness event for c with nothing behind it.
func (n *Network) Spurious(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announce(server, poller.Readable|poller.Writable)
}
