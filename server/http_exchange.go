package server

import (
	"cmp"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/ws"
)

// exchange is the far side of a bridge to a stream of HTTP/2 (RFC 8441): the
// request's body is what the peer sends, the response's body what it gets. Their
// ends stand for a FIN, a reset of the stream for one of TCP. net/http owns the
// stream, so the handler that was called for it stays until all is over, as the
// bridge's reader.
type exchange struct {
	body io.Reader
	w    http.ResponseWriter
	ctl  *http.ResponseController

	unix      bool        // the connection is a Unix socket's
	header    http.Header // of the 200
	accepted  sync.Once   // the 200 is sent, whoever comes first
	acceptErr error

	mu      sync.Mutex
	writing bool
	closed  bool
	ended   bool // the handler returns: w is not to be used any more
}

var refuseNoStream = &ws.Refusal{
	Status: http.StatusNotImplemented,
	Reason: "a middleware stands between this stream and the WebSocket server: its ResponseWriter has no Unwrap",
}

// takeStream serves a WebSocket over HTTP/2 and returns when it is over. An error
// says that it has not begun; taken, as takeOver.
func (s *Server) takeStream(w http.ResponseWriter, r *http.Request, req *ws.Request, accept Accept) (taken bool, err error) {
	w = innermost(w) // as Hijack does: frames are no content for a middleware to change
	if _, ok := w.(http.Flusher); !ok {
		return false, refuseNoStream
	}
	t := &takenOver{accept: accept, request: req, settled: make(chan *ws.Refusal, 1)}
	resp := s.responseTo(req, &t.accept)
	header, err := ws.ConnectHeader(req, &resp)
	if err != nil {
		s.freeWindows(t.accept.deflate)
		return false, err
	}
	e := &exchange{body: r.Body, w: w, ctl: http.NewResponseController(w), unix: onUnix(r), header: header}
	b := newBridge(s, e)
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	b.secured, b.local = r.TLS, addrPortOf(local)
	s.send(arrival{fd: -1, taken: t, bridge: b})
	if <-b.begun; b.conn == nil {
		return true, cmp.Or(b.refusal, refuseStopping) // the place that was reserved is given back
	}
	_ = e.accept() // the writer will know
	b.run()
	b.wait()
	e.end()
	return true, nil
}

// innermost is the ResponseWriter that is not a middleware's.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}

// accept sends the 200, once. The reader's goroutine calls it, and the writer's
// before it writes.
func (e *exchange) accept() error {
	e.accepted.Do(func() {
		// The deadlines of net/http's Server are for requests that end.
		_ = e.ctl.SetReadDeadline(time.Time{})
		_ = e.ctl.SetWriteDeadline(time.Time{})
		maps.Copy(e.w.Header(), e.header)
		e.w.WriteHeader(http.StatusOK)
		e.acceptErr = e.ctl.Flush()
	})
	return e.acceptErr
}

func (e *exchange) Read(p []byte) (int, error) { return e.body.Read(p) }

// Write returns when the peer's windows have let all of p through.
func (e *exchange) Write(p []byte) (n int, err error) {
	if !e.beginWrite() {
		return 0, net.ErrClosed // it would not be ended: Close has been
	}
	defer e.endWrite()
	if err := e.accept(); err != nil {
		return 0, err
	}
	if n, err = e.w.Write(p); err != nil {
		return n, err
	}
	return n, e.ctl.Flush()
}

func (e *exchange) beginWrite() (open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writing = !e.closed
	return e.writing
}

func (e *exchange) endWrite() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writing = false
}

// CloseWrite has the handler return, since only then net/http ends the stream in
// our direction. No reset can overtake what was written (RFC 9113 section 8.1), so
// there is no need to read on.
func (e *exchange) CloseWrite() error { return e.Close() }

// Close ends a Read under way, and, with a reset of the stream, a Write.
func (e *exchange) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return nil
	}
	e.closed = true
	past := time.Unix(1, 0)
	if e.writing {
		_ = e.ctl.SetWriteDeadline(past) // net/http knows it
	}
	return e.ctl.SetReadDeadline(past)
}

// end waits until nobody uses w.
func (e *exchange) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
}
