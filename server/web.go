package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// web is the net/http server behind the same port. It starts with the first
// plain request.
type web struct {
	once   sync.Once
	server *http.Server
	conns  handedOver
	open   atomic.Int64 // connections that net/http has
}

// httpIdleTimeout is how long net/http keeps a connection between requests.
const httpIdleTimeout = 2 * time.Minute

// handToHTTP gives the connection to net/http, with the bytes read so far. Of an
// empty line before the request net/http would make a 400.
func (c *Conn) handToHTTP(in []byte) {
	l := c.loop
	in = bytes.TrimPrefix(in, emptyLine)
	c.mu.Lock()
	c.setLife(lifeClosed)
	c.dropQueue() // empty: what a stream holds goes along
	s, _ := c.stream().(*secure)
	c.mu.Unlock()
	if err := l.poll.Remove(int(c.fd)); err != nil {
		l.srv.log().Error("connection not removed", "remote", c.RemoteName(), "err", err)
		c.finish()
		return
	}
	conn, err := l.engine.Detach(int(c.fd))
	if err != nil {
		l.noRoomForHTTP(c, in, err)
		return
	}
	c.fd = -1
	l.counters.handedToHTTP.Add(1)
	handed := c.wrapForHTTP(conn, s, in)
	if !l.srv.startWeb() {
		_ = handed.Close() // the server is closing: the peer sees just that
		return
	}
	l.srv.web.conns.offer(handed)
}

// wrapForHTTP is the connection as net/http is to see it: the bytes read so far
// come first. A *tls.Conn that speaks HTTP/2 it must get as it is.
func (c *Conn) wrapForHTTP(conn net.Conn, s *secure, in []byte) net.Conn {
	var secured *tls.Conn
	if s != nil {
		c.mu.Lock()
		secured = s.detach(conn)
		c.facts.stream = nil
		c.mu.Unlock()
		if conn = secured; in == nil {
			return secured
		}
	}
	rc := &readConn{Conn: conn, unread: slices.Clone(in), secure: c.in != nil && c.in.secure, anonymous: c.is(anonymousClient)}
	if remote := c.RemoteAddr(); c.loop.srv.ProxyProtocol && remote.IsValid() {
		rc.remote = net.TCPAddrFromAddrPort(remote)
	}
	if secured != nil {
		return secureConn{rc, secured}
	}
	return rc
}

// noRoomForHTTP answers a plain request that can not be handed over, most likely
// for want of descriptors: net/http needs one more for a moment.
func (l *loop) noRoomForHTTP(c *Conn, in []byte, err error) {
	if failures := l.counters.acceptErrors.Add(1); failures%100 == 1 {
		l.srv.log().Warn("connection not handed over", "remote", c.RemoteName(), "err", err, "failures", failures)
	}
	c.mu.Lock()
	_, _ = c.write(appendRefusal(nil, in, refuseNoRoom), nil) // what the kernel does not take is lost
	c.closeStream()
	c.mu.Unlock()
	l.closeFD(int(c.fd))
	c.fd = -1
}

var refuseNoRoom = busy("out of descriptors", "1")

// startWeb starts net/http's part with the first connection for it; false means
// that the server stopped before there was one.
func (s *Server) startWeb() bool {
	s.web.once.Do(func() {
		s.web.conns.init()
		s.web.server = &http.Server{
			Handler:           http.HandlerFunc(s.serveWeb),
			ReadHeaderTimeout: s.limits.handshake.time(),
			IdleTimeout:       httpIdleTimeout,
			MaxHeaderBytes:    s.limits.head.Bytes,
			ConnContext:       noteProxied,
			ErrorLog:          s.errorLog(),
			ConnState:         s.web.count,
		}
		go func() { _ = s.web.server.Serve(&s.web.conns) }() // ends with ErrServerClosed
	})
	return s.web.server != nil
}

// count counts the connections that net/http has.
func (web *web) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		web.open.Add(1)
	case http.StateHijacked, http.StateClosed:
		web.open.Add(-1)
	}
}

// serveWeb serves a request of a connection that net/http has: an upgrade may
// come after plain requests. Once the server is not ready each answer is its
// connection's last.
func (s *Server) serveWeb(w http.ResponseWriter, r *http.Request) {
	if s.phaseNow() != PhaseServing {
		w.Header().Set("Connection", "close")
	}
	if req, err := headOf(r); req.WantsUpgrade() || err != nil && asksForUpgrade(r) {
		s.ServeHTTP(w, r)
		return
	}
	s.HTTP.ServeHTTP(w, r)
}

// readConn is a net.Conn of which some bytes are read already.
type readConn struct {
	net.Conn
	unread    []byte
	remote    net.Addr // what a PROXY header says; nil: Conn's
	secure    bool     // and that the client came over TLS
	anonymous bool     // or that nobody knows it
}

// securedKey is the context key of connections whose client came over TLS to the
// proxy.
type securedKey struct{}

// RemoteAddr implements net.Conn.
func (c *readConn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// Read implements net.Conn.
func (c *readConn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.unread = nil
	}
	return n, nil
}

// secureConn is a readConn over TLS, whose state net/http asks for.
type secureConn struct {
	*readConn
	secured *tls.Conn
}

// ConnectionState is the TLS state of each request on the connection.
func (c secureConn) ConnectionState() tls.ConnectionState { return c.secured.ConnectionState() }

// handedOver is the net.Listener on which net/http finds the connections handed
// to it.
type handedOver struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (h *handedOver) init() {
	h.conns = make(chan net.Conn, 128)
	h.done = make(chan struct{})
}

func (h *handedOver) offer(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close() // the server is closing: the peer sees just that
	}
	select {
	case <-h.done:
		h.drain() // both cases above may have been possible
	default:
	}
}

// drain closes the connections that nobody accepts any more.
func (h *handedOver) drain() {
	for {
		select {
		case c := <-h.conns:
			_ = c.Close() // as in offer
		default:
			return
		}
	}
}

// Accept implements net.Listener.
func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.done) })
	h.drain()
	return nil
}

// Addr implements net.Listener; net/http only shows it.
func (h *handedOver) Addr() net.Addr { return &net.TCPAddr{} }

// shutdownWeb ends net/http's part, within ctx politely.
func (s *Server) shutdownWeb(ctx context.Context) error {
	s.web.once.Do(func() {}) // it starts no more
	if s.web.server == nil {
		return nil
	}
	return s.web.server.Shutdown(ctx)
}

func (s *Server) closeWeb() {
	s.web.once.Do(func() {})
	if s.web.server != nil {
		_ = s.web.server.Close() // closing connections may fail, and then they are gone too
	}
}
