package netconn_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/netconn"
)

// response is a ResponseWriter of a stream, as net/http's: a Write takes its time, and a
// deadline that is over resets it.
type response struct {
	header http.Header
	takes  time.Duration // a Write

	mu       sync.Mutex
	status   int
	wrote    strings.Builder
	largest  int // Write
	flushes  int
	writeBy  time.Time
	readBy   time.Time
	bySet    chan struct{} // closed when writeBy is set
	readable chan struct{} // closed when readBy is over
}

func newResponse(takes time.Duration) *response {
	return &response{header: http.Header{}, takes: takes, bySet: make(chan struct{}), readable: make(chan struct{})}
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) { r.status = status }

func (r *response) Write(p []byte) (int, error) {
	r.mu.Lock()
	set := r.bySet
	r.mu.Unlock()
	select {
	case <-time.After(r.takes):
	case <-set:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.writeBy.IsZero() && !time.Now().Before(r.writeBy) {
		return 0, os.ErrDeadlineExceeded
	}
	r.largest = max(r.largest, len(p))
	return r.wrote.Write(p)
}

func (r *response) FlushError() error {
	r.flushes++
	return nil
}

func (r *response) Flush() { _ = r.FlushError() }

func (r *response) SetWriteDeadline(at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writeBy = at; !at.IsZero() && !at.After(time.Now()) {
		close(r.bySet)
		r.bySet = make(chan struct{})
	}
	return nil
}

func (r *response) SetReadDeadline(at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readBy = at; !at.IsZero() && !at.After(time.Now()) {
		close(r.readable)
		r.readable = make(chan struct{})
	}
	return nil
}

// body is a request's body that gives a byte each pause, until the read deadline.
type body struct {
	*response
	pause time.Duration
}

func (b body) Read(p []byte) (int, error) {
	b.mu.Lock()
	over := b.readable
	b.mu.Unlock()
	select {
	case <-over:
		return 0, os.ErrDeadlineExceeded
	case <-time.After(b.pause):
		return copy(p, "x"), nil
	}
}

func (b body) Close() error { return nil }

// TestStreamAccepts once, whoever comes first, and without the deadlines of a request.
func TestStreamAccepts(t *testing.T) {
	for name, first := range map[string]func(*netconn.Stream) error{
		"Accept": (*netconn.Stream).Accept,
		"Write": func(s *netconn.Stream) error {
			_, err := s.Write(nil)
			return err
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			w := newResponse(0)
			w.writeBy, w.readBy = time.Now().Add(time.Second), time.Now().Add(time.Second)
			s := netconn.NewStream(w, strings.NewReader("from the peer"), http.Header{"A": {"b"}})
			if err := first(s); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			before := w.flushes
			if n, err := s.Write([]byte("to the peer")); n != 11 || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
			if w.flushes == before {
				t.Error("it was not flushed")
			}
			if w.status != 200 || w.header.Get("A") != "b" || w.wrote.String() != "to the peer" || !w.readBy.IsZero() {
				t.Errorf("answered %d %v %q", w.status, w.header, w.wrote.String())
			}
			if got, err := io.ReadAll(s); string(got) != "from the peer" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

// TestStreamClose ends what is under way, and nothing is written after it.
func TestStreamClose(t *testing.T) {
	for name, end := range map[string]func(*netconn.Stream) error{
		"Close": (*netconn.Stream).Close, "CloseWrite": (*netconn.Stream).CloseWrite,
	} {
		inBubble(t, name, func(t *testing.T) {
			w := newResponse(time.Hour)
			s := netconn.NewStream(w, body{w, time.Hour}, nil)
			errs := make(chan error, 2)
			go func() {
				_, err := s.Read(make([]byte, 1))
				errs <- err
			}()
			go func() {
				_, err := s.Write([]byte("x"))
				errs <- err
			}()
			synctest.Wait()
			began := time.Now()
			if err := end(s); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("ended with %v", err)
				}
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("they have ended after %v", took)
			}
			if n, err := s.Write([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("a Write after it: %d, %v", n, err)
			}
		})
	}
}

// TestStreamIsNotReset where nothing is being written: what was written is on its way.
func TestStreamIsNotReset(t *testing.T) {
	w := newResponse(0)
	s := netconn.NewStream(w, body{w, 0}, nil)
	if _, err := s.Write([]byte("the last")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil || !w.writeBy.IsZero() || w.readBy.IsZero() {
		t.Errorf("%v, write deadline %v, read deadline %v; want only that of reading", err, w.writeBy, w.readBy)
	}
}

// TestStreamEnd: once its handler returns, the ResponseWriter is net/http's.
func TestStreamEnd(t *testing.T) {
	w := newResponse(0)
	s := netconn.NewStream(w, body{w, 0}, nil)
	s.End()
	if err := s.Close(); err != nil || !w.writeBy.IsZero() || !w.readBy.IsZero() {
		t.Errorf("Close after it: %v, deadlines %v and %v", err, w.writeBy, w.readBy)
	}
}

// middleware is a ResponseWriter around another.
type middleware struct{ http.ResponseWriter }

func (m middleware) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func TestInnermost(t *testing.T) {
	w := newResponse(0)
	if got := netconn.Innermost(middleware{middleware{w}}); got != w {
		t.Errorf("%T", got)
	}
}
