package netconn

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// Response is the ResponseWriter of a stream of HTTP/2 whose peer must take each piece of
// the answer within a time: one connection carries many streams, so what bounds it says
// nothing of one of them. net/http's own deadlines of a stream end what is late; those
// that a handler sets hold beside. It is used as any ResponseWriter, by one goroutine.
type Response struct {
	http.ResponseWriter
	piece   int
	timeout time.Duration
	ctl     *http.ResponseController
	watch   watch
	wrote   bool

	mu  sync.Mutex
	own time.Time // the handler's write deadline
}

// NewResponse is w, whose peer takes piece bytes in each timeout. Else late is called,
// in a goroutine of its own, and the stream is reset.
func NewResponse(w http.ResponseWriter, piece int, timeout time.Duration, late func()) *Response {
	r := &Response{ResponseWriter: w, piece: piece, timeout: timeout, ctl: http.NewResponseController(w)}
	r.watch.late = func() {
		late()
		_ = r.ctl.SetWriteDeadline(longAgo) // resets the stream
	}
	return r
}

// Write implements http.ResponseWriter.
func (r *Response) Write(p []byte) (n int, err error) {
	r.wrote = true
	for {
		piece := p[n:min(n+r.piece, len(p))]
		r.watch.begin(r.timeout)
		m, err := r.ResponseWriter.Write(piece)
		r.watch.end()
		if n += m; err != nil || n >= len(p) {
			return n, err
		}
	}
}

// WriteString implements io.StringWriter.
func (r *Response) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

// Flush implements http.Flusher.
func (r *Response) Flush() { _ = r.FlushError() }

// FlushError is Flush for http.ResponseController.
func (r *Response) FlushError() error {
	r.watch.begin(r.timeout)
	defer r.watch.end()
	return r.ctl.Flush()
}

// SetWriteDeadline is the handler's, through http.ResponseController.
func (r *Response) SetWriteDeadline(at time.Time) error {
	r.mu.Lock()
	r.own = at
	r.mu.Unlock()
	return r.ctl.SetWriteDeadline(at)
}

// Unwrap is for http.ResponseController.
func (r *Response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Push implements http.Pusher.
func (r *Response) Push(target string, opts *http.PushOptions) error {
	if pusher, ok := r.ResponseWriter.(http.Pusher); ok {
		return pusher.Push(target, opts)
	}
	return http.ErrNotSupported
}

// End bounds what net/http still writes when the handler has returned: less than 4
// KiB.
func (r *Response) End() {
	if !r.wrote {
		return
	}
	r.mu.Lock()
	own := r.own
	r.mu.Unlock()
	_ = r.ctl.SetWriteDeadline(Earlier(own, time.Now().Add(r.timeout))) // it is over already
}

// body is the body of a request over HTTP/2.
type body struct {
	io.ReadCloser
	pace  Pace
	watch watch
	left  time.Duration // for the next bytes of the pace
	got   int
}

// NewBody is a request's body that must come at a pace, while somebody waits for it in a
// Read. Else late is called, in a goroutine of its own, and the Read fails, through w, the
// ResponseWriter of the same request.
func NewBody(r io.ReadCloser, w http.ResponseWriter, pace Pace, late func()) io.ReadCloser {
	b := &body{ReadCloser: r, pace: pace, left: pace.Timeout}
	ctl := http.NewResponseController(w)
	b.watch.late = func() {
		late()
		_ = ctl.SetReadDeadline(longAgo) // fails the Read
	}
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (n int, err error) {
	began := time.Now()
	b.watch.begin(b.left)
	n, err = b.ReadCloser.Read(p)
	b.watch.end()
	b.left -= time.Since(began)
	if b.got += n; b.got >= b.pace.Bytes {
		b.left, b.got = b.pace.Timeout, 0
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
