package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millrace/millrace/poller"
)

// webEnd is the network's end of a connection that net/http has, under TLS if there
// is any. It bounds how long the peer may take nothing, by progress as for WebSockets,
// and it holds the connection's places: one among Limits.HTTPConns, and that of its
// address. Both are given back once, before the peer can know.
type webEnd struct {
	net.Conn
	srv    *Server
	remote netip.AddrPort // whose address it counts for

	inHTTP    atomic.Bool // it has a place among Limits.HTTPConns
	addrCount atomic.Bool // its address is counted
	free      atomic.Bool // hijacked: it is somebody else's to watch over

	// Who writes has these; tls.Conn and net/http see to it that it is one at a time.
	sent int64 // written so far
	late error // the peer has taken too little: nothing more is written

	mu      sync.Mutex // guards what follows, and the order in which deadlines are set
	own, by time.Time  // write deadlines: net/http's or its handler's, and that of a Write under way
}

func newWebEnd(s *Server, conn net.Conn, remote netip.AddrPort) *webEnd {
	e := &webEnd{Conn: conn, srv: s, remote: remote}
	e.inHTTP.Store(true)
	e.addrCount.Store(true)
	return e
}

// leaveHTTP gives back the place among Limits.HTTPConns, leaveAddr that of the address.
func (e *webEnd) leaveHTTP() {
	if e.inHTTP.CompareAndSwap(true, false) {
		e.srv.web.open.Add(-1)
	}
}

func (e *webEnd) leaveAddr() {
	if e.addrCount.CompareAndSwap(true, false) {
		e.srv.leaveAddr(e.remote)
	}
}

// Close implements net.Conn.
func (e *webEnd) Close() error {
	e.leaveHTTP()
	e.leaveAddr()
	return e.Conn.Close()
}

// CloseWrite ends our direction.
func (e *webEnd) CloseWrite() error {
	if conn, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return errors.ErrUnsupported
}

// RemoteAddr is what a PROXY header has said, or else the peer's.
func (e *webEnd) RemoteAddr() net.Addr {
	if e.srv.Proxy.Protocol && e.remote.IsValid() {
		return net.TCPAddrFromAddrPort(e.remote)
	}
	return e.Conn.RemoteAddr()
}

// writeLook is how often a Write that waits looks how far the peer's side is, if a
// quarter of Timeouts.Write is not less.
const writeLook = time.Second

// Write implements net.Conn. The peer must take 4 KiB, or the rest, within
// Timeouts.Write, and then 4 KiB more: of what its side has acknowledged, if that is
// known. One that does not is cut up to writeLook later.
func (e *webEnd) Write(p []byte) (n int, err error) {
	switch {
	case e.free.Load():
		return e.Conn.Write(p)
	case e.late != nil:
		return 0, e.late
	}
	timeout := e.srv.writeTimeout()
	now := time.Now()
	since, taken, acked := now, 0, int64(-1) // -1: not asked yet
	for {
		m, err := e.writeBy(p[n:], earlier(since.Add(timeout), now.Add(min(writeLook, timeout/4))))
		n, taken, e.sent = n+m, taken+m, e.sent+int64(m)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || e.ownPassed() {
			return n, err
		}
		now = time.Now()
		has := e.sent - e.unacked()
		if acked < 0 {
			acked = has
		}
		switch {
		case progressed(&acked, has) || taken >= progressBytes:
			since, taken = now, 0
		case now.Sub(since) >= timeout:
			e.srv.hit(LimitWriteTimeout)
			e.late = err
			return n, err
		}
	}
}

// writeBy writes until then.
func (e *webEnd) writeBy(p []byte, by time.Time) (n int, err error) {
	if err := e.setWriteDeadline(func() { e.by = by }); err != nil {
		return 0, err
	}
	return e.Conn.Write(p)
}

func (e *webEnd) ownPassed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.own.IsZero() && !time.Now().Before(e.own)
}

// unacked is how many bytes the kernel has that the peer's side has not.
func (e *webEnd) unacked() (n int64) {
	gauge, ok := e.srv.engine.(poller.Gauge)
	conn, isConn := e.Conn.(syscall.Conn)
	if !ok || !isConn || isUnix(e.LocalAddr()) {
		return 0
	}
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // it is closed: nothing is under way
			bytes, _ := gauge.Unacked(int(fd)) // 0 where it is not known
			n = int64(bytes)
		})
	}
	return n
}

// setFree ends all watching: somebody has hijacked the connection.
func (e *webEnd) setFree() {
	e.free.Store(true)
	_ = e.setWriteDeadline(func() { e.by = time.Time{} }) // it is closed: who writes sees
}

// SetWriteDeadline implements net.Conn. It holds beside the server's own bound.
func (e *webEnd) SetWriteDeadline(at time.Time) error {
	return e.setWriteDeadline(func() { e.own = at })
}

// SetDeadline implements net.Conn.
func (e *webEnd) SetDeadline(at time.Time) error {
	return errors.Join(e.SetReadDeadline(at), e.SetWriteDeadline(at))
}

func (e *webEnd) setWriteDeadline(change func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
	return e.Conn.SetWriteDeadline(earlier(e.own, e.by))
}

// earlier is the earlier of two deadlines, of which the zero value is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
