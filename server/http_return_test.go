package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// oddRequests are what net/http's parser is lenient about, and what it may not see.
var oddRequests = map[string]string{
	"bare LF":                  strings.ReplaceAll(get("/"), "\r\n", "\n"),
	"bare LF in an upgrade":    strings.ReplaceAll(upgradeRequest(), "\r\n", "\n"),
	"folded Upgrade":           strings.Replace(upgradeRequest(), "Upgrade: websocket", "Upgrade:\r\n websocket", 1),
	"two Content-Lengths":      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"length and chunks":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks in HTTP/1.0":       "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"120 lines":                "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", 120) + "\r\n",
	"a head of 19 KB":          "GET / HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("a", 19<<10) + "\r\n\r\n",
	"a target of 17 KB":        "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n",
	"no Host":                  "GET / HTTP/1.1\r\n\r\n",
	"space before a colon":     "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"HTTP/2.0":                 "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"garbage":                  "\x00\x03\x01\x02\x00\x01",
	"old version in upgrade":   with("Version: 13", "Version: 8"),
	"foreign Origin":           upgradeRequest("Origin: http://evil.example"),
	"forwarded by two voices":  upgradeRequest("X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2"),
	"an upgrade with a length": upgradeRequest("Content-Length: 5") + "hello",
}

// TestStrictBehindPages: each request of a connection is answered as if it were the
// first, in whatever pieces it comes, and the handler sees none that is refused.
func TestStrictBehindPages(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			s.Proxy.Trusted = everybody
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/page" {
					t.Errorf("the handler was asked for %.80q", r.URL)
				}
				answerPlain(w, r)
			})
		})
		for name, request := range oddRequests {
			first := connect()
			first.send(request)
			want, wantBody := first.response()
			if want.StatusCode < 400 {
				t.Errorf("%s: %d, want a refusal", name, want.StatusCode)
			}
			_ = first.Close()
			for _, before := range []string{get("/page"), post("/page", "hello"), chunked("/page", "hello")} {
				for _, way := range []string{"apart", "in pieces", "pipelined"} {
					c := connect()
					sendBehind(c, before, request, way)
					if got, body := c.response(); got.StatusCode != want.StatusCode || body != wantBody || !got.Close {
						t.Errorf("%s, %s behind %.10q: %d %q, want %d %q", name, way, before, got.StatusCode, body, want.StatusCode, wantBody)
					}
					_ = c.Close()
				}
			}
		}
		s := srv.Stats()
		if s.Upgraded != 0 || s.Returned != uint64(9*len(oddRequests)) {
			t.Errorf("%d upgraded, %d returned, want 0 and %d", s.Upgraded, s.Returned, 9*len(oddRequests))
		}
		openConns(t, srv, 0)
		eventually(t, "net/http has none", func() bool { return srv.DrainProgress().HTTP == 0 })
	})
}

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func chunked(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n%x;ext=1\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n",
		path, len(body), body)
}

// sendBehind sends request behind a first one, whose answer is read.
func sendBehind(c *client, before, request, way string) {
	c.t.Helper()
	if way == "pipelined" {
		c.send(before + request)
		c.response()
		return
	}
	c.send(before)
	c.response()
	if way == "in pieces" {
		c.send(request[:3])
		time.Sleep(time.Millisecond)
		request = request[3:]
	}
	c.send(request)
}

// TestUpgradeBehindPages: an upgrade behind a page is a connection of a loop like any
// other, over TLS too, with what came behind it.
func TestUpgradeBehindPages(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, srv := start(t, plainHTTP)
		long := strings.Repeat("long ", 10_000)
		for _, way := range []string{"apart", "in pieces", "pipelined"} {
			c := connect()
			c.send(get("/1"))
			c.expectPlain("GET /1 ")
			sendBehind(c, post("/2", "body"), upgradeRequest()+frame(opText, "pipelined")+frame(opText, long)+frame(opText, "half")[:7], way)
			c.expectSwitch()
			c.expect(opText, "pipelined")
			c.expect(opText, long)
			c.send(frame(opText, "half")[7:])
			c.expect(opText, "half")
			infos, err := srv.Conns(context.Background(), server.ByAge, 10)
			if err != nil || len(infos) != 1 || (infos[0].Transport == "bridge") != (bridgedHere(t, 1) == 1) {
				t.Errorf("%s: connections %+v, %v: want one, and a bridge where there is no descriptor", way, infos, err)
			}
			c.send(frame(opClose, closePayload(1000, "")))
			c.expectClose(1000)
			_ = c.Close()
			openConns(t, srv, 0)
		}
		if s := srv.Stats(); s.Bridged != 0 || s.HandedToHTTP < 3 || s.Returned != s.HandedToHTTP || s.Upgraded != 3 || s.Accepted != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// TestLongHeadsBehindPages: heads longer than net/http's buffer, and pipelines, are
// served, each once and in order.
func TestLongHeadsBehindPages(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, srv := start(t, plainHTTP)
		c := connect()
		head := "GET /%d HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", 8<<10) + "\r\n\r\n"
		var all strings.Builder
		for i := range 20 {
			fmt.Fprintf(&all, head, i)
			all.WriteString(get(fmt.Sprint("/short/", i)) + chunked("/p", fmt.Sprint("body ", i)))
		}
		go func() { _, _ = io.WriteString(c.Conn, all.String()) }()
		for i := range 20 {
			c.expectPlain(fmt.Sprintf("GET /%d ", i))
			c.expectPlain(fmt.Sprintf("GET /short/%d ", i))
			c.expectPlain(fmt.Sprintf("POST /p body %d", i))
		}
		c.send("\r\n" + get("/behind-an-empty-line"))
		c.expectPlain("GET /behind-an-empty-line ")
		_ = c.Close()
		eventually(t, "net/http has none", func() bool { return srv.DrainProgress().HTTP == 0 })
	})
}

// TestMemoryOfPipelinedHeads: a connection that net/http has holds what its peer has
// sent, not MaxHead.
func TestMemoryOfPipelinedHeads(t *testing.T) {
	const conns, maxHead = 100, 1 << 20
	held, release := make(chan struct{}, conns), make(chan struct{})
	addr, _ := startServer(t, func(s *server.Server) {
		s.Limits.Head = maxHead
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				held <- struct{}{}
				<-release
				return
			}
			time.Sleep(20 * time.Millisecond) // the next request comes meanwhile
		})
	})
	defer close(release)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range conns {
		c := dial(t, addr)
		c.send(get("/"))
		time.Sleep(5 * time.Millisecond)
		c.send(get("/hold") + "G")
		<-held
	}
	if got := int64(heap()-before) / conns; got > 128<<10 {
		t.Errorf("%d KiB a connection for 100 bytes from its peer", got>>10)
	}
}
