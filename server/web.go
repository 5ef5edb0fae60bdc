package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/ws"
)

// web is the net/http server behind the same port. It starts with the first
// plain request.
type web struct {
	once   sync.Once
	server *http.Server
	conns  handedOver
}

// httpIdleTimeout is how long net/http keeps a connection between requests.
const httpIdleTimeout = 2 * time.Minute

// handToHTTP gives the connection to net/http, with the bytes read so far.
func (c *Conn) handToHTTP(in []byte) {
	l := c.loop
	c.mu.Lock()
	c.setLife(lifeClosed)
	c.out = nil // the cork, and empty: nothing was sent
	c.mu.Unlock()
	c.gone = true
	if err := l.poll.Remove(int(c.fd)); err != nil {
		l.srv.log().Error("handing over to net/http", "remote", c.RemoteAddr(), "err", err)
		return
	}
	conn, err := l.engine.Detach(int(c.fd))
	if err != nil {
		l.noRoomForHTTP(c, err)
		return
	}
	c.fd = -1
	l.counters.handedToHTTP.Add(1)
	if !l.srv.startWeb() {
		_ = conn.Close() // the server is closing: the peer sees just that
		return
	}
	l.srv.web.conns.offer(&readConn{Conn: conn, unread: slices.Clone(in)})
}

// noRoomForHTTP answers a plain request that can not be handed over, most likely
// for want of descriptors: net/http needs one more for a moment.
func (l *loop) noRoomForHTTP(c *Conn, err error) {
	if failures := l.counters.acceptErrors.Add(1); failures%100 == 1 {
		l.srv.log().Warn("handing over to net/http", "remote", c.RemoteAddr(), "err", err, "failures", failures)
	}
	_, _ = l.engine.Write(int(c.fd), ws.AppendRefusal(nil, refuseNoRoom)) // what the kernel does not take is lost
	l.closeFD(int(c.fd))
	c.fd = -1
}

var refuseNoRoom = &ws.Refusal{Status: http.StatusServiceUnavailable, Reason: "out of descriptors"}

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
			ErrorLog:          slog.NewLogLogger(s.log().Handler(), slog.LevelWarn),
		}
		go func() { _ = s.web.server.Serve(&s.web.conns) }() // ends with ErrServerClosed
	})
	return s.web.server != nil
}

// serveWeb serves a request of a connection that net/http has: an upgrade may
// come after plain requests.
func (s *Server) serveWeb(w http.ResponseWriter, r *http.Request) {
	if headOf(r).WantsUpgrade() {
		s.ServeHTTP(w, r)
		return
	}
	s.HTTP.ServeHTTP(w, r)
}

// ServeHTTP takes a connection over from net/http, so that a Server can be
// mounted in any router: it does all that happens to an upgrade on the server's
// own port (the checks, the origin, the Upgrade hook) and answers a refusal
// through w. The loops are started if need be. HTTP/2 and TLS connections have no
// descriptor to take and get 501.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := headOf(r)
	err := checkHead(r, req)
	var accept Accept
	if err == nil {
		accept, err = s.decide(req)
	}
	if err == nil {
		err = s.takeOver(w, r, req, accept)
	}
	s.answerWeb(w, r, err)
}

// HandleHTTP is ServeHTTP for a router that has decided already: accept takes the
// place of the Upgrade hook. The origin is checked.
func (s *Server) HandleHTTP(w http.ResponseWriter, r *http.Request, accept Accept) {
	req := headOf(r)
	err := checkHead(r, req)
	if err == nil && !s.originAllowed(req) {
		err = refuseOrigin
	}
	if err == nil {
		err = s.takeOver(w, r, req, s.withDefaults(req, accept))
	}
	s.answerWeb(w, r, err)
}

func checkHead(r *http.Request, req *ws.Request) error {
	switch {
	case r.TLS != nil || r.ProtoMajor != 1:
		return refuseTakeOver
	case !req.WantsUpgrade():
		return ws.UpgradeRequired()
	}
	return req.CheckUpgrade()
}

// answerWeb answers an error; after a successful take-over it is nil and w is no
// longer ours. As on the server's own port the connection ends with a refusal:
// what follows it may be frames.
func (s *Server) answerWeb(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		return
	}
	var refusal *ws.Refusal
	if !errors.As(err, &refusal) {
		s.log().Error("upgrade failed", "err", err)
		refusal = refuseInternal
	}
	status := refusal.Status
	if status < 200 || status > 599 { // as ws.AppendRefusal
		status = http.StatusInternalServerError
	}
	h := w.Header()
	maps.Copy(h, refusal.Header)
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	if status == http.StatusUpgradeRequired {
		h.Add("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		h.Set("Sec-WebSocket-Version", "13")
	}
	http.Error(w, cmp.Or(refusal.Reason, http.StatusText(status)), status)
}

// headOf is r as package ws sees requests. A request that net/http has accepted
// and we do not parse is none that wants an upgrade.
func headOf(r *http.Request) *ws.Request {
	head := fmt.Appendf(nil, "%s %s HTTP/%d.%d\r\nHost: %s\r\n",
		r.Method, r.URL.RequestURI(), r.ProtoMajor, r.ProtoMinor, r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			head = fmt.Appendf(head, "%s: %s\r\n", name, value)
		}
	}
	for _, coding := range r.TransferEncoding { // net/http takes it out of the header
		head = fmt.Appendf(head, "Transfer-Encoding: %s\r\n", coding)
	}
	head = append(head, "\r\n"...)
	req := &ws.Request{}
	if req.Parse(head) != nil {
		req.Reset()
	}
	req.RemoteAddr, _ = netip.ParseAddrPort(r.RemoteAddr) // the zero value on a Unix socket
	req.TLS = r.TLS != nil
	return req
}

// takenOver is what a connection of net/http brings along.
type takenOver struct {
	accept   Accept
	request  *ws.Request
	response []byte
	unread   []byte
}

var refuseTakeOver = &ws.Refusal{
	Status: http.StatusNotImplemented,
	Reason: "this connection (TLS, or not HTTP/1.1) can not be taken over by the WebSocket server",
}

// takeOver takes the descriptor out of net/http and gives it to a loop.
func (s *Server) takeOver(w http.ResponseWriter, r *http.Request, req *ws.Request, accept Accept) error {
	if err := s.start(); err != nil {
		return err
	}
	t := &takenOver{accept: accept, request: req}
	resp := ws.Response{Subprotocol: accept.Subprotocol, Header: accept.Header}
	var err error
	if t.response, err = ws.AppendUpgrade(nil, req, &resp); err != nil {
		return err
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("server: taking over from net/http: %w", err)
	}
	// From here on w is not to be written to.
	t.unread, _ = buffered.Reader.Peek(buffered.Reader.Buffered()) // what is buffered can be peeked
	if rc, ok := conn.(*readConn); ok {
		t.unread, conn = append(slices.Clone(t.unread), rc.unread...), rc.Conn
	}
	s.attach(conn, t)
	return nil
}

// attach moves a hijacked connection into a loop.
func (s *Server) attach(conn net.Conn, t *takenOver) {
	_ = conn.SetDeadline(time.Time{}) // net/http's own; Attach finds out if conn is broken
	fd, remote, err := s.engine.Attach(conn)
	if err != nil {
		s.log().Warn("taking over from net/http", "remote", conn.RemoteAddr(), "err", err)
		_, _ = conn.Write(ws.AppendRefusal(nil, refuseTakeOver))
		_ = conn.Close()
		return
	}
	l := s.pickLoop()
	l.counters.accepted.Add(1)
	if !l.post(visit{arrival: &arrival{fd: fd, remote: remote, taken: t}}) {
		l.closeFD(fd)
	}
}

// openTaken opens a connection that was taken over, in its first turn.
func (c *Conn) openTaken(w *worker) {
	t := c.in.taken
	c.in.taken = nil
	c.open(w, t.request, t.accept, t.response)
	if c.lifeNow() == lifeOpen && len(t.unread) > 0 {
		w.received.bytes += len(t.unread)
		c.eatFrames(w, t.unread)
	}
	c.dropHead()
}

// readConn is a net.Conn of which some bytes are read already.
type readConn struct {
	net.Conn
	unread []byte
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
