package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestAdmit: plain requests are held against hosts and origins as upgrades are.
func TestAdmit(t *testing.T) {
	t.Parallel()
	srv := &server.Server{
		Origin: server.Origin{Allow: []string{"https://page.example"}, Hosts: []string{"example.com"}},
		Proxy:  server.Proxy{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
	}
	defer srv.Close()
	for _, c := range []struct {
		host, origin, proto, from string
		status                    int // 0: admitted
	}{
		{"example.com", "", "", "192.0.2.9:1", 0},
		{"example.com", "http://example.com", "", "192.0.2.9:1", 0},
		{"example.com", "https://page.example", "", "192.0.2.9:1", 0},
		{"example.com", "https://example.com", "", "192.0.2.9:1", 403},
		{"example.com", "https://example.com", "https", "192.0.2.9:1", 403}, // nobody's word
		{"example.com", "https://example.com", "https", "192.0.2.1:1", 0},
		{"example.com", "http://evil.example", "", "192.0.2.9:1", 403},
		{"example.com", "null", "", "192.0.2.9:1", 403},
		{"evil.example", "http://evil.example", "", "192.0.2.9:1", 421},
		{"a b", "", "", "192.0.2.9:1", 400},
	} {
		r := httptest.NewRequest("POST", "http://example.com/a?b=c", http.NoBody)
		r.Host, r.RemoteAddr = c.host, c.from
		for name, value := range map[string]string{"Origin": c.origin, "X-Forwarded-Proto": c.proto, "X-Forwarded-For": "198.51.100.7"} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		req, err := srv.Admit(r)
		var refusal *ws.Refusal
		switch {
		case c.status != 0:
			if !errors.As(err, &refusal) || refusal.Status != c.status {
				t.Errorf("%+v: %v", c, err)
			}
		case err != nil || req.Path() != "/a" || req.RawQuery() != "b=c" || req.Method() != "POST":
			t.Errorf("%+v: %v", c, err)
		case c.from == "192.0.2.1:1" && req.RemoteAddr.Addr().String() != "198.51.100.7":
			t.Errorf("%+v: %v", c, req.RemoteAddr)
		}
	}
}
