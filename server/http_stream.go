package server

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// # Requests over HTTP/2
//
// One connection carries many, so what bounds it says nothing of a stream: a peer may
// take all that is sent and allow a stream nothing. So its answer is watched piece by
// piece, and its body while somebody waits for it. net/http's own deadlines of a
// stream end what is late; those that a handler sets hold beside.

// webStream is the ResponseWriter of a stream for a plain request.
type webStream struct {
	http.ResponseWriter
	srv   *Server
	ctl   *http.ResponseController
	watch watch
	wrote bool

	mu  sync.Mutex
	own time.Time // the handler's write deadline
}

// serveStream serves a plain request over HTTP/2.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	if !countIn(&s.web.streams, s.limits.httpStreams) {
		s.hit(LimitHTTPStreams)
		_ = s.answerWeb(w, r, refuseStreams) // the client is told
		return
	}
	defer s.web.streams.Add(-1)
	ctl := http.NewResponseController(w)
	stream := &webStream{ResponseWriter: w, srv: s, ctl: ctl}
	stream.watch.late = func() {
		s.hit(LimitWriteTimeout)
		_ = ctl.SetWriteDeadline(longAgo) // resets the stream
	}
	if s.limits.body > 0 && r.Body != nil && r.Body != http.NoBody {
		body := &webBody{ReadCloser: r.Body, srv: s, left: s.limits.body}
		body.watch.late = func() {
			s.hit(LimitBodyTimeout)
			_ = ctl.SetReadDeadline(longAgo) // fails the Read
		}
		r.Body = body
	}
	defer stream.end()
	s.HTTP.ServeHTTP(stream, r)
}

var longAgo = time.Unix(1, 0)

var refuseStreams = busy("too many requests at once", "1")

// Write implements http.ResponseWriter. Each piece must be taken within Timeouts.Write.
func (w *webStream) Write(p []byte) (n int, err error) {
	w.wrote = true
	for {
		piece := p[n:min(n+bridgePiece, len(p))]
		w.watch.begin(w.srv.writeTimeout())
		m, err := w.ResponseWriter.Write(piece)
		w.watch.end()
		if n += m; err != nil || n >= len(p) {
			return n, err
		}
	}
}

// WriteString implements io.StringWriter.
func (w *webStream) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// Flush implements http.Flusher.
func (w *webStream) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *webStream) FlushError() error {
	w.watch.begin(w.srv.writeTimeout())
	defer w.watch.end()
	return w.ctl.Flush()
}

// SetWriteDeadline is the handler's, through http.ResponseController.
func (w *webStream) SetWriteDeadline(at time.Time) error {
	w.mu.Lock()
	w.own = at
	w.mu.Unlock()
	return w.ctl.SetWriteDeadline(at)
}

// Unwrap is for http.ResponseController.
func (w *webStream) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Push implements http.Pusher.
func (w *webStream) Push(target string, opts *http.PushOptions) error {
	if pusher, ok := w.ResponseWriter.(http.Pusher); ok {
		return pusher.Push(target, opts)
	}
	return http.ErrNotSupported
}

// end bounds what net/http still writes when the handler has returned: less than 4
// KiB.
func (w *webStream) end() {
	if !w.wrote {
		return
	}
	w.mu.Lock()
	own := w.own
	w.mu.Unlock()
	_ = w.ctl.SetWriteDeadline(earlier(own, time.Now().Add(w.srv.writeTimeout()))) // it is over already
}

// webBody is the body of a request over HTTP/2: see Server.Timeouts.Body.
type webBody struct {
	io.ReadCloser
	srv   *Server
	watch watch
	left  time.Duration // for the next 4 KiB
	got   int
}

// Read implements io.Reader.
func (b *webBody) Read(p []byte) (n int, err error) {
	began := time.Now()
	b.watch.begin(b.left)
	n, err = b.ReadCloser.Read(p)
	b.watch.end()
	b.left -= time.Since(began)
	if b.got += n; b.got >= progressBytes {
		b.left, b.got = b.srv.limits.body, 0
	}
	return n, err
}

// watch calls late if what has begun does not end in time. late runs before end
// returns, or not at all.
type watch struct {
	late func()

	mu    sync.Mutex
	timer *time.Timer
	turn  uint64 // grows with each begin and end
}

func (w *watch) begin(most time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	turn := w.turn
	w.timer = time.AfterFunc(most, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.turn == turn {
			w.late()
		}
	})
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	w.timer.Stop()
}
