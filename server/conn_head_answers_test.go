package server_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
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

// TestHeadHasNoBody: an answer to HEAD is its head, whatever is refused and however
// early, and says how long the body would be (RFC 9110 section 9.3.2).
func TestHeadHasNoBody(t *testing.T) {
	t.Parallel()
	expect := func(t *testing.T, c *client, status int) {
		t.Helper()
		resp, err := http.ReadResponse(c.r, &http.Request{Method: http.MethodHead})
		if err != nil || resp.StatusCode != status || resp.ContentLength <= 0 {
			t.Fatalf("%v, %v, want status %d and a length", resp, err, status)
		}
		expectDate(t, resp)
		c.expectEOF() // not a byte of a body
	}
	everyWay(t, nil, func(t *testing.T, connect func() *client) {
		for request, status := range map[string]int{
			with("GET", "HEAD"): 405, strings.Replace(get("/"), "GET", "HEAD", 1): 426,
			strings.Replace(with("GET", "HEAD"), "HTTP/1.1", "HTTP/1.0", 1): 426,
		} {
			c := connect()
			c.send(request)
			expect(t, c, status)
		}
	})
	for name, start := range map[string]starter{"own port": onSockets, "TLS": onTLSSockets} {
		connect, _ := start(t, func(s *server.Server) { s.Timeouts.Handshake = 300 * time.Millisecond })
		t.Run(name, func(t *testing.T) {
			for request, status := range map[string]int{
				"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400, "\r\nHEAD / HTTP/1.1\r\nno header\r\n": 400, "HEAD / HTTP/3.0\r\n\r\n": 505,
				"HEAD /" + strings.Repeat("a", 17<<10): 414, "HEAD / HTTP/1.1\r\nX: " + strings.Repeat("a", 17<<10): 431, "HEAD / HT": 408,
			} {
				c := connect()
				c.t = t
				c.send(request)
				expect(t, c, status)
			}
		})
	}
}

// TestOddRequests: a target that is too long gets 414, a method that is too long or
// unknown 501, and an empty line may stand before any request (RFC 9112).
func TestOddRequests(t *testing.T) {
	t.Parallel()
	everyWay(t, nil, func(t *testing.T, connect func() *client) {
		for request, reason := range map[string]string{
			strings.Replace(get("/"), "GET", "BREW", 1):                  "unknown method",
			strings.Replace(get("/"), "GET", strings.Repeat("A", 40), 1): "method too long",
			with("GET", strings.Repeat("A", 40)):                         "method too long",
		} {
			c := connect()
			c.send(request)
			c.expectReason(501, reason)
		}
	})
	for name, start := range map[string]starter{"own port": onSockets, "TLS": onTLSSockets} {
		t.Run(name, func(t *testing.T) {
			connect, srv := start(t, plainHTTP)
			for _, request := range []string{get("/" + strings.Repeat("a", 17<<10)), with("GET /", "GET /"+strings.Repeat("a", 17<<10))} {
				c := connect()
				c.send(request)
				c.expectReason(414, "target too long")
			}
			if got := srv.Stats().Limits[server.LimitHead]; got != 2 {
				t.Errorf("%d heads over the limit, want 2", got)
			}
			for _, pieces := range [][]string{{"\r\n" + get("/plain")}, {"\r", "\n" + get("/plain")}, {"\r\n", get("/plain")}} {
				c := connect()
				for _, piece := range pieces {
					c.send(piece)
					time.Sleep(5 * time.Millisecond) // so that they come apart
				}
				c.expectPlain("GET /plain ")
				c.send(get("/second"))
				c.expectPlain("GET /second ")
			}
		})
	}
}

// TestTargetsAlike: what is not ASCII in a target, and a Host, mean the same on all
// ways, and what is refused is so for the same reason.
func TestTargetsAlike(t *testing.T) {
	t.Parallel()
	configure := func(s *server.Server) {
		var mux server.Mux
		mux.HandleUpgrade("/{name}", func(r *ws.Request) (server.Accept, error) {
			return server.Accept{Header: http.Header{
				"X-Target": {r.Target()}, "X-Path": {r.Path()}, "X-Name": {r.PathValue("name")}, "X-Query": {r.Query().Get("name")}, "X-Host": {r.Host()},
			}}, nil
		})
		s.Upgrade = mux.Upgrade
	}
	everyWay(t, configure, func(t *testing.T, connect func() *client) {
		for _, test := range []struct{ target, host, name, query string }{
			{"/echo?name=J\xc3\xbcrgen", "example.com", "echo", "J\xc3\xbcrgen"},
			{"/J\xc3\xbcrgen", "example.com", "J\xc3\xbcrgen", ""},
			{"/J%C3%BCrgen?name=J%C3%BCrgen", "example.com", "J\xc3\xbcrgen", "J\xc3\xbcrgen"},
			{"/a%2Fb\xff?", "example.com", "a/b\xff", ""},
			{"/a|{b}\\^`\"<>", "example.com", "a|{b}\\^`\"<>", ""},
			{"/echo", "a!b", "echo", ""}, {"/echo", "a%C3%BC:80", "echo", ""}, {"/echo", "[::1]:80", "echo", ""},
		} {
			c := connect()
			c.send(strings.NewReplacer("GET / ", "GET "+test.target+" ", "example.com", test.host).Replace(upgradeRequest()))
			h := c.expectSwitch().Header
			path, _, _ := strings.Cut(test.target, "?")
			if h.Get("X-Target") != test.target || h.Get("X-Path") != path || h.Get("X-Name") != test.name || h.Get("X-Query") != test.query ||
				h.Get("X-Host") != test.host {
				t.Errorf("%q at %s: %q", test.target, test.host, h)
			}
		}
		for request, reason := range map[string]string{
			with("example.com", ""):             "a Host that is not empty",
			with("example.com", "a@b"):          "Host",
			with("example.com", ":80"):          "Host",
			with("GET /", "GET /a#b"):           "malformed request target",
			with("GET /", "GET /?a#b"):          "malformed request target",
			upgradeRequest("X: a", "X-\xe9: b"): "",
		} {
			c := connect()
			c.send(request)
			c.expectReason(400, reason)
		}
		c := connect()
		c.send(with("GET /", "GET //a"))
		c.expectReason(404, "no WebSocket at this path")
		for _, target := range []string{"/a b", "/a\x01", "/a\x7f", "/a?\x00", "/a?\t"} {
			c := connect()
			c.send(with("GET /", "GET "+target))
			c.expectReason(400, "") // of net/http, where it has the connection
		}
	})
}

// TestEmptyHost: a plain request, as of a health monitor, may have an empty Host, or
// none in HTTP/1.0; an upgrade may not, and HTTP/1.1 needs one.
func TestEmptyHost(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]starter{"own port": onSockets, "TLS": onTLSSockets} {
		t.Run(name, func(t *testing.T) {
			connect, _ := start(t, plainHTTP)
			for _, request := range []string{
				"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: \t\r\n\r\n",
				"GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.0\r\nHost:\r\n\r\n",
			} {
				c := connect()
				c.send(request)
				c.expectPlain("GET /healthz ")
			}
			for _, first := range []string{"", get("/first")} {
				c := connect()
				if c.send(first); first != "" {
					c.expectPlain("GET /first ")
				}
				c.send("GET /healthz HTTP/1.1\r\nHost:\r\n\r\n")
				c.expectPlain("GET /healthz ")
				c.send(with("example.com", ""))
				c.expectReason(400, "a Host that is not empty")
			}
			for _, request := range []string{"GET /healthz HTTP/1.1\r\n\r\n", without("Host:"), with("example.com", "")} {
				c := connect()
				c.send(request)
				c.expectReason(400, "Host")
			}
		})
	}
}
