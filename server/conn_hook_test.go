package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// upgradeTo is a valid upgrade request for a target.
func upgradeTo(target string, lines ...string) string {
	return strings.Replace(upgradeRequest(lines...), "GET / ", "GET "+target+" ", 1)
}

// TestHookSees: what an Upgrade hook is told about the request.
func TestHookSees(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	remotes := make(chan string, 2)
	addr, _ := startServer(t, func(s *server.Server) {
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			cookie, _ := r.Cookie("session")
			seen <- fmt.Sprint(r.Method(), r.Path(), r.Query().Get("q"), r.Host(), r.Header("x-any"), cookie, r.Subprotocols())
			remotes <- r.RemoteAddr.String()
			return server.Accept{}, nil
		}
		s.Handler = handler{open: func(c *server.Conn) { remotes <- c.RemoteAddr().String() }}
	})
	c := dial(t, addr)
	c.send(upgradeTo("/rooms/1?q=a%20b", "X-Any: value", "Cookie: a=b; session=42", "Sec-WebSocket-Protocol: v1, v2"))
	c.expectSwitch()
	if got, want := <-seen, fmt.Sprint("GET", "/rooms/1", "a b", "example.com", "value", "42", []string{"v1", "v2"}); got != want {
		t.Errorf("the hook saw %q, want %q", got, want)
	}
	for range 2 {
		if got := <-remotes; got != c.LocalAddr().String() {
			t.Errorf("RemoteAddr is %s, want %s", got, c.LocalAddr())
		}
	}
}

// TestHookAccepts: the hook's handler, value, header and subprotocol count.
func TestHookAccepts(t *testing.T) {
	t.Parallel()
	onTransports(t, testHookAccepts)
}

func testHookAccepts(t *testing.T, serve serving) {
	t.Parallel()
	values := make(chan any, 2)
	rec := newRecorder(t)
	addr, _ := serve(t, func(s *server.Server) {
		s.Subprotocols = []string{"v1"}
		s.Handler = handler{open: func(*server.Conn) { t.Error("the server's own handler was opened") }}
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			return server.Accept{
				Handler: valueFirst{rec, values}, Value: 42, Subprotocol: "v2",
				Header: http.Header{"Set-Cookie": {"a=1", "b=2"}, "X-Path": {r.Path()}},
			}, nil
		}
	})
	c := dial(t, addr)
	c.send(upgradeTo("/here", "Sec-WebSocket-Protocol: v1, v2") + frame(opText, "pipelined"))
	h := c.expectSwitch().Header
	if fmt.Sprint(h["Set-Cookie"], h["X-Path"], h["Sec-Websocket-Protocol"]) != "[a=1 b=2] [/here] [v2]" {
		t.Errorf("101 with %v", h)
	}
	c.expect(opText, "pipelined")
	rec.expect("open", "1 pipelined")
	if v := <-values; v != 42 {
		t.Errorf("Value() = %v in Open, want 42", v)
	}
}

// TestHookRefuses: what each way to refuse, or to fail, gets. Another connection
// goes on, and no handler is opened.
func TestHookRefuses(t *testing.T) {
	t.Parallel()
	hooks := map[string]struct {
		status int
		hook   func() (server.Accept, error)
	}{
		"/status": {429, func() (server.Accept, error) {
			return server.Accept{}, &ws.Refusal{Status: 429, Reason: "too many", Header: http.Header{"Retry-After": {"7"}}}
		}},
		"/wrapped": {401, func() (server.Accept, error) {
			return server.Accept{}, fmt.Errorf("because: %w", &ws.Refusal{Status: 401, Header: http.Header{"Retry-After": {"7"}}})
		}},
		"/plain-error":      {500, func() (server.Accept, error) { return server.Accept{}, errors.New("database: secret") }},
		"/zero-status":      {500, func() (server.Accept, error) { return server.Accept{}, &ws.Refusal{} }},
		"/not-offered":      {500, func() (server.Accept, error) { return server.Accept{Subprotocol: "soap"}, nil }},
		"/handshake-header": {500, func() (server.Accept, error) { return server.Accept{Header: http.Header{"Upgrade": {"x"}}}, nil }},
		"/bad-header":       {500, func() (server.Accept, error) { return server.Accept{Header: http.Header{"X": {"a\r\nb"}}}, nil }},
		"/panic":            {500, func() (server.Accept, error) { panic("hook") }},
		"/goexit":           {500, func() (server.Accept, error) { runtime.Goexit(); panic("unreachable") }},
	}
	for _, plainFirst := range []bool{false, true} {
		addr, srv := startServer(t, func(s *server.Server) {
			if plainFirst {
				plainHTTP(s)
			}
			s.Handler = echo{}
			s.Upgrade = func(r *ws.Request) (server.Accept, error) {
				if r.Path() == "/" {
					return server.Accept{}, nil
				}
				return hooks[r.Path()].hook()
			}
		})
		other := dial(t, addr).upgraded()
		for path, test := range hooks {
			t.Run(fmt.Sprintf("%s, behind a plain request: %v", path, plainFirst), func(t *testing.T) {
				c := dial(t, addr)
				if plainFirst {
					if path == "/panic" || path == "/goexit" {
						return // net/http's own way: it closes the connection
					}
					c.send(get("/"))
					c.expectPlain("GET / ")
				}
				c.send(upgradeTo(path) + frame(opText, "behind") + upgradeRequest())
				resp, body := c.response()
				if resp.StatusCode != test.status || !resp.Close || strings.Contains(body, "secret") {
					t.Errorf("status %d, close %v, %q, want %d", resp.StatusCode, resp.Close, body, test.status)
				}
				if test.status < 500 && resp.Header.Get("Retry-After") != "7" {
					t.Errorf("%d with %v", test.status, resp.Header)
				}
				c.expectEOF()
				_ = c.Close()
				other.send(frame(opText, "alive"))
				other.expect(opText, "alive")
			})
		}
		eventually(t, "the refused connections to be freed", func() bool { return srv.Stats().Open == 1 })
		if n := srv.Stats().Upgraded; n != 1 {
			t.Errorf("%d connections were upgraded, want 1", n)
		}
	}
}

// TestHookNotAsked: the hook decides after the checks and the origin, and not on
// plain requests.
func TestHookNotAsked(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, func(s *server.Server) {
		s.Upgrade = func(*ws.Request) (server.Accept, error) {
			t.Error("the hook was asked")
			return server.Accept{}, nil
		}
	})
	for _, request := range []string{
		get("/"), without("Sec-WebSocket-Key:"), with("Version: 13", "Version: 8"), upgradeRequest("Origin: null"),
	} {
		c := dial(t, addr)
		c.send(request)
		c.expectRefusal(400, 403, 426)
	}
}

// TestHookBlocks: a hook that waits holds up its own connection alone, and the
// frame behind the request waits with it.
func TestHookBlocks(t *testing.T) {
	t.Parallel()
	onTransports(t, testHookBlocks)
}

func testHookBlocks(t *testing.T, serve serving) {
	t.Parallel()
	release := make(chan struct{})
	asked := make(chan struct{}, 100)
	addr, _ := serve(t, func(s *server.Server) {
		s.Runtime.Loops = 1
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Path() == "/" {
				return server.Accept{}, nil
			}
			asked <- struct{}{}
			<-release
			if r.Path() == "/no" {
				return server.Accept{}, &ws.Refusal{Status: 403}
			}
			return server.Accept{}, nil
		}
	})
	var blocked []*client
	for i := range 20 {
		c := dial(t, addr)
		c.send(upgradeTo([]string{"/yes", "/no"}[i%2]) + frame(opText, "pipelined"))
		<-asked
		blocked = append(blocked, c)
	}
	other := dial(t, addr).upgraded()
	other.send(frame(opText, "meanwhile"))
	other.expect(opText, "meanwhile")
	blocked[0].send(frame(opText, "later"))
	close(release)
	for i, c := range blocked {
		if i%2 == 1 {
			c.expectRefusal(403)
			continue
		}
		c.expectSwitch()
		c.expect(opText, "pipelined")
	}
	blocked[0].expect(opText, "later")
}

// TestConnRequest: within Open always; after it with KeepRequest only.
func TestConnRequest(t *testing.T) {
	t.Parallel()
	onTransports(t, testConnRequest)
}

func testConnRequest(t *testing.T, serve serving) {
	t.Parallel()
	describe := func(c *server.Conn) string {
		if r := c.Request(); r != nil {
			return r.Path() + " " + r.Header("X-Any")
		}
		return "none"
	}
	addr, _ := serve(t, func(s *server.Server) {
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			return server.Accept{KeepRequest: strings.HasPrefix(r.Path(), "/keep"), Value: "x", Subprotocol: r.SelectSubprotocol("v1")}, nil
		}
		s.Handler = handler{
			open:    func(c *server.Conn) { _ = c.SendText("open: " + describe(c)) }, // the client sees
			message: func(c *server.Conn, m ws.Message) { _ = c.SendText("message: " + describe(c) + " " + c.Subprotocol()) },
		}
	})
	for _, test := range []struct{ target, protocol, later string }{
		{"/keep", "", "/keep value "},
		{"/keep2", "v1", "/keep2 value v1"},
		{"/drop", "", "none "},
		{"/drop2", "v1", "none v1"},
	} {
		c := dial(t, addr)
		request := upgradeTo(test.target, "X-Any: value")
		if test.protocol != "" {
			request = upgradeTo(test.target, "X-Any: value", "Sec-WebSocket-Protocol: "+test.protocol)
		}
		c.send(request + frame(opText, ""))
		c.expectSwitch()
		c.expect(opText, "open: "+test.target+" value")
		c.expect(opText, "message: "+test.later)
		// Another request and message through the same buffers, then this one again.
		dial(t, addr).upgraded("X-Any: other")
		c.send(frame(opText, ""))
		c.expect(opText, "message: "+test.later)
	}
}
