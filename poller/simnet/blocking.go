package simnet

import (
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/millrace/millrace/poller"
)

// extra is what only some connections need.
type extra struct {
	remote  netip.AddrPort // what DialFrom was given
	script  scriptState
	blocker [2]*blocker
}

// more returns the connection's extra, and makes it if need be. c.mu is held.
func (c *Conn) more() *extra {
	if c.extra == nil {
		c.extra = new(extra)
	}
	return c.extra
}

// blocker is where the goroutines wait that use an end as a net.Conn.
type blocker struct {
	cond        sync.Cond // on the connection's lock
	read, write deadline
}

// deadline is in real time, so that no test hangs on a clock it forgot.
type deadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set changes the deadline; over is called when it has passed.
func (d *deadline) set(at time.Time, over func()) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), over)
	}
}

// blockerOf returns where the users of an end wait. c.mu is held.
func (c *Conn) blockerOf(s side) *blocker {
	more := c.more()
	if more.blocker[s] == nil {
		more.blocker[s] = &blocker{cond: sync.Cond{L: &c.mu}}
	}
	return more.blocker[s]
}

// wakeBlocked lets whoever blocks on the end s look again.
func (c *Conn) wakeBlocked(s side) {
	if c.extra != nil && c.extra.blocker[s] != nil {
		c.extra.blocker[s].cond.Broadcast()
	}
}

// pause waits for something to change at the end s.
func (c *Conn) pause(s side) { c.blockerOf(s).cond.Wait() }

// usable returns why the end s can't be used as a net.Conn now, if so.
func (c *Conn) usable(s side, of func(*blocker) *deadline) error {
	if !c.held(s) {
		return net.ErrClosed
	}
	if c.extra != nil && c.extra.blocker[s] != nil && of(c.extra.blocker[s]).passed() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func readDeadline(b *blocker) *deadline  { return &b.read }
func writeDeadline(b *blocker) *deadline { return &b.write }

// blockingRead is Read of a net.Conn.
func (c *Conn) blockingRead(s side, p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.usable(s, readDeadline); err != nil {
			return 0, c.opError(s, "read", err)
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := c.receive(s, p)
		if err != poller.ErrAgain {
			return n, c.opError(s, "read", err)
		}
		c.pause(s)
	}
}

// blockingWrite is Write of a net.Conn: all of p, or an error.
func (c *Conn) blockingWrite(s side, p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	written := 0
	for {
		if err := c.usable(s, writeDeadline); err != nil {
			return written, c.opError(s, "write", err)
		}
		if written == len(p) {
			return written, nil
		}
		n, err := c.sendAll(s, p[written:])
		written += n
		switch {
		case err == poller.ErrAgain:
			c.pause(s)
		case err != nil:
			return written, c.opError(s, "write", err)
		}
	}
}

// sendAll is send of one piece.
func (c *Conn) sendAll(s side, p []byte) (int, error) {
	pieces := [1][]byte{p}
	return c.send(s, pieces[:], math.MaxInt)
}

func (c *Conn) setDeadline(s side, t time.Time, which ...func(*blocker) *deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held(s) {
		return c.opError(s, "set", net.ErrClosed)
	}
	b := c.blockerOf(s)
	for _, of := range which {
		of(b).set(t, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			b.cond.Broadcast()
		})
	}
	b.cond.Broadcast()
	return nil
}

// closeHandle closes an end that is held as a net.Conn.
func (c *Conn) closeHandle(s side) {
	if c.extra != nil && c.extra.blocker[s] != nil {
		c.extra.blocker[s].read.set(time.Time{}, nil)
		c.extra.blocker[s].write.set(time.Time{}, nil)
	}
	if c.fd[s] != 0 {
		c.closeFD(s)
	} else {
		c.closeEnd(s)
	}
	c.flags[s] &^= detached
}

func (c *Conn) blockingClose(s side) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held(s) {
		return c.opError(s, "close", net.ErrClosed)
	}
	c.closeHandle(s)
	return nil
}

// closeWriteHandle is CloseWrite of a *net.TCPConn.
func (c *Conn) closeWriteHandle(s side) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held(s) {
		return c.opError(s, "close", net.ErrClosed)
	}
	return c.opError(s, "close", c.end(s))
}

// Read reads what is there, or waits for it. An error is io.EOF or a
// *net.OpError.
func (c *Conn) Read(p []byte) (int, error) { return c.blockingRead(client, p) }

// Write returns once the network took all of p.
func (c *Conn) Write(p []byte) (int, error) { return c.blockingWrite(client, p) }

// Close closes the client's end. With bytes unread it resets the connection.
func (c *Conn) Close() error { return c.blockingClose(client) }

// LocalAddr returns the client's address, a *net.TCPAddr or *net.UnixAddr.
func (c *Conn) LocalAddr() net.Addr { return c.lockedAddr(client) }

// RemoteAddr returns the server's address.
func (c *Conn) RemoteAddr() net.Addr { return c.lockedAddr(server) }

// SetDeadline sets both deadlines, in real time.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadline(client, t, readDeadline, writeDeadline)
}

// SetReadDeadline sets the deadline of Read, in real time.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(client, t, readDeadline) }

// SetWriteDeadline sets the deadline of Write, in real time.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(client, t, writeDeadline) }
