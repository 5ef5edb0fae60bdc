package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// TestHookContextMounted: the context of a hook that net/http waits for ends as that of one
// on a loop.
func TestHookContextMounted(t *testing.T) {
	t.Run("timeout", func(t *testing.T) {
		h := newSlowHook()
		connect, srv := onMounted(startBridge)(t, func(s *server.Server) { s.Upgrade, s.Timeouts.Handshake = h.upgrade, 50*time.Millisecond })
		c := connect()
		c.send(upgradeTo("/slow"))
		if got := ended(t, <-h.held); !strings.Contains(got, "handshake timeout") {
			t.Errorf("cause %q", got)
		}
		if response, body := c.response(); response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "too long") {
			t.Errorf("status %d, %q", response.StatusCode, body)
		}
		hits(t, srv, server.LimitHandshakeTimeout, 1)
	})
	t.Run("stop", func(t *testing.T) {
		h := newSlowHook()
		connect, srv := onMounted(startBridge)(t, func(s *server.Server) { s.Upgrade = h.upgrade })
		c := connect()
		c.send(upgradeTo("/slow"))
		ctx := <-h.held
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := ended(t, ctx); !strings.Contains(got, "server stopped") {
			t.Errorf("cause %q", got)
		}
		if response, body := c.response(); response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "shutting down") {
			t.Errorf("status %d, %q", response.StatusCode, body)
		}
	})
}
