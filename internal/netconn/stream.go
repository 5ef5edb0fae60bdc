package netconn

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// Stream is a stream of HTTP/2 as a connection (RFC 8441): the request's body is what
// the peer sends, the response's body what it gets. Their ends stand for a FIN, a reset
// of the stream for one of TCP. net/http owns the stream, so the handler that was called
// for it must stay until all is over, and then call End. One goroutine reads, one
// writes; all else may be called meanwhile.
type Stream struct {
	body io.Reader
	w    http.ResponseWriter
	ctl  *http.ResponseController

	hush func() // ends the Reads of a silent one; nil: it has a body

	header    http.Header // of the 200
	accepted  sync.Once   // the 200 is sent, whoever comes first
	acceptErr error

	mu      sync.Mutex
	writing bool
	closed  bool
	ended   bool // the handler returns: w is not to be used any more
}

// NewStream is the stream of a request with this body, whose answer goes to w: net/http's
// own, no middleware's. header are the fields of the 200.
func NewStream(w http.ResponseWriter, body io.Reader, header http.Header) *Stream {
	return &Stream{body: body, w: w, ctl: http.NewResponseController(w), header: header}
}

// NewAnswer is the stream of an answer that goes on, to a request without a body: a Read waits
// until ctx, the request's, is done, which is the peer's end.
func NewAnswer(ctx context.Context, w http.ResponseWriter, header http.Header) *Stream {
	ctx, stop := context.WithCancel(ctx)
	s := NewStream(w, silence{ctx}, header)
	s.hush = stop
	return s
}

// silence is a body of which nothing comes but its end.
type silence struct{ ctx context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, io.EOF
}

// Innermost is the ResponseWriter that is not a middleware's.
func Innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}

// Accept sends the 200, once. Write calls it as well.
func (s *Stream) Accept() error {
	s.accepted.Do(func() {
		// The deadlines of net/http's Server are for requests that end.
		_ = s.ctl.SetReadDeadline(time.Time{})
		_ = s.ctl.SetWriteDeadline(time.Time{})
		maps.Copy(s.w.Header(), s.header)
		s.w.WriteHeader(http.StatusOK)
		s.acceptErr = s.ctl.Flush()
	})
	return s.acceptErr
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write implements io.Writer. It returns when the peer's windows have let all of p
// through.
func (s *Stream) Write(p []byte) (n int, err error) {
	if !s.beginWrite() {
		return 0, net.ErrClosed // it would not be ended: Close has been
	}
	defer s.endWrite()
	if err := s.Accept(); err != nil {
		return 0, err
	}
	if n, err = s.w.Write(p); err != nil {
		return n, err
	}
	return n, s.ctl.Flush()
}

func (s *Stream) beginWrite() (open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = !s.closed
	return s.writing
}

func (s *Stream) endWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
}

// CloseWrite is Close, after which the handler is to return, since only then net/http
// ends the stream in our direction. No reset can overtake what was written (RFC 9113
// section 8.1), so there is no need to read on.
func (s *Stream) CloseWrite() error { return s.Close() }

// Close ends a Read under way, and, with a reset of the stream, a Write.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	s.closed = true
	if s.hush != nil {
		s.hush()
	}
	if s.writing {
		_ = s.ctl.SetWriteDeadline(longAgo) // net/http knows it
	}
	return s.ctl.SetReadDeadline(longAgo)
}

// End says that the handler returns: w is not used after it.
func (s *Stream) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// longAgo is a deadline that is over.
var longAgo = time.Unix(1, 0)
