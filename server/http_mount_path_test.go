package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestServeHTTPKeepsPathValues: an Upgrade hook sees the wildcards of the router in which
// the server is mounted.
func TestServeHTTPKeepsPathValues(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	srv := &server.Server{Logger: noLog, Upgrade: func(r *ws.Request) (server.Accept, error) {
		for _, name := range []string{"room", "rest", "none"} {
			got[name] = r.PathValue(name)
		}
		return server.Accept{}, errors.New("seen")
	}}
	t.Cleanup(func() { _ = srv.Close() }) // always nil
	router := http.NewServeMux()
	router.Handle("GET /rooms/{room}/in/{rest...}", srv)
	r := httptest.NewRequest(http.MethodGet, "/rooms/a%20b/in/c/d", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	if got["room"] != "a b" || got["rest"] != "c/d" || got["none"] != "" {
		t.Errorf("path values %q, answer %d", got, w.Code)
	}
}
