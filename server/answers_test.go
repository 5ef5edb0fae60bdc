package server_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
)

// webSocketOnly answers plain requests for /first and has all else be a WebSocket's.
func webSocketOnly(s *server.Server) {
	s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			answerPlain(w, r)
			return
		}
		s.ServeHTTP(w, r)
	})
}

// everyWay runs a test for each way on which a request comes to a server that has
// nothing but WebSockets: its own port, net/http, and its own port behind a plain
// request, which is net/http's.
func everyWay(t *testing.T, configure func(*server.Server), test func(t *testing.T, connect func() *client)) {
	behind := func(start starter) starter {
		return func(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
			connect, srv := start(t, func(s *server.Server) {
				if configure != nil {
					configure(s)
				}
				webSocketOnly(s)
			})
			return func() *client {
				c := connect()
				c.send(get("/first"))
				c.expectPlain("GET /first ")
				return c
			}, srv
		}
	}
	unwrapped := func(t *testing.T, configure func(*server.Server)) (string, *server.Server) {
		return startMounted(t, systemEngine(t), func(conn net.Conn) net.Conn { return conn }, configure)
	}
	for name, start := range map[string]starter{
		"simnet": onSimnet, "own port": onSockets, "own port, TLS": onTLSSockets,
		"net/http": onMounted(unwrapped), "net/http, TLS": onMounted(startTLSBridge),
		"behind a plain request": behind(onSockets), "behind a plain request, TLS": behind(onTLSSockets),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connect, _ := start(t, configure)
			test(t, func() *client {
				c := connect()
				c.t = t
				return c
			})
		})
	}
}

// expectReason is expectRefusal for one whose body says why.
func (c *client) expectReason(status int, reason string) *http.Response {
	c.t.Helper()
	resp, body := c.response()
	if resp.StatusCode != status || !strings.Contains(body, reason) || !resp.Close {
		c.t.Errorf("status %d, %q, close %v, want %d, %q in it", resp.StatusCode, body, resp.Close, status, reason)
	}
	c.expectEOF()
	return resp
}

// TestMalformedExtensions: a list that is none fails the handshake, whatever the
// server would make of a right one.
func TestMalformedExtensions(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*server.Server){
		"without Deflate": nil,
		"with Deflate":    func(s *server.Server) { s.Deflate = &server.Deflate{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyWay(t, configure, func(t *testing.T, connect func() *client) {
				for _, list := range []string{
					";=,,", "permessage-deflate;;", "", ",", strings.Repeat(",", 9) + "a", ";", `"`, "a b", "a/b", "\xe9",
					`a; b="c`, `a; b="c d"`, `a; b=""`, `a; b="c"d`, "a; b=", "a; =c", "a; b=c=d", "permessage-deflate, a;",
				} {
					c := connect()
					c.send(upgradeRequest("Sec-WebSocket-Extensions: "+list) + frame(opText, "behind"))
					c.expectReason(400, "malformed Sec-WebSocket-Extensions")
				}
				for _, list := range []string{"a", ",, a,,", `a; b="c"; d = e`, "permessage-deflate; nonsense=1"} {
					c := connect()
					c.send(upgradeRequest("Sec-WebSocket-Extensions: " + list))
					c.expectSwitch()
				}
			})
		})
	}
}

// TestUpgradeInHTTP10: it is ignored (RFC 9110 section 7.8), so the answer is a plain
// request's: 426 where there are only WebSockets, and the page where there is one.
func TestUpgradeInHTTP10(t *testing.T) {
	t.Parallel()
	old := strings.Replace(upgradeRequest(), "HTTP/1.1", "HTTP/1.0", 1)
	everyWay(t, nil, func(t *testing.T, connect func() *client) {
		for _, request := range []string{old, strings.Replace(old, "GET", "POST", 1), "GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n"} {
			c := connect()
			c.send(request + frame(opText, "behind"))
			resp := c.expectReason(426, "connect with the WebSocket protocol")
			if resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("426 with %v", resp.Header)
			}
		}
		c := connect()
		c.send(strings.Replace(old, "GET", "HEAD", 1))
		if resp, err := http.ReadResponse(c.r, &http.Request{Method: "HEAD"}); err != nil || resp.StatusCode != 426 {
			t.Errorf("HEAD: %v, %v", resp, err)
		}
	})
	for name, start := range map[string]starter{"own port": onSockets, "TLS": onTLSSockets} {
		t.Run(name, func(t *testing.T) {
			connect, _ := start(t, plainHTTP)
			c := connect()
			c.send(strings.Replace(old, "GET /", "GET /page", 1))
			c.expectPlain("GET /page ")
			c = connect()
			c.send(strings.Replace(get("/first"), "\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n", 1))
			c.expectPlain("GET /first ")
			c.send(strings.Replace(old, "GET /", "GET /second", 1))
			c.expectPlain("GET /second ")
		})
	}
}
