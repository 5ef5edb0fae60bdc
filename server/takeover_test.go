package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// mount serves handle with net/http alone; the server behind it has no listener.
func mount(t *testing.T, srv *server.Server, handle func(http.ResponseWriter, *http.Request)) (addr string) {
	t.Helper()
	engine, err := poller.New(os.Getenv("MILLRACE_POLLER"))
	if err != nil {
		t.Fatal(err)
	}
	srv.Engine, srv.Logger = engine, slog.New(slog.DiscardHandler)
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

// TestHandleHTTP: the router has decided, the Upgrade hook is not asked.
func TestHandleHTTP(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	srv := &server.Server{Upgrade: func(*ws.Request) (server.Accept, error) {
		t.Error("the hook was asked")
		return server.Accept{}, nil
	}}
	values := make(chan any, 1)
	addr := mount(t, srv, func(w http.ResponseWriter, r *http.Request) {
		srv.HandleHTTP(w, r, server.Accept{
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

	c = dial(t, addr)
	c.send(upgradeRequest("Origin: http://evil.example"))
	c.expectRefusal(403)
	c = dial(t, addr)
	c.send(upgradeRequest()) // "v2" is not offered: the router's mistake
	c.expectRefusal(500)
}

type valueFirst struct {
	*recorder
	values chan any
}

func (h valueFirst) Open(c *server.Conn) {
	h.values <- c.Value()
	h.recorder.Open(c)
}

// TestTakeOverRefused: connections without a descriptor to take get 501: TLS, and
// HTTP/2 whatever carries it.
func TestTakeOverRefused(t *testing.T) {
	t.Parallel()
	srv := &server.Server{Logger: slog.New(slog.DiscardHandler), Handler: handler{open: func(*server.Conn) { t.Error("opened") }}}
	t.Cleanup(func() { _ = srv.Close() }) // always nil
	web := httptest.NewUnstartedServer(srv)
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	get := func(t *testing.T, proto int) *http.Response {
		req, err := http.NewRequestWithContext(context.Background(), "GET", web.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if proto == 1 {
			req.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
				"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {clientKey}}
		}
		resp, err := web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // read whole or not
		if resp.ProtoMajor != proto {
			t.Fatalf("the answer came over %s", resp.Proto)
		}
		return resp
	}
	t.Run("HTTP/2", func(t *testing.T) {
		if resp := get(t, 2); resp.StatusCode != 501 {
			t.Errorf("status %d, want 501", resp.StatusCode)
		}
	})
	t.Run("HTTP/2 without TLS", func(t *testing.T) {
		var h2c http.Protocols
		h2c.SetUnencryptedHTTP2(true)
		plain := httptest.NewUnstartedServer(srv)
		plain.Config.Protocols = &h2c
		plain.Start()
		t.Cleanup(plain.Close)
		resp, err := (&http.Client{Transport: &http.Transport{Protocols: &h2c}}).Get(plain.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // read whole or not
		if resp.ProtoMajor != 2 || resp.StatusCode != 501 {
			t.Errorf("status %d over %s, want 501 over HTTP/2", resp.StatusCode, resp.Proto)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		web.Client().Transport.(*http.Transport).ForceAttemptHTTP2 = false
		if resp := get(t, 1); resp.StatusCode != 501 {
			t.Errorf("status %d, want 501", resp.StatusCode)
		}
	})
	t.Run("a writer that can not be hijacked", func(t *testing.T) {
		rw := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://example.com/", nil)
		for name, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": clientKey} {
			r.Header.Set(name, value)
		}
		srv.ServeHTTP(rw, r)
		if rw.Code != 500 {
			t.Errorf("status %d, want 500", rw.Code)
		}
	})
}
