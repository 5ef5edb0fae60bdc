package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestAbandoned: exactly one of Open and Abandoned follows an accept.
func TestAbandoned(t *testing.T) {
	wrong := http.Header{"Upgrade": {"mine"}}
	onAll(t, func(t *testing.T, start starter) {
		var opened, abandoned atomic.Int64
		var stop atomic.Pointer[server.Server]
		connect, srv := start(t, func(s *server.Server) {
			s.Handler = handler{open: func(*server.Conn) { opened.Add(1) }}
			s.Upgrade = func(r *ws.Request) (server.Accept, error) {
				a := server.Accept{Abandoned: func() { abandoned.Add(1) }}
				switch r.Path() {
				case "/wrong":
					a.Header = wrong
				case "/limits":
					a.Limits = &server.ConnLimits{Message: -5}
				case "/refused":
					return a, &ws.Refusal{Status: 403}
				case "/panic":
					panic("no")
				case "/stop":
					go func() { _ = stop.Load().Close() }()
					<-r.Context().Done()
				}
				return a, nil
			}
		})
		stop.Store(srv)
		for i, tt := range []struct {
			path              string
			opened, abandoned int64
		}{{"/", 1, 0}, {"/refused", 1, 0}, {"/wrong", 1, 1}, {"/panic", 1, 1}, {"/limits", 1, 2}, {"/stop", 1, 3}} {
			if tt.path == "/panic" && strings.HasSuffix(t.Name(), "stream") {
				continue // the harness has no net/http that would recover
			}
			c := connect()
			c.send(upgradeTo(tt.path))
			if i == 0 {
				c.expectSwitch()
			}
			eventually(t, tt.path, func() bool { return opened.Load() == tt.opened && abandoned.Load() == tt.abandoned })
			c.done()
		}
	})
}

// TestAbandonedByAccept: likewise for one that was given to Server.Accept, also if it is
// refused before.
func TestAbandonedByAccept(t *testing.T) {
	srv, _ := prepare(t, systemEngine(t), nil)
	defer closeServer(t, srv)
	n := 0
	plain := httptest.NewRequest(http.MethodGet, "/", nil)
	if err := srv.Accept(httptest.NewRecorder(), plain, server.Accept{Abandoned: func() { n++ }}); err == nil || n != 1 {
		t.Errorf("%v, abandoned %d times", err, n)
	}
}
