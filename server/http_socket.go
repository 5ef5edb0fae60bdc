package server

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/millrace/millrace/internal/netconn"
	"github.com/millrace/millrace/poller"
)

// httpSocket is the network's end of a connection that net/http has, under TLS if there
// is any. It bounds how long the peer may take nothing, by progress as for WebSockets,
// of what its side has acknowledged, if that can be known; and it holds the connection's
// places: one among Limits.HTTPConns, and that of its address. Both are given back
// once, before the peer can know.
type httpSocket struct {
	watchedConn
	conn   net.Conn // the bare one
	srv    *Server
	remote netip.AddrPort // whose address it counts for
	guest  bool           // conn is somebody else's: no loop can watch it

	inHTTP    atomic.Bool // it has a place among Limits.HTTPConns
	addrCount atomic.Bool // its address is counted
}

// watchedConn is a net.Conn whose peer must take what is written.
type watchedConn interface {
	net.Conn
	SetFree()
	CloseWrite() error
}

func newHTTPSocket(s *Server, conn net.Conn, remote netip.AddrPort, guest bool) *httpSocket {
	e := &httpSocket{conn: conn, srv: s, remote: remote, guest: guest}
	late := func() { s.hit(LimitWriteTimeout) }
	if guest {
		e.watchedConn = netconn.NewPiecewise(conn, bridgePiece, s.writeTimeout(), late)
	} else {
		e.watchedConn = netconn.NewPaced(conn, s.writePace(), e.unacked, late)
	}
	e.inHTTP.Store(true)
	e.addrCount.Store(true)
	return e
}

// leaveHTTP gives back the place among Limits.HTTPConns, leaveAddr that of the address.
func (e *httpSocket) leaveHTTP() {
	if e.inHTTP.CompareAndSwap(true, false) {
		e.srv.netHTTP.open.Add(-1)
	}
}

func (e *httpSocket) leaveAddr() {
	if e.addrCount.CompareAndSwap(true, false) {
		e.srv.leaveAddr(e.remote)
	}
}

// Close implements net.Conn.
func (e *httpSocket) Close() error {
	e.leaveHTTP()
	e.leaveAddr()
	return e.conn.Close()
}

// RemoteAddr is what a PROXY header has said, or else the peer's.
func (e *httpSocket) RemoteAddr() net.Addr {
	if e.srv.Proxy.Protocol && e.remote.IsValid() {
		return net.TCPAddrFromAddrPort(e.remote)
	}
	return e.conn.RemoteAddr()
}

// unacked is how many bytes the kernel has that the peer's side has not.
func (e *httpSocket) unacked() (n int64) {
	gauge, ok := e.srv.engine.(poller.Gauge)
	conn, isConn := e.conn.(syscall.Conn)
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
