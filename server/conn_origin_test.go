package server_test

import (
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestOrigins: same origin only by default; Origins and Origin.Check change that.
// Each request is for http://example.com.
func TestOrigins(t *testing.T) {
	t.Parallel()
	t.Run("sockets", func(t *testing.T) { testOrigins(t, startServer) })
	t.Run("bridge", func(t *testing.T) { testOrigins(t, startBridge) })
}

func testOrigins(t *testing.T, serve serving) {
	t.Parallel()
	never := func(*ws.Request) bool { return false }
	evilOnly := func(r *ws.Request) bool { return r.Header("origin") == "http://evil.example" }
	for _, test := range []struct {
		name              string
		origins           []string
		check             func(*ws.Request) bool
		allowed, rejected []string
	}{
		{
			name:     "default",
			allowed:  []string{"", "Origin: http://example.com", "Origin: http://example.com:80", "origin: HTTP://Example.COM"},
			rejected: []string{"Origin: null", "Origin: https://example.com", "Origin: http://example.com:81", "Origin: http://www.example.com"},
		},
		{
			name:     "Origins",
			origins:  []string{"https://app.example", "https://dev.example:8443"},
			allowed:  []string{"", "Origin: http://example.com", "Origin: https://app.example", "Origin: https://app.example:443", "Origin: https://dev.example:8443"},
			rejected: []string{"Origin: http://app.example", "Origin: https://dev.example", "Origin: https://app.example.evil.example", "Origin: null"},
		},
		{
			name:    "all",
			origins: []string{"*"},
			allowed: []string{"", "Origin: http://evil.example", "Origin: null"},
		},
		{
			name:     "CheckOrigin alone decides",
			origins:  []string{"https://app.example"},
			check:    evilOnly,
			allowed:  []string{"Origin: http://evil.example"},
			rejected: []string{"", "Origin: http://example.com", "Origin: https://app.example"},
		},
		{name: "none", check: never, rejected: []string{"", "Origin: http://example.com"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, _ := serve(t, func(s *server.Server) { s.Origin.Allow, s.Origin.Check = test.origins, test.check })
			for _, line := range test.allowed {
				c := dial(t, addr)
				c.send(requestWith(line))
				c.expectSwitch()
			}
			for _, line := range test.rejected {
				c := dial(t, addr)
				c.send(requestWith(line))
				c.expectRefusal(403)
			}
		})
	}
}

// requestWith is a valid upgrade request with a further line, unless it is empty.
func requestWith(line string) string {
	if line == "" {
		return upgradeRequest()
	}
	return upgradeRequest(line)
}
