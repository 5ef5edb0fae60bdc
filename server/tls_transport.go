package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/tlsrecord"
)

// transport is the net.Conn under a secure's tls.Conn, in three times: the
// handshake, in which only its goroutine calls; the time on the loop, in which
// who calls holds Conn.mu; and afterwards, if net/http has the connection, that of
// a blocking one.
type transport secure

// Read implements net.Conn.
func (t *transport) Read(p []byte) (int, error) {
	s := (*secure)(t)
	switch {
	case s.blocking != nil:
		return s.blocking.Read(p)
	case s.shake != nil:
		return s.await(p)
	case len(s.feed) == 0:
		return 0, errNothingYet
	}
	n := s.takeRecord(p, s.feed)
	s.feed = s.feed[n:]
	return n, nil
}

// takeRecord fills p from the record that in begins with or is within.
func (s *secure) takeRecord(p, in []byte) int {
	if s.left == 0 {
		s.left = tlsrecord.Size(in)
	}
	n := copy(p, in[:min(s.left, len(in))])
	s.left -= n
	return n
}

// await is Read in the handshake: it waits until a record is whole.
func (s *secure) await(p []byte) (int, error) {
	c, h := s.conn, s.shake
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.left == 0 && !h.ready(s) {
		s.awaitRecord()
	}
	switch {
	case s.state == secureGone || h.cut:
		return 0, net.ErrClosed
	case s.left == 0 && tlsrecord.Whole(s.raw.B) == 0:
		return 0, errEarlyEnd
	}
	n := s.takeRecord(p, s.raw.B)
	s.raw.B = s.raw.B[:copy(s.raw.B, s.raw.B[n:])]
	if h.stalled && len(s.raw.B) < rawBound {
		h.stalled = false
		c.wake()
	}
	return n, nil
}

var errEarlyEnd = errors.New("the peer ended its direction")

// awaitRecord waits, and lets others compute meanwhile. Conn.mu is held, but not
// while a share of the processors is awaited after it.
func (s *secure) awaitRecord() {
	c, h := s.conn, s.shake
	all := &s.server().handshakes
	all.shares.pause()
	all.await(s)
	for !h.ready(s) {
		h.cond.Wait()
	}
	all.heard(s)
	c.mu.Unlock()
	all.shares.compute(h.source)
	c.mu.Lock()
}

// Write implements net.Conn. It takes all: to crypto/tls an error is for ever.
func (t *transport) Write(p []byte) (int, error) {
	s := (*secure)(t)
	if s.blocking != nil {
		return s.blocking.Write(p)
	}
	if s.shake == nil {
		return s.seal(p)
	}
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.state == secureGone {
		return 0, net.ErrClosed
	}
	n, err := s.seal(p)
	c.passOn()
	return n, err
}

// Close implements net.Conn. Before net/http has the connection, only a callback
// of the configuration may call it, to end the handshake.
func (t *transport) Close() error {
	s := (*secure)(t)
	if s.blocking != nil {
		return s.blocking.Close()
	}
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.shake != nil {
		s.shake.cut = true
		s.shake.cond.Signal()
	}
	return nil
}

// LocalAddr implements net.Conn.
func (t *transport) LocalAddr() net.Addr {
	if t.blocking != nil {
		return t.blocking.LocalAddr()
	}
	return t.local
}

// RemoteAddr implements net.Conn. That of a Unix socket has no name.
func (t *transport) RemoteAddr() net.Addr {
	if t.blocking != nil {
		return t.blocking.RemoteAddr()
	}
	remote := t.conn.RemoteAddr()
	if !remote.IsValid() {
		return &net.UnixAddr{Net: "unix", Name: "@"} // as net/http knows it
	}
	return net.TCPAddrFromAddrPort(remote)
}

// SetDeadline implements net.Conn. On the loop the deadlines are the connection's.
func (t *transport) SetDeadline(at time.Time) error {
	if t.blocking != nil {
		return t.blocking.SetDeadline(at)
	}
	return nil
}

// SetReadDeadline implements net.Conn, as SetDeadline.
func (t *transport) SetReadDeadline(at time.Time) error {
	if t.blocking != nil {
		return t.blocking.SetReadDeadline(at)
	}
	return nil
}

// SetWriteDeadline implements net.Conn, as SetDeadline.
func (t *transport) SetWriteDeadline(at time.Time) error {
	if t.blocking != nil {
		return t.blocking.SetWriteDeadline(at)
	}
	return nil
}

// blockingEnd is what a tls.Conn goes on with when it leaves the loop. Where it may
// come back it gives whole records only, one at a time, as the loop does: so there is
// never anything in the tls.Conn's own buffer when it asks for more.
type blockingEnd struct {
	net.Conn
	whole bool // records only

	// Read's, which is not called twice at once.
	raw  *buffer.Buffer // received before, or of a record that is not whole
	left int            // bytes of the record that tls is reading

	mu   sync.Mutex
	held []byte // to be written before all else
}

// Read implements net.Conn.
func (b *blockingEnd) Read(p []byte) (int, error) {
	if err := b.passOn(); err != nil {
		return 0, err
	}
	if !b.whole && b.raw == nil {
		return b.Conn.Read(p)
	}
	for b.left == 0 {
		in := b.rest()
		if b.left = tlsrecord.Whole(in); b.left > 0 {
			b.left = tlsrecord.Size(in)
		} else if !b.whole {
			b.left = len(in)
		} else if err := b.fill(p); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.raw.B[:b.left])
	b.left -= n
	if b.raw.B = b.raw.B[:copy(b.raw.B, b.raw.B[n:])]; len(b.raw.B) == 0 {
		b.raw.Free()
		b.raw = nil
	}
	return n, nil
}

// fill reads more of a record. What waits for the first byte of one has no buffer: it
// reads into scratch.
func (b *blockingEnd) fill(scratch []byte) error {
	if b.raw == nil {
		n, err := b.Conn.Read(scratch)
		if n > 0 {
			b.raw = buffer.Get(n)
			b.raw.B = append(b.raw.B, scratch[:n]...)
			return nil
		}
		return err
	}
	b.raw = b.raw.Grow(max(tlsrecord.Size(b.raw.B)-len(b.raw.B), tlsrecord.Header))
	size := len(b.raw.B)
	n, err := b.Conn.Read(b.raw.B[size:cap(b.raw.B)])
	b.raw.B = b.raw.B[:size+n]
	switch {
	case n > 0:
		return nil
	case err == io.EOF:
		b.left = size // tls finds that this is no whole record
		return nil
	}
	return err
}

// rest is what was received and not given.
func (b *blockingEnd) rest() []byte {
	if b.raw == nil {
		return nil
	}
	return b.raw.B
}

// Write implements net.Conn.
func (b *blockingEnd) Write(p []byte) (int, error) {
	if err := b.passOn(); err != nil {
		return 0, err
	}
	return b.Conn.Write(p)
}

// passOn writes what the loop could not.
func (b *blockingEnd) passOn() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		return nil
	}
	_, err := b.Conn.Write(b.held)
	b.held = nil
	return err
}
