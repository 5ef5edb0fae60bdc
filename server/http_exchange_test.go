package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// connectRequest is an extended CONNECT as net/http gives it to handlers.
func connectRequest(change func(r *http.Request)) *http.Request {
	r := httptest.NewRequest("CONNECT", "http://example.com/chat?v=1", strings.NewReader(""))
	r.URL.Scheme, r.URL.Host, r.URL.Path, r.URL.RawQuery = "", "", "/chat", "v=1"
	r.Host = "example.com"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.ContentLength = -1
	r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
	if change != nil {
		change(r)
	}
	return r
}

// TestConnectRefused: what of RFC 8441 section 5 and of RFC 6455 a request over
// HTTP/2 can get wrong.
func TestConnectRefused(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Add(name, value) }
	}
	for name, test := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"GET":                   {func(r *http.Request) { r.Method = "GET"; r.Header.Del(":protocol") }, 405},
		"GET with Upgrade":      {func(r *http.Request) { r.Method = "GET"; r.Header.Set("Upgrade", "websocket") }, 405},
		"another protocol":      {func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp"} }, 405},
		"no version":            {func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, 400},
		"version 8":             {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 400},
		"versions 13 and 8":     {header("Sec-WebSocket-Version", "8"), 400},
		"Content-Length":        {header("Content-Length", "5"), 400},
		"malformed subprotocol": {header("Sec-WebSocket-Protocol", "a b"), 400},
		"foreign origin":        {header("Origin", "http://evil.example"), 403},
		"two origins":           {func(r *http.Request) { r.Header["Origin"] = []string{"http://example.com", "http://example.com"} }, 400},
		"refused by the hook":   {func(r *http.Request) { r.URL.Path = "/refused" }, 429},
		"426 by the hook":       {func(r *http.Request) { r.URL.Path = "/upgrade" }, 426},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
				srv.Handler = handler{open: func(*server.Conn) { t.Error("opened") }}
				srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
					if r.Path() == "/refused" {
						return server.Accept{}, &ws.Refusal{Status: 429}
					}
					if r.Path() == "/upgrade" {
						return server.Accept{}, ws.UpgradeRequired()
					}
					return server.Accept{}, nil
				}
			})
			defer closeServer(t, srv)
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, connectRequest(test.change))
			if w.Code != test.status {
				t.Errorf("status %d (%s), want %d", w.Code, w.Body, test.status)
			}
			for _, name := range []string{"Connection", "Upgrade"} {
				if w.Header().Get(name) != "" {
					t.Errorf("%s: %s, which HTTP/2 has not", name, w.Header().Get(name))
				}
			}
			if strings.HasPrefix(name, "version") && w.Header().Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("400 with %v: it does not say which version", w.Header())
			}
		})
	}
}

// TestConnectNotTaken: a server that can not take a stream says so.
func TestConnectNotTaken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configure func(*server.Server)
		wrap      func(http.ResponseWriter) http.ResponseWriter
		status    int
	}{
		"loops only": {configure: func(srv *server.Server) { srv.Runtime.LoopsOnly = true }, status: 501},
		"no Unwrap":  {wrap: func(w http.ResponseWriter) http.ResponseWriter { return plainWriter{w} }, status: 501},
		"mistaken hook": {configure: func(srv *server.Server) {
			srv.Upgrade = func(*ws.Request) (server.Accept, error) { return server.Accept{Subprotocol: "not offered"}, nil }
		}, status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := prepare(t, systemEngine(t), test.configure)
			defer closeServer(t, srv)
			rec := httptest.NewRecorder()
			w := http.ResponseWriter(rec)
			if test.wrap != nil {
				w = test.wrap(w)
			}
			srv.ServeHTTP(w, connectRequest(nil))
			if rec.Code != test.status {
				t.Errorf("status %d (%s), want %d", rec.Code, rec.Body, test.status)
			}
		})
	}
	t.Run("closed", func(t *testing.T) {
		srv, _ := prepare(t, systemEngine(t), nil)
		closeServer(t, srv)
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, connectRequest(nil))
		if w.Code != 503 {
			t.Errorf("status %d, want 503", w.Code)
		}
	})
}

// TestConnectTooMany: the bounds of connections hold, and free what they gave.
func TestConnectTooMany(t *testing.T) {
	for name, limit := range map[string]func(*server.Server){
		"in all":     func(srv *server.Server) { srv.Limits.Conns = 2 },
		"an address": func(srv *server.Server) { srv.Limits.ConnsPerAddr = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			addr, srv := startStreams(t, limit)
			first, second := dial(t, addr).upgraded(), dial(t, addr).upgraded()
			for range 3 {
				c := dial(t, addr)
				c.send(upgradeRequest())
				c.expectRefusal(503)
			}
			if s := srv.Stats(); s.Open != 2 || s.Bridged != 2 || s.Refusals[503] != 3 {
				t.Errorf("%+v", s)
			}
			for _, c := range []*client{first, second} {
				c.send(frame(opClose, ""))
				c.expectClose(1005)
			}
			eventually(t, "those are gone", func() bool { return srv.Stats().Open == 0 })
			dial(t, addr).upgraded()
		})
	}
}

// TestConnectHook: what the hook and the handler see of the request, and the
// client of the answer.
func TestConnectHook(t *testing.T) {
	t.Parallel()
	addr, _ := startStreams(t, func(srv *server.Server) {
		srv.Subprotocols = []string{"chat"}
		srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Method() != "CONNECT" || !r.ExtendedConnect || r.Path() != "/rooms/7" || r.Query().Get("a") != "b" ||
				r.Host() != "example.com" || r.Header("X-Asked") != "yes" || !r.RemoteAddr.Addr().IsLoopback() {
				t.Errorf("the hook sees %v %v %v", r.Method(), r.Target(), r)
			}
			for name := range r.Headers() {
				if strings.HasPrefix(name, ":") {
					t.Errorf("a field %s", name)
				}
			}
			return server.Accept{Header: http.Header{"X-Hook": {"was here"}}, KeepRequest: true}, nil
		}
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			_ = c.SendText(c.Request().Method() + " " + c.Subprotocol()) // the client sees
		})
	})
	c := dial(t, addr)
	c.send(strings.Replace(upgradeRequest("X-Asked: yes", "Sec-WebSocket-Protocol: chat"), "GET / ", "GET /rooms/7?a=b ", 1))
	resp := c.expectSwitch()
	if resp.Header.Get("X-Hook") != "was here" || resp.Header.Get("Sec-WebSocket-Protocol") != "chat" {
		t.Errorf("accepted with %v", resp.Header)
	}
	c.send(frame(opText, "?"))
	c.expect(opText, "CONNECT chat")
}

// TestConnectEmpty: a stream that the client has ended with its request is one
// that sends nothing.
func TestConnectEmpty(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Handler = rec })
	defer closeServer(t, srv)
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, connectRequest(nil)) // returns: it is over
	if w.Code != 200 || w.Header().Get("Sec-WebSocket-Accept") != "" {
		t.Errorf("status %d with %v", w.Code, w.Header())
	}
	if rest, _ := io.ReadAll(w.Body); len(rest) > 0 {
		t.Errorf("%q was sent", rest)
	}
	rec.expect("open", "close 1006 ours")
}
