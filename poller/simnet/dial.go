package simnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// Dial connects to a listener: "host:port", where the host does not matter, or
// the path of a unix socket. It never blocks: the connection waits to be
// accepted, and may be written to already. It fails with ECONNREFUSED when
// nobody listens or the backlog is full. The client's address is 10.x.y.z,
// another one for each connection.
func (n *Network) Dial(address string) (*Conn, error) {
	return n.DialFrom(netip.AddrPort{}, address)
}

// DialContext is [Network.Dial] as net/http.Transport wants it.
func (n *Network) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := n.Dial(address)
	if err != nil {
		return nil, err // not a *Conn that is nil
	}
	return c, nil
}

// DialFrom is [Network.Dial] from a given address. Of a zero port it makes one,
// another one for each connection until all had their turn.
func (n *Network) DialFrom(remote netip.AddrPort, address string) (*Conn, error) {
	key, err := dialAddress(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	l := n.listeners[key]
	n.mu.Unlock()
	if l == nil {
		return nil, dialError(address)
	}
	c := &Conn{net: n, listener: l, number: n.dialed.Add(1) - 1, ackOnRead: n.config.AckOnRead}
	if remote.IsValid() {
		if remote.Port() == 0 {
			remote = netip.AddrPortFrom(remote.Addr(), uint16(firstFreePort+c.number%(1<<16-firstFreePort)))
		}
		c.more().remote = remote
	}
	if n.config.Script != nil {
		c.more().script.script = n.config.Script
	}
	if err := l.offer(c); err != nil {
		return nil, dialError(address)
	}
	return c, nil
}

func dialError(address string) error {
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	return fmt.Errorf("simnet: dial %s: %w", address, refused)
}

// Number returns how many connections the network had before this one. It
// stands for the connection in a [Call].
func (c *Conn) Number() int { return int(c.number) }

// Reset resets the connection (RST): what is on the way is lost, the other end
// has ECONNRESET once, then ends of stream and EPIPE, and this end is closed.
func (c *Conn) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held(client) {
		c.abort()
		c.closeHandle(client)
	}
}

// CloseWrite ends the client's direction (FIN); reading goes on.
func (c *Conn) CloseWrite() error { return c.closeWriteHandle(client) }

// TryRead is Read without blocking: it answers poller.ErrAgain when nothing is
// there.
func (c *Conn) TryRead(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held(client) {
		return 0, c.opError(client, "read", net.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.receive(client, p)
	return n, c.opError(client, "read", err)
}

// TryWrite is Write without blocking: it takes what the window holds, or
// answers poller.ErrAgain.
func (c *Conn) TryWrite(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held(client) {
		return 0, c.opError(client, "write", net.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.sendAll(client, p)
	return n, c.opError(client, "write", err)
}

// Buffered returns how many bytes wait to be read by the client.
func (c *Conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending(client)
}

// Unread returns how many bytes wait to be read by the server.
func (c *Conn) Unread() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending(server)
}

// ServerFD returns the server's descriptor of the connection, or -1 while it was
// not accepted and after it was closed.
func (c *Conn) ServerFD() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd[server] == 0 {
		return -1
	}
	return int(c.fd[server])
}

// opError is err as a net.Conn gives it: io.EOF and poller.ErrAgain bare, all
// else in a net.OpError.
func (c *Conn) opError(s side, op string, err error) error {
	switch errno, ok := err.(syscall.Errno); {
	case ok:
		err = os.NewSyscallError(op, errno)
	case err == nil || err == io.EOF || err == poller.ErrAgain:
		return err
	}
	return &net.OpError{
		Op: op, Net: c.listener.addr.Network(),
		Source: c.netAddr(s), Addr: c.netAddr(s.other()), Err: err,
	}
}
