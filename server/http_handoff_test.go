package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// answerPlain answers with what it was asked.
func answerPlain(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body) // the client sees
}

func plainHTTP(s *server.Server) { s.HTTP = http.HandlerFunc(answerPlain) }

// expectPlain reads a 200 with the body.
func (c *client) expectPlain(want string) {
	c.t.Helper()
	resp, body := c.response()
	if resp.StatusCode != 200 || body != want {
		c.t.Fatalf("status %d, body %q, want 200 and %q", resp.StatusCode, body, want)
	}
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: example.com\r\n\r\n" }

// TestPlainHTTP: requests that are no upgrades are net/http's, on the same port
// and on the same connection as upgrades.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, plainHTTP)
	t.Run("keep-alive", func(t *testing.T) {
		c := dial(t, addr)
		for i := range 3 {
			c.send(get(fmt.Sprint("/", i)))
			c.expectPlain(fmt.Sprintf("GET /%d ", i))
		}
	})
	t.Run("pipelined", func(t *testing.T) {
		c := dial(t, addr)
		c.send(get("/a") + get("/b") + get("/c"))
		c.expectPlain("GET /a ")
		c.expectPlain("GET /b ")
		c.expectPlain("GET /c ")
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		c := dial(t, addr)
		c.send("GET /old HTTP/1.0\r\n\r\n")
		c.expectPlain("GET /old ")
		c.expectEOF()
	})
	t.Run("body that came with the head in part", func(t *testing.T) {
		for _, size := range []int{1, 10, 100_000} {
			body := strings.Repeat("b", size)
			c := dial(t, addr)
			head := fmt.Sprintf("POST /p HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n", size)
			c.send(head + body[:size/2])
			c.send(body[size/2:] + get("/next"))
			c.expectPlain("POST /p " + body)
			c.expectPlain("GET /next ")
		}
	})
	t.Run("head a byte at a time", func(t *testing.T) {
		c := dial(t, addr)
		for _, b := range []byte("POST /slow HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n") {
			c.send(string([]byte{b}))
		}
		c.expectPlain("POST /slow hello")
	})
	t.Run("an upgrade after plain requests, with a frame behind it", func(t *testing.T) {
		c := dial(t, addr)
		c.send(get("/first"))
		c.expectPlain("GET /first ")
		c.send(upgradeRequest() + frame(opText, "pipelined") + frame(opText, "half")[:5])
		c.expectSwitch()
		c.expect(opText, "pipelined")
		c.send(frame(opText, "half")[5:])
		c.expect(opText, "half")
		c.send(frame(opClose, closePayload(1000, "")))
		c.expectClose(1000)
	})
	t.Run("all in one segment", func(t *testing.T) {
		c := dial(t, addr)
		long := strings.Repeat("more than net/http reads ahead", 1000)
		c.send(get("/first") + upgradeRequest() + frame(opText, "pipelined") + frame(opText, long))
		c.expectPlain("GET /first ")
		c.expectSwitch()
		c.expect(opText, "pipelined")
		c.expect(opText, long)
	})
	eventually(t, "handed over connections to leave the loops", func() bool { return srv.Stats().Open <= 1 })
}

// TestPlainHTTPThenFIN: a request is answered though the client's direction has
// ended behind it.
func TestPlainHTTPThenFIN(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, plainHTTP)
	c := dial(t, addr)
	c.send(get("/fin"))
	c.closeWrite()
	c.expectPlain("GET /fin ")
	c.expectEOF()
}

// TestPlainHTTPDescriptors: what goes to net/http and comes back is used by the
// poller contract, and closed with the server though the clients keep it open.
func TestPlainHTTPDescriptors(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, plainHTTP)
	for i := range 10 {
		c := dialSim(t, n, addr)
		c.send(get("/first"))
		c.expectPlain("GET /first ")
		if i%2 == 0 {
			continue // stays with net/http
		}
		c.send(upgradeRequest() + frame(opText, "pipelined"))
		c.expectSwitch()
		c.expect(opText, "pipelined")
	}
}

// TestPlainHTTPWithoutHandler: without Server.HTTP a plain request gets 426.
func TestPlainHTTPWithoutHandler(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, nil)
	for _, request := range []string{get("/"), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "GET / HTTP/1.0\r\n\r\n"} {
		c := dial(t, addr)
		c.send(request + get("/second"))
		resp := c.expectRefusal(426)
		if resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("426 with %v", resp.Header)
		}
	}
}

// TestRefusalBehindPlainHTTP: an upgrade that comes after a plain request, and so
// through net/http, is refused like any other: one 4xx, and nothing behind it is
// taken for a request.
func TestRefusalBehindPlainHTTP(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, func(s *server.Server) {
		plainHTTP(s)
		s.Handler = handler{open: func(*server.Conn) { t.Error("a refused connection was opened") }}
	})
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"version 8", with("Version: 13", "Version: 8"), 426},
		{"no key", without("Sec-WebSocket-Key:"), 400},
		{"key twice", upgradeRequest("Sec-WebSocket-Key: " + clientKey), 400},
		{"no Connection token", without("Connection:"), 400},
		{"POST", with("GET", "POST"), 405},
		{"Content-Length", upgradeRequest("Content-Length: 5") + "hello", 400},
		{"Transfer-Encoding", upgradeRequest("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", 400},
		{"foreign Origin", upgradeRequest("Origin: http://evil.example"), 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, addr)
			c.send(get("/"))
			c.expectPlain("GET / ")
			c.send(test.request + get("/second"))
			resp := c.expectRefusal(test.status)
			if test.status == 426 && (resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Version") != "13") {
				t.Errorf("426 with %v", resp.Header)
			}
		})
	}
}
