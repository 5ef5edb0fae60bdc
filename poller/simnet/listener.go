package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// Listener is a queue of connections that were dialed.
type Listener struct {
	net  *Network
	addr net.Addr
	key  address
	fd   int

	mu       sync.Mutex
	waiting  fifo[*Conn]
	accepted int // calls of Accept that were judged
	closed   bool
}

// Listen opens a listener on network "tcp", "tcp4", "tcp6" or "unix". The host
// of a TCP address must be empty, localhost or an IP; all hosts are one machine,
// so that a port is open once, for all of them. Port 0 chooses one.
func (n *Network) Listen(network, text string) (poller.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key, addr, err := n.listenAddress(network, text)
	if err != nil {
		return nil, err
	}
	if n.listeners[key] != nil {
		return nil, fmt.Errorf("simnet: listen on %s: %w", addr, os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	fd, ok := n.table.take()
	if !ok {
		return nil, errNoFD
	}
	l := &Listener{net: n, addr: addr, key: key, fd: fd}
	n.listeners[key] = l
	n.byFD[fd] = l
	return l, nil
}

// listenerAt returns the listener with that descriptor, or nil.
func (n *Network) listenerAt(fd int) *Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byFD[fd]
}

// FD returns the listener's descriptor, to be added to a poller.
func (l *Listener) FD() int { return l.fd }

// Addr returns the address it listens on, a *net.TCPAddr or *net.UnixAddr.
func (l *Listener) Addr() net.Addr { return l.addr }

// readiness is what a poller is told when the listener is added. l.mu is held.
func (l *Listener) readiness() poller.Ready {
	if l.waiting.len() > 0 {
		return poller.Readable
	}
	return 0
}

func (l *Listener) announce() {
	l.net.table.at(l.fd).note(int32(l.fd), poller.Readable)
}

// offer puts a dialed connection in the queue.
func (l *Listener) offer(c *Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	backlog := l.net.config.Backlog
	if l.closed || backlog > 0 && l.waiting.len() >= backlog {
		return syscall.ECONNREFUSED
	}
	l.waiting.push(c)
	l.announce()
	return nil
}

// Accept takes one connection off the queue; see [poller.Listener].
func (l *Listener) Accept() (int, netip.AddrPort, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, netip.AddrPort{}, poller.ErrClosed
	}
	for l.waiting.len() > 0 {
		if err := l.judge(); err != nil {
			return 0, netip.AddrPort{}, callError("accept", err)
		}
		fd, remote, err := l.accept(l.waiting.first())
		if err == errNoFD {
			return 0, netip.AddrPort{}, err
		}
		l.waiting.pop()
		if err == nil {
			return fd, remote, nil
		}
	}
	return 0, netip.AddrPort{}, poller.ErrAgain
}

// accept gives the server's end of c a descriptor, unless c is gone already.
func (l *Listener) accept(c *Conn) (int, netip.AddrPort, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reset {
		return 0, netip.AddrPort{}, syscall.ECONNABORTED
	}
	fd, ok := c.openFD(server)
	if !ok {
		return 0, netip.AddrPort{}, errNoFD
	}
	return fd, c.addrPort(client), nil
}

// judge asks the network's script about an Accept. l.mu is held.
func (l *Listener) judge() error {
	script := l.net.config.Script
	if script == nil {
		return nil
	}
	verdict := script(Call{Op: OpAccept, FD: l.fd, Number: l.waiting.first().Number(), Seq: l.accepted})
	l.accepted++
	if verdict.Again {
		l.announce()
		return poller.ErrAgain
	}
	return verdict.Err
}

// Close stops listening and resets the connections in the queue.
func (l *Listener) Close() error {
	n := l.net
	n.mu.Lock()
	defer n.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		n.violate("close", l.fd, "the listener is closed already")
		return poller.ErrClosed
	}
	l.closed = true
	delete(n.listeners, l.key)
	delete(n.byFD, l.fd)
	n.leavePoller("close", l.fd)
	n.table.release(l.fd)
	for l.waiting.len() > 0 {
		c := l.waiting.pop()
		c.mu.Lock()
		c.abort()
		c.mu.Unlock()
	}
	return nil
}
