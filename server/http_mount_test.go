package server_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// mount serves handle with net/http alone; the server behind it has no listener.
func mount(t *testing.T, srv *server.Server, handle func(http.ResponseWriter, *http.Request)) (addr string) {
	t.Helper()
	srv.Runtime.Engine, srv.Logger = systemEngine(t), noLog
	return mountAs(t, srv, handle)
}

// mountAs is mount for a server that is set up.
func mountAs(t *testing.T, srv *server.Server, handle func(http.ResponseWriter, *http.Request)) (addr string) {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(handle))
	t.Cleanup(func() {
		web.Close()
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return strings.TrimPrefix(web.URL, "http://")
}

// TestServeHTTP mounts the server in net/http: ServeHTTP takes the connection
// with the frames that are pipelined behind the request.
func TestServeHTTP(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	srv := &server.Server{Handler: rec, Subprotocols: []string{"chat"}, Upgrade: func(r *ws.Request) (server.Accept, error) {
		if !r.RemoteAddr.Addr().IsLoopback() {
			t.Errorf("RemoteAddr is %v", r.RemoteAddr)
		}
		if r.Path() == "/refused" {
			return server.Accept{}, &ws.Refusal{Status: 429, Reason: "too many", Header: http.Header{"Retry-After": {"7"}}}
		}
		return server.Accept{Header: http.Header{"X-Hook": {r.Header("X-Asked")}}}, nil
	}}
	addr := mount(t, srv, srv.ServeHTTP)
	t.Run("upgrade", func(t *testing.T) {
		c := dial(t, addr)
		c.send(upgradeRequest("X-Asked: yes", "Sec-WebSocket-Protocol: chat") + frame(opText, "pipelined") + frame(opText, "half")[:4])
		resp := c.expectSwitch()
		if resp.Header.Get("X-Hook") != "yes" || resp.Header.Get("Sec-WebSocket-Protocol") != "chat" {
			t.Errorf("101 with %v", resp.Header)
		}
		c.expect(opText, "pipelined")
		c.send(frame(opText, "half")[4:] + frame(opClose, closePayload(1000, "")))
		c.expect(opText, "half")
		c.expectClose(1000)
		rec.expect("open", "1 pipelined", "1 half", "close 1000 theirs")
	})
	t.Run("close frame pipelined", func(t *testing.T) {
		c := dial(t, addr)
		c.send(upgradeRequest() + frame(opClose, closePayload(1001, "")))
		c.expectSwitch()
		c.expectClose(1001)
		rec.expect("open", "close 1001 theirs")
	})
	t.Run("refused by the hook", func(t *testing.T) {
		c := dial(t, addr)
		c.send(with("GET /", "GET /refused") + frame(opText, "behind"))
		if resp := c.expectRefusal(429); resp.Header.Get("Retry-After") != "7" {
			t.Errorf("429 with %v", resp.Header)
		}
	})
	t.Run("refused by the checks", func(t *testing.T) {
		for request, status := range map[string]int{
			get("/"):                                      426,
			with("Version: 13", "Version: 8"):             426,
			without("Sec-WebSocket-Key:"):                 400,
			upgradeRequest("Origin: http://evil.example"): 403,
		} {
			c := dial(t, addr)
			c.send(request + frame(opText, "behind"))
			resp := c.expectRefusal(status)
			if status == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("426 with %v", resp.Header)
			}
		}
	})
}

// TestAccept: the router has decided, the Upgrade hook is not asked.
func TestAccept(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	srv := &server.Server{Upgrade: func(*ws.Request) (server.Accept, error) {
		t.Error("the hook was asked")
		return server.Accept{}, nil
	}}
	values, errs := make(chan any, 1), make(chan error, 1)
	addr := mount(t, srv, func(w http.ResponseWriter, r *http.Request) {
		errs <- srv.Accept(w, r, server.Accept{
			Handler: valueFirst{rec, values}, Value: r.PathValue("none") + "routed", Subprotocol: "v2",
			Header: http.Header{"X-Router": {"net/http"}},
		})
	})
	c := dial(t, addr)
	c.send(upgradeRequest("Sec-WebSocket-Protocol: v1, v2") + frame(opText, "pipelined"))
	resp := c.expectSwitch()
	if resp.Header.Get("X-Router") != "net/http" || resp.Header.Get("Sec-WebSocket-Protocol") != "v2" {
		t.Errorf("101 with %v", resp.Header)
	}
	c.expect(opText, "pipelined")
	if v := <-values; v != "routed" {
		t.Errorf("Value() = %v in Open", v)
	}
	rec.expect("open", "1 pipelined")
	if err := <-errs; err != nil {
		t.Errorf("Accept: %v", err)
	}

	c = dial(t, addr)
	c.send(upgradeRequest("Origin: http://evil.example"))
	c.expectRefusal(403)
	expectRefused(t, <-errs, 403)
	c = dial(t, addr)
	c.send(upgradeRequest()) // "v2" is not offered: the router's mistake
	c.expectRefusal(500)
	if err := <-errs; !strings.Contains(err.Error(), "v2") {
		t.Errorf("Accept: %v, want it to name the subprotocol", err)
	} else {
		expectRefused(t, err, 500)
	}
}

type valueFirst struct {
	*recorder
	values chan any
}

func (h valueFirst) Open(c *server.Conn) {
	h.values <- c.Value()
	h.recorder.Open(c)
}

// TestTakeOverRefused: what no loop can watch gets 501 from a server that is for
// loops only, and everything 503 from one that is closed.
func TestTakeOverRefused(t *testing.T) {
	t.Parallel()
	opened := handler{open: func(*server.Conn) { t.Error("opened") }}
	loopsOnly := func(srv *server.Server) { srv.Handler, srv.Runtime.LoopsOnly = opened, true }
	t.Run("TLS", func(t *testing.T) {
		addr, _ := startTLSBridge(t, loopsOnly)
		c := dial(t, addr)
		c.send(get("/"))
		c.expectRefusal(426)
		c = dial(t, addr)
		c.send(upgradeRequest() + frame(opText, "behind"))
		c.expectRefusal(501)
	})
	t.Run("wrapped", func(t *testing.T) {
		addr, _ := startBridge(t, loopsOnly)
		c := dial(t, addr)
		c.send(upgradeRequest() + frame(opText, "behind"))
		if resp, _ := c.response(); resp.StatusCode != 501 {
			t.Errorf("status %d, want 501", resp.StatusCode)
		}
		c.expectEnd()
	})
	t.Run("closed", func(t *testing.T) {
		srv := &server.Server{Logger: noLog}
		closeServer(t, srv)
		if w := mountOn(srv, nil); w.Code != 503 {
			t.Errorf("status %d, want 503", w.Code)
		}
	})
}

// plainWriter is a middleware's ResponseWriter.
type plainWriter struct{ http.ResponseWriter }

// unwrapper is one that lets others see what it wraps.
type unwrapper struct{ plainWriter }

func (w unwrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// TestMiddlewares: a middleware's ResponseWriter may stand between if it has
// Unwrap; others get a clear answer.
func TestMiddlewares(t *testing.T) {
	t.Parallel()
	through := func(wrap func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrap(w), r) })
		}
	}
	for name, test := range map[string]struct {
		wrap   func(http.Handler) http.Handler
		status int
	}{
		"Unwrap": {through(func(w http.ResponseWriter) http.ResponseWriter {
			return unwrapper{plainWriter{unwrapper{plainWriter{w}}}}
		}), 101},
		"no Unwrap":            {through(func(w http.ResponseWriter) http.ResponseWriter { return plainWriter{w} }), 501},
		"http.TimeoutHandler":  {func(h http.Handler) http.Handler { return http.TimeoutHandler(h, patience, "") }, 501},
		"http.StripPrefix":     {func(h http.Handler) http.Handler { return http.StripPrefix("/", h) }, 101},
		"http.MaxBytesHandler": {func(h http.Handler) http.Handler { return http.MaxBytesHandler(h, 10) }, 101},
	} {
		t.Run(name, func(t *testing.T) {
			srv := &server.Server{Handler: echo{}}
			c := dial(t, mount(t, srv, test.wrap(srv).ServeHTTP))
			c.send(upgradeRequest() + frame(opText, "pipelined"))
			if test.status == 501 {
				c.expectRefusal(501)
				return
			}
			c.expectSwitch()
			c.expect(opText, "pipelined")
		})
	}
}

// TestServeHTTPOnUnixSocket: a Unix socket is handed over, too.
func TestServeHTTPOnUnixSocket(t *testing.T) {
	t.Parallel()
	remotes := make(chan netip.AddrPort, 1)
	srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: systemEngine(t)}, Handler: handler{
		open:    func(c *server.Conn) { remotes <- c.RemoteAddr() },
		message: echo{}.Message,
	}}
	path := socketpath.New(t)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(srv)
	web.Listener = ln
	web.Start()
	t.Cleanup(func() {
		web.Close()
		closeServer(t, srv)
	})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	c.send(upgradeRequest() + frame(opText, "pipelined"))
	c.expectSwitch()
	c.expect(opText, "pipelined")
	if remote := <-remotes; remote.IsValid() {
		t.Errorf("RemoteAddr is %v, want none", remote)
	}
	if s := srv.Stats(); s.Bridged != 0 {
		t.Errorf("%d connections are bridged, want none", s.Bridged)
	}
}

// TestDeflateThroughHTTP: a connection taken over from net/http is compressed like
// one of the server's own, and what it was promised is free when it is gone, or
// was never one.
func TestDeflateThroughHTTP(t *testing.T) {
	t.Parallel()
	srv := &server.Server{Handler: echo{}, Deflate: bothTakeOver}
	addr := mount(t, srv, srv.ServeHTTP)
	for range 3 {
		d := deflating(dial(t, addr), offerDeflate)
		if d.answer != "permessage-deflate" {
			t.Fatalf("answered with %q", d.answer)
		}
		for i := range 4 {
			d.sendPacked(opText, news(1000, uint64(i)), 100)
			if d.expectMessage(opText, news(1000, uint64(i))); !d.packed {
				t.Error("not compressed")
			}
		}
		d.send(frame(opClose, ""))
		d.expectClose(1005)
	}
	rw := httptest.NewRecorder() // can not be hijacked
	r := httptest.NewRequest("GET", "http://example.com/", nil)
	for name, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": clientKey, "Sec-WebSocket-Extensions": offerDeflate} {
		r.Header.Set(name, value)
	}
	if srv.ServeHTTP(rw, r); rw.Code != 501 {
		t.Errorf("status %d, want 501", rw.Code)
	}
	eventually(t, "the windows are free", func() bool { return srv.Stats().Windows == 0 })
}
