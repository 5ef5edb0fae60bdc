package server_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// TestOddChunks: a body whose chunks could be read in two ways is not read on, and
// what follows it is no request.
func TestOddChunks(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, _ := start(t, func(s *server.Server) {
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/smuggled" {
					t.Error("a request was smuggled")
				}
				answerPlain(w, r)
			})
		})
		for _, odd := range []string{"5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "0\n\n", "0\r\nX: y\n\r\n", "+5\r\nhello\r\n0\r\n\r\n"} {
			c := connect()
			c.send("POST /odd HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + odd + get("/smuggled"))
			if resp, body := c.response(); resp.StatusCode != http.StatusTeapot || !resp.Close {
				t.Errorf("%q: %d %q", odd, resp.StatusCode, body)
			}
			c.expectEnd()
		}
	})
}

// TestClientGoneBehindRequest: a handler's context ends when the client goes, not when
// it pipelines.
func TestClientGoneBehindRequest(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		gone := make(chan error, 1)
		connect, _ := start(t, func(s *server.Server) {
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/wait" {
					answerPlain(w, r)
					return
				}
				wait := patience
				if r.URL.RawQuery == "pipelined" {
					wait = 50 * time.Millisecond
				}
				select {
				case <-r.Context().Done():
					gone <- r.Context().Err()
				case <-time.After(wait):
					gone <- nil
				}
			})
		})
		for _, before := range []string{"", get("/page"), post("/page", "hello")} {
			c := connect()
			if before != "" {
				c.send(before)
				c.response()
			}
			c.send(get("/wait"))
			time.Sleep(5 * time.Millisecond)
			_ = c.Close()
			if err := <-gone; err == nil {
				t.Errorf("behind %.10q: the handler does not hear that the client is gone", before)
			}
		}
		c := connect()
		c.send(get("/wait?pipelined") + get("/next"))
		if err := <-gone; err != nil {
			t.Errorf("pipelining: %v", err)
		}
		c.response()
		c.expectPlain("GET /next ")
	})
}

// TestHijackedElsewhere: who hijacks a connection gets all that the client sends, and
// its own deadlines.
func TestHijackedElsewhere(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			s.Timeouts.Body, s.Timeouts.Write = time.Second, time.Second
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/hijack" {
					answerPlain(w, r)
					return
				}
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "hello ") // the client sees
				_, _ = io.Copy(conn, rw)
			})
		})
		c := connect()
		c.send(get("/page"))
		c.expectPlain("GET /page ")
		c.send(get("/hijack") + "all of ")
		if got := c.payload(13); got != "hello all of " {
			t.Errorf("%q", got)
		}
		eventually(t, "net/http has none", func() bool { return srv.DrainProgress().HTTP == 0 })
		time.Sleep(1200 * time.Millisecond) // no bound of the server's holds any more
		c.send("this")
		if got := c.payload(4); got != "this" {
			t.Errorf("%q", got)
		}
	})
}

// TestUnreadBody: when the handler leaves a body unread and net/http ends the
// connection, the client sees the end at once.
func TestUnreadBody(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, _ := start(t, bodies)
		for try := 1; ; try++ { // a busy machine may be slower once
			c := connect()
			c.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome of it")
			c.closeWrite()
			if resp, _ := c.response(); !resp.Close {
				t.Error("the connection is to be kept")
			}
			began := time.Now()
			c.expectEOF()
			took := time.Since(began)
			if took < 400*time.Millisecond {
				break
			}
			if try == 5 {
				t.Fatalf("the end came after %v", took)
			}
		}
	})
}
