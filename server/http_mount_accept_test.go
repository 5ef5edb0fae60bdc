package server_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// expectRefused checks what Accept has returned.
func expectRefused(t *testing.T, err error, status int) {
	t.Helper()
	var refusal *ws.Refusal
	if !errors.As(err, &refusal) || refusal.Status != status {
		t.Errorf("Accept: %v, want a refusal with %d", err, status)
	}
}

// accepting is a handler that has srv accept what comes, and what Accept says.
func accepting(srv *server.Server) (http.Handler, <-chan error) {
	errs := make(chan error, 10)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		errs <- srv.Accept(w, r, server.Accept{})
	}), errs
}

// TestAcceptRefusedByLoop: what a loop does not take, after net/http has let go of it,
// Accept tells as well, and the client.
func TestAcceptRefusedByLoop(t *testing.T) {
	t.Parallel()
	for name, carry := range map[string]func(*testing.T, http.Handler) (addr string){
		"descriptor": func(t *testing.T, h http.Handler) string { return serveNetHTTP(t, h, nil) },
		"bridge":     func(t *testing.T, h http.Handler) string { return serveNetHTTP(t, h, wrapTCP) },
		"stream":     serveStreams,
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Limits.ConnsPerAddr = 1 })
			h, errs := accepting(srv)
			addr := carry(t, h)
			t.Cleanup(func() { closeServer(t, srv) })
			first := dial(t, addr).upgraded()
			second := dial(t, addr)
			second.send(upgradeRequest())
			if resp, _ := second.response(); resp.StatusCode != 503 {
				t.Errorf("status %d, want 503", resp.StatusCode)
			}
			expectRefusedOf(t, errs, 503)
			first.send(frame(opClose, ""))
			first.expectClose(1005)
			eventually(t, "the place is free", func() bool { return srv.Stats().Open == 0 })
			dial(t, addr).upgraded()
		})
	}
}

// expectRefusedOf takes what Accept has said of one that was refused, and of any that
// were not.
func expectRefusedOf(t *testing.T, errs <-chan error, status int) {
	t.Helper()
	for err := range errs {
		if err != nil {
			expectRefused(t, err, status)
			return
		}
	}
}

// serveNetHTTP has net/http serve h, on connections that are wrapped.
func serveNetHTTP(t *testing.T, h http.Handler, wrap func(net.Conn) net.Conn) (addr string) {
	t.Helper()
	web := httptest.NewUnstartedServer(h)
	if wrap != nil {
		web.Listener = wrappingListener{web.Listener, wrap}
	}
	web.Start()
	t.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

// serveStreams is startStreams for a handler of its own.
func serveStreams(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() }) // its error is that of an end
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			go serveStream(t, conn.(*net.TCPConn), h) // ends with the connection
		}
	}()
	return ln.Addr().String()
}

// TestAcceptSaysWhy: the error says why the client was refused, whoever is to blame.
func TestAcceptSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		server  *server.Server
		request string
		status  int
		is      func(error) bool // what the error is besides
	}{
		{"plain request", &server.Server{}, "", 426, nil},
		{"no descriptor", &server.Server{}, "websocket", 501, nil}, // the recorder is no Hijacker
		{"stopped", stoppedServer(t), "websocket", 503, nil},
		{"wrong field", &server.Server{Limits: server.Limits{Message: -5000000000}}, "websocket", 500, func(err error) bool {
			var wrong *server.FieldError
			return errors.As(err, &wrong) && wrong.Field == "Limits.Message"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.Logger = noLog
			t.Cleanup(func() { closeServer(t, c.server) })
			r := httptest.NewRequest("GET", "http://example.com/", nil)
			if c.request != "" {
				r.Header = http.Header{"Upgrade": {c.request}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"},
					"Sec-Websocket-Key": {clientKey}}
			}
			w := httptest.NewRecorder()
			err := c.server.Accept(w, r, server.Accept{})
			expectRefused(t, err, c.status)
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			if c.is != nil && !c.is(err) {
				t.Errorf("Accept: %v", err)
			}
		})
	}
}

func stoppedServer(t *testing.T) *server.Server {
	t.Helper()
	srv := &server.Server{}
	closeServer(t, srv)
	return srv
}
