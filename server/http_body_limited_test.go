package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// TestNothingBehindUnreadBody: a handler that bounds and closes a large body unread, as
// one that refuses: no byte of the body is taken for a request.
func TestNothingBehindUnreadBody(t *testing.T) {
	t.Parallel()
	smuggled := strings.Repeat("GET /smuggled HTTP/1.1\nHost: a\n\n", 10000)
	refuse := func(seen *atomic.Int64) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/smuggled" {
				seen.Add(1)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			defer r.Body.Close()
			http.Error(w, "who are you?", http.StatusForbidden)
		}
	}
	for name, request := range map[string]string{"length": post("/", smuggled), "chunks": chunked("/", smuggled)} {
		t.Run(name, func(t *testing.T) {
			onOwnPort(t, func(t *testing.T, start starter) {
				var seen atomic.Int64
				connect, _ := start(t, func(s *server.Server) { s.HTTP = refuse(&seen) })
				c := connect()
				go func() { _, _ = c.Conn.Write([]byte(request)) }()
				c.response()
				time.Sleep(100 * time.Millisecond)
				if n := seen.Load(); n > 0 {
					t.Errorf("%d requests out of a body", n)
				}
			})
			var seen atomic.Int64
			plain := httptest.NewServer(refuse(&seen))
			defer plain.Close()
			c := dial(t, plain.Listener.Addr().String())
			go func() { _, _ = c.Conn.Write([]byte(request)) }()
			c.response()
			time.Sleep(100 * time.Millisecond)
			t.Logf("net/http alone: %d", seen.Load())
		})
	}
}
