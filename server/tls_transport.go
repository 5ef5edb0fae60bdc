package server

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/netconn"
	"github.com/millrace/millrace/internal/tlsrecord"
)

// transport is the net.Conn under a secure's tls.Conn, in three times: the
// handshake, in which only its goroutine calls; the time on the loop, in which
// who calls holds Conn.mu; and afterwards, if net/http has the connection, that of
// a blocking one.
type transport tlsStream

// Read implements net.Conn.
func (t *transport) Read(p []byte) (int, error) {
	s := (*tlsStream)(t)
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
func (s *tlsStream) takeRecord(p, in []byte) int {
	if s.left == 0 {
		s.left = tlsrecord.Size(in)
	}
	n := copy(p, in[:min(s.left, len(in))])
	s.left -= n
	return n
}

// await is Read in the handshake: it waits until a record is whole.
func (s *tlsStream) await(p []byte) (int, error) {
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
func (s *tlsStream) awaitRecord() {
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
	s := (*tlsStream)(t)
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
	s := (*tlsStream)(t)
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

// detach hands the stream, which is established, to net/http: it goes on with
// conn, a blocking one, and may come back if it is given whole records. The caller
// holds Conn.mu.
func (s *tlsStream) detach(conn net.Conn, whole bool) *tls.Conn {
	s.state = secureGone
	var unsent []byte
	if s.held() > 0 {
		unsent = slices.Clone(s.sealed.B[s.sent:])
	}
	s.blocking = netconn.NewRecords(conn, whole, s.raw, unsent)
	s.raw = nil
	s.dropSealed()
	return s.tls
}

// noListener is a net.Listener that is closed.
type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }

func (noListener) Close() error { return nil }

func (noListener) Addr() net.Addr { return &net.TCPAddr{} }
