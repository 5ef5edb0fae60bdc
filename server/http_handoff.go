package server

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/netconn"
)

// netHTTP is the net/http server behind the same port. It starts with the first
// plain request.
type netHTTP struct {
	once    sync.Once
	server  *http.Server
	conns   *netconn.Listener // of those that loops have handed over
	open    atomic.Int64      // connections that net/http has, or is about to get
	offered atomic.Int64      // of them, those that it is being given and whose first request it has not begun to serve
	streams atomic.Int64      // plain requests over HTTP/2 under way
	guests  sync.Map          // of *httpConn by the *tls.Conn of HTTP/2 that is a guest's
}

// handToHTTP gives the connection to net/http, with the bytes read so far, the first
// request's framing among them, or as one of HTTP/2. It has a place for it: see
// reserveHTTP. Of an empty line before the request net/http would make a 400.
func (c *Conn) handToHTTP(in []byte, frame requestFraming) {
	l := c.loop
	if bytes.HasPrefix(in, emptyLine) {
		in = in[len(emptyLine):]
		frame.head -= len(emptyLine)
	}
	c.mu.Lock()
	c.advance(stateClosed)
	c.dropQueue() // empty: what a stream holds goes along
	c.mu.Unlock()
	if c.fd < 0 {
		c.seat.Leave()
		c.handGuest(in, frame)
		return
	}
	l.srv.netHTTP.offered.Add(1) // before the loop can end
	c.seat.Leave()
	if !c.giveToHTTP(in, frame) {
		l.srv.netHTTP.offered.Add(-1)
	}
}

// giveToHTTP gives net/http a connection that has left its loop; false: that goes wrong.
func (c *Conn) giveToHTTP(in []byte, frame requestFraming) bool {
	l := c.loop
	if err := l.poll.Remove(int(c.fd)); err != nil {
		l.srv.netHTTP.open.Add(-1)
		l.srv.log().Error("connection not removed", "remote", c.RemoteName(), "err", err)
		c.finish()
		return false
	}
	conn, err := l.engine.Detach(int(c.fd))
	if err != nil {
		l.srv.netHTTP.open.Add(-1)
		l.httpHasNoDescriptor(c, in, err)
		return false
	}
	c.fd = -1
	l.counters.handedToHTTP.Add(1)
	handed := c.wrapForHTTP(conn, in, frame)
	if !l.srv.startNetHTTP() {
		_ = handed.Close() // the server is closing: the peer sees just that
		return false
	}
	l.srv.netHTTP.conns.Offer(handed)
	return true
}

// begun notes that net/http serves the first request of a connection, or never will.
func (web *netHTTP) begun(c *httpConn) {
	if c != nil && c.fresh.CompareAndSwap(true, false) {
		web.offered.Add(-1)
	}
}

// awaitFirst waits until the first requests of all connections are being served: a shutdown of net/http cuts
// requests that it has not begun with, though it has read them.
func (web *netHTTP) awaitFirst(ctx context.Context) error {
	return poll(ctx, &web.offered)
}

// poll waits until a count is 0.
func poll(ctx context.Context, count *atomic.Int64) error {
	for count.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// wrapForHTTP is the connection as net/http is to see it. A *tls.Conn that speaks
// HTTP/2 it must get as it is.
func (c *Conn) wrapForHTTP(conn net.Conn, in []byte, frame requestFraming) net.Conn {
	viaTLS := c.in != nil && c.in.secure
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Or(inHTTP)
	end := newHTTPSocket(c.loop.srv, conn, c.remote(), false)
	s, secured := c.stream().(*tlsStream)
	if secured {
		c.facts.stream = nil
		conn = s.detach(end, in != nil)
		if in == nil {
			return conn
		}
	} else {
		conn = end
	}
	handed := newHTTPConn(conn, end, frame, bytes.Clone(in))
	handed.viaTLS, handed.anonymous = viaTLS, c.is(anonymousClient)
	if secured {
		handed.stream = s
		return tlsHTTPConn{handed, s.tls}
	}
	return handed
}

// httpHasNoDescriptor answers a plain request that can not be handed over, most likely
// for want of descriptors: net/http needs one more for a moment.
func (l *shard) httpHasNoDescriptor(c *Conn, in []byte, err error) {
	if failures := l.counters.acceptErrors.Add(1); failures%100 == 1 {
		l.srv.log().Warn("connection not handed over", "remote", c.RemoteName(), "err", err, "failures", failures)
	}
	c.mu.Lock()
	_, _ = c.write(appendRefusal(nil, in, refuseNoDescriptor), nil) // what the kernel does not take is lost
	c.closeStream()
	c.mu.Unlock()
	l.closeFD(int(c.fd))
	c.fd = -1
}

var refuseNoDescriptor = busy("out of descriptors", "1")

// startNetHTTP starts net/http's part with the first connection for it; false means
// that the server stopped before there was one.
func (s *Server) startNetHTTP() bool {
	s.netHTTP.once.Do(func() {
		s.netHTTP.conns = netconn.NewListener()
		s.netHTTP.server = &http.Server{
			Handler:           http.HandlerFunc(s.serveNetHTTP),
			ReadHeaderTimeout: s.limits.handshake.Time(),
			IdleTimeout:       s.limits.httpIdle,
			MaxHeaderBytes:    s.limits.head.Bytes,
			ConnContext:       s.noteProxied,
			ErrorLog:          s.errorLog(),
			ConnState:         s.netHTTP.follow,
		}
		go func() { _ = s.netHTTP.server.Serve(s.netHTTP.conns) }() // ends with ErrServerClosed
	})
	return s.netHTTP.server != nil
}

// serveNetHTTP serves a request of a connection that net/http has: over HTTP/2 it may be
// for a WebSocket or an event stream, over HTTP/1 a loop has those, but for what the hook has left to HTTP.
// Once the server is not ready each answer is its connection's last.
func (s *Server) serveNetHTTP(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(httpConnKey{}).(*httpConn)
	s.netHTTP.begun(c)
	if r.ProtoMajor == 1 && asksForUpgrade(r) {
		s.servePage(w, r.WithContext(context.WithValue(r.Context(), leftToHTTP{}, s)))
		return
	}
	if s.phaseNow() != PhaseServing {
		w.Header().Set("Connection", "close")
	}
	if r.ProtoMajor == 1 {
		if s.EventStreams && asksForEvents(r) {
			r = r.WithContext(context.WithValue(r.Context(), leftToHTTP{}, s))
		}
		s.servePage(w, r)
		return
	}
	if remote, ok := r.Context().Value(remoteKey{}).(string); ok {
		r.RemoteAddr = remote
	}
	req, err := headOf(r)
	if err == nil && s.forHook(req) || err != nil && asksForUpgrade(r) {
		s.serveUpgrade(w, r, s.serveStream)
		return
	}
	if err = s.trustNetHTTP(r, req); err == nil && s.HTTP == nil {
		err = s.refusePlain(req) // HTTP/2 is spoken for event streams alone
	}
	if err != nil {
		_ = s.answerNetHTTP(w, r, err) // the client is told
		return
	}
	s.serveStream(w, r)
}

// securedKey is the context key of connections whose client came over TLS to the
// proxy.
type securedKey struct{}

// shutdownNetHTTP ends net/http's part, within ctx politely.
func (s *Server) shutdownNetHTTP(ctx context.Context) error {
	s.netHTTP.once.Do(func() {}) // it starts no more
	if s.netHTTP.server == nil {
		return nil
	}
	if err := s.netHTTP.awaitFirst(ctx); err != nil {
		return err
	}
	if err := s.netHTTP.server.Shutdown(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return poll(ctx, &s.netHTTP.open) // of what net/http has given up, some is just being closed
}

func (s *Server) closeNetHTTP() {
	s.netHTTP.once.Do(func() {})
	if s.netHTTP.server != nil {
		_ = s.netHTTP.server.Close() // closing connections may fail, and then they are gone too
	}
}
