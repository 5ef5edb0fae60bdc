package server_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestServeHTTPRefuses: a refusal through net/http says what one on the server's
// own port says.
func TestServeHTTPRefuses(t *testing.T) {
	upgrade := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {clientKey},
	}
	oldVersion := upgrade.Clone()
	oldVersion["Sec-Websocket-Version"] = []string{"8"}
	mustUpgrade := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"close", "Upgrade"}, "Sec-Websocket-Version": {"13"},
	}
	for _, c := range []struct {
		name    string
		header  http.Header
		refusal ws.Refusal
		status  int
		body    string
		want    http.Header
	}{
		{"plain request", nil, ws.Refusal{}, 426, "WebSocket", mustUpgrade},
		{"old version", oldVersion, ws.Refusal{}, 426, "version 13", mustUpgrade},
		{"hook", upgrade, ws.Refusal{Status: 429, Reason: "later", Header: http.Header{"Retry-After": {"9"}}},
			429, "later", http.Header{"Retry-After": {"9"}}},
		{"hook with a type of its own", upgrade, ws.Refusal{Status: 403, Reason: "{}", Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}},
			403, "{}", http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}},
		{"hook without a reason", upgrade, ws.Refusal{Status: 403}, 403, "Forbidden", nil},
		{"hook without a status", upgrade, ws.Refusal{Reason: "oh"}, 500, "oh", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := &server.Server{Upgrade: func(*ws.Request) (server.Accept, error) { return server.Accept{}, &c.refusal }}
			r := httptest.NewRequest("GET", "/", nil)
			r.Header = c.header
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("status %d, body %q, want %d, %q in it", w.Code, w.Body, c.status, c.body)
			}
			for name, values := range c.want {
				if got := w.Header()[name]; !slices.Equal(got, values) {
					t.Errorf("%s: %q, want %q", name, got, values)
				}
			}
		})
	}
}
