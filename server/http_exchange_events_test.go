package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// askHTTP2 sends a request over HTTP/2.
func askHTTP2(t *testing.T, ctx context.Context, client *http.Client, url, accept string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Last-Event-ID", "e-1")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ProtoMajor != 2 {
		t.Fatalf("answered over %s", resp.Proto)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// mountedHTTP2 serves h over HTTP/2 by net/http.
func mountedHTTP2(t *testing.T, h http.Handler) (url string) {
	web := httptest.NewUnstartedServer(h)
	web.EnableHTTP2, web.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	web.TLS = &tls.Config{Certificates: []tls.Certificate{serverCertificate()}}
	web.StartTLS()
	t.Cleanup(web.Close)
	return web.URL
}

// servingHTTP2 are the ways by which a server gets requests over HTTP/2.
var servingHTTP2 = map[string]func(*testing.T, func(*server.Server)) (url string, srv *server.Server){
	"own port": func(t *testing.T, configure func(*server.Server)) (string, *server.Server) {
		addr, srv := startTLS(t, func(srv *server.Server) { configure(srv); srv.HTTP = http.NotFoundHandler() })
		return "https://" + addr, srv
	},
	"own port without HTTP": func(t *testing.T, configure func(*server.Server)) (string, *server.Server) {
		addr, srv := startTLS(t, configure)
		return "https://" + addr, srv
	},
	"guest": func(t *testing.T, configure func(*server.Server)) (string, *server.Server) {
		addr, srv := startDoor("TLS")(t, configure)
		return "https://" + addr, srv
	},
	"mounted": func(t *testing.T, configure func(*server.Server)) (string, *server.Server) {
		srv, _ := prepare(t, systemEngine(t), configure)
		t.Cleanup(func() { closeServer(t, srv) })
		return mountedHTTP2(t, srv), srv
	},
	"accepted": func(t *testing.T, configure func(*server.Server)) (string, *server.Server) {
		srv, _ := prepare(t, systemEngine(t), configure)
		srv.EventStreams = false // the router decides
		t.Cleanup(func() { closeServer(t, srv) })
		return mountedHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = srv.Accept(w, r, server.Accept{EventStream: r.Header.Get("Accept") == sse.ContentType}) // the client sees
		})), srv
	},
}

// TestEventStreamHTTP2: an event stream over HTTP/2 is an answer that goes on, however the
// server got the request.
func TestEventStreamHTTP2(t *testing.T) {
	for name, serve := range servingHTTP2 {
		t.Run(name, func(t *testing.T) {
			conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
			url, srv := serve(t, withEvents(func(srv *server.Server) { srv.Handler = closeCauses(conns, causes) }))
			transport := &http.Transport{TLSClientConfig: clientTLS(), ForceAttemptHTTP2: true}
			t.Cleanup(transport.CloseIdleConnections)
			client := &http.Client{Transport: transport}

			resp := askHTTP2(t, t.Context(), client, url, sse.ContentType)
			c := <-conns
			if h := resp.Header; resp.StatusCode != 200 || h.Get("Content-Type") != sse.ContentType || h.Get("X-Accel-Buffering") != "no" || !c.IsEventStream() {
				t.Fatalf("status %d, %v, event stream %v", resp.StatusCode, h, c.IsEventStream())
			}
			events := sse.NewReader(resp.Body)
			for _, text := range []string{"one", "two"} {
				_ = c.SendText(text)
				if e, err := events.Next(); err != nil || string(e.Data) != text {
					t.Errorf("event %q, %v", e.Data, err)
				}
			}
			_ = c.Close(ws.CodeNormal, "")
			if e, err := events.Next(); err != nil || e.Name != "close" {
				t.Errorf("event %+v, %v", e, err)
			}
			if _, err := events.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%v, want the end", err)
			}
			expectCause(t, causes, ws.CodeNormal, false)

			ctx, leave := context.WithCancel(t.Context())
			askHTTP2(t, ctx, client, url, sse.ContentType)
			<-conns
			leave()
			if err := <-causes; !server.ClosedByPeer(err) { // it has left, or the stream broke, whichever is seen first
				t.Errorf("closed with %v", err)
			}
			eventually(t, "it is gone", func() bool { return srv.Stats().Open == 0 })

			want := http.StatusUpgradeRequired
			switch {
			case srv.HTTP != nil:
				want = http.StatusNotFound
			case name == "mounted" || name == "accepted":
				want = http.StatusMethodNotAllowed
			}
			if resp := askHTTP2(t, t.Context(), client, url, "text/html"); resp.StatusCode != want {
				t.Errorf("a plain request gets %d, want %d", resp.StatusCode, want)
			}
		})
	}
}

// TestEventStreamAccept: a router that has decided gives an event stream over HTTP/1.1, and
// nothing else.
func TestEventStreamAccept(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Handler = opened(conns) })
	t.Cleanup(func() { closeServer(t, srv) })
	errs := make(chan error, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		errs <- srv.Accept(w, r, server.Accept{EventStream: r.URL.Path == "/events"})
	}))
	t.Cleanup(web.Close)
	addr := web.Listener.Addr().String()

	c := dial(t, addr)
	c.send(eventRequest("/events"))
	stream := c.expectStream()
	_ = (<-conns).SendText("hello")
	stream.expectData("hello")
	if err := <-errs; err != nil {
		t.Errorf("Accept: %v", err)
	}
	for request, status := range map[string]int{
		eventRequest("/other"): 426, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n": 426,
		"GET /events HTTP/1.1\r\n" + upgradeLines + "\r\n": 500, eventRequest("/events", "Origin: https://evil.example"): 403,
	} {
		c := dial(t, addr)
		c.send(request)
		c.expectRefusal(status)
		if err := <-errs; err == nil {
			t.Errorf("%q is accepted", request)
		}
	}
}
