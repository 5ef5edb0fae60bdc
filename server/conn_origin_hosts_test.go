package server_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// everywhere is everyWay, over HTTP/2 and a bridge too.
func everywhere(t *testing.T, configure func(*server.Server), test func(t *testing.T, connect func() *client)) {
	everyWay(t, configure, test)
	for name, start := range map[string]starter{"HTTP/2": onMounted(startStreams), "bridge": onMounted(startBridge)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connect, _ := start(t, configure)
			test(t, connect)
		})
	}
}

// asked is a request for a host, by way of a proxy that tells the lines.
type asked struct {
	host  string
	lines []string
	want  int
}

func (a asked) send(c *client) {
	c.send(strings.Replace(upgradeRequest(a.lines...), "Host: example.com", "Host: "+a.host, 1))
	if resp, text := c.response(); resp.StatusCode != a.want {
		c.t.Fatalf("%+v: %s, %q", a, resp.Status, text)
	}
}

// TestHosts: an upgrade for another host gets 421 before the hook is asked, whatever
// its origin; one for the host that a trusted proxy names is let through.
func TestHosts(t *testing.T) {
	t.Parallel()
	configure := func(s *server.Server) {
		s.Origin.Hosts, s.Origin.Allow = []string{"example.com", "*.example.net", "[::1]:8080"}, []string{"*"}
		s.Proxy.Trusted = prefixes("127.0.0.0/8 10.0.0.0/8")
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if strings.Contains(r.PublicHost(), "evil") {
				t.Errorf("the hook is asked for %q", r.PublicHost())
			}
			return server.Accept{}, nil
		}
	}
	everywhere(t, configure, func(t *testing.T, connect func() *client) {
		for _, a := range []asked{
			{"example.com", nil, 101},
			{"EXAMPLE.com:8443", nil, 101},
			{"a.b.example.net", nil, 101},
			{"[0:0::1]:8080", nil, 101},
			{"[::1]", nil, 421},
			{"example.net", nil, 421},
			{"example.com.evil.example", nil, 421},
			{"evil.example", []string{"Origin: http://evil.example"}, 421}, // DNS rebinding
			{"127.0.0.1", nil, 421},
			{"backend.evil", []string{"X-Forwarded-Host: example.com"}, 101},
			{"backend.evil", []string{"Forwarded: for=203.0.113.9;host=example.com"}, 101},
			{"example.com", []string{"X-Forwarded-Host: evil.example"}, 421},
			{"example.com", []string{"X-Forwarded-Host: evil example"}, 101}, // names none
		} {
			a.send(connect())
		}
	})
}

// proxiedOrigins are requests through a proxy that does not pass on the host that its
// client asked for, and what becomes of them.
var proxiedOrigins = []asked{
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: a.example", "Origin: https://a.example"}, 101}, // Apache without ProxyPreserveHost
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: evil.example, a.example", "Origin: https://a.example"}, 101},
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: evil.example, a.example", "Origin: https://evil.example"}, 403},
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: evil.example", "X-Forwarded-Host: a.example", "Origin: https://evil.example"}, 403},
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: a.example", "Origin: https://10.1.1.1:8080"}, 403},
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: a.example:8443", "Origin: https://a.example:8443"}, 101},
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: a.example:8443", "X-Forwarded-Port: 443", "Origin: https://a.example:8443"}, 101},
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: a.example", "X-Forwarded-Port: 8443", "Origin: https://a.example:8443"}, 101},
	{"10.1.1.1:8080", []string{"X-Forwarded-Host: a.example", "X-Forwarded-Port: 8443", "Origin: https://a.example"}, 403},
	{"a.example", []string{"X-Forwarded-Port: 8443", "Origin: https://a.example:8443"}, 101}, // HAProxy on another port
	{"a.example", []string{"X-Forwarded-Port: 80, 8443", "Origin: https://a.example:8443"}, 101},
	{"a.example", []string{"X-Forwarded-Port: 443", "Origin: https://a.example"}, 101},
	{"a.example:8443", []string{"X-Forwarded-Port: 443", "Origin: https://a.example:8443"}, 101},
	{"a.example", []string{"X-Forwarded-Port: 99999", "Origin: https://a.example"}, 101},
	{"10.1.1.1", []string{`Forwarded: for=203.0.113.9;host="a.example:8443";proto=https`, "Origin: https://a.example:8443"}, 101},
	{"10.1.1.1", []string{`Forwarded: host=evil.example, for=203.0.113.9;host=a.example`, "Origin: https://evil.example"}, 403},
	{"10.1.1.1", []string{`Forwarded: host=a.example`, "X-Forwarded-Host: A.example:443", "Origin: https://a.example"}, 101},
	{"10.1.1.1", []string{`Forwarded: host=a.example`, "X-Forwarded-Host: b.example", "Origin: https://a.example"}, 400},
	{"10.1.1.1", []string{`Forwarded: host="a.example:1"`, "X-Forwarded-Host: a.example:2"}, 400},
	{"a.example", []string{"X-Forwarded-Host: ", "Origin: https://a.example"}, 101},
	{"a.example", []string{"Origin: https://a.example"}, 101},
}

// TestForwardedHost: the same origin is that of the host and port that trusted proxies
// name.
func TestForwardedHost(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *server.Server) { s.Proxy.Trusted = prefixes("127.0.0.0/8 10.0.0.0/8") }, func(t *testing.T, connect func() *client) {
		for _, a := range proxiedOrigins {
			a.lines = append([]string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"}, a.lines...)
			a.send(connect())
		}
	})
}

// TestForwardedHostUntrusted: what anybody else names is ignored.
func TestForwardedHostUntrusted(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *server.Server) { s.Proxy.Trusted = prefixes("192.0.2.0/24") }, func(t *testing.T, connect func() *client) {
		for _, a := range []asked{
			{"10.1.1.1", []string{"X-Forwarded-Host: a.example", "Origin: http://a.example"}, 403},
			{"10.1.1.1", []string{"X-Forwarded-Host: a.example", "Origin: https://a.example"}, 403},
			{"10.1.1.1", []string{`Forwarded: host=a.example`, "X-Forwarded-Host: b.example"}, 101},
		} {
			a.send(connect())
		}
	})
}

// TestOriginPatterns: wildcards and other schemes can be allowed, whichever way the
// request comes. Clients that are no browsers may send http:// over TLS.
func TestOriginPatterns(t *testing.T) {
	t.Parallel()
	configure := func(s *server.Server) {
		s.Origin.Allow = []string{
			"https://*.app.test", "http://localhost:*", "capacitor://localhost", "chrome-extension://abc", "moz-extension://*", "app://.", "file://", "null", "http://tls.example",
		}
	}
	everywhere(t, configure, func(t *testing.T, connect func() *client) {
		for origin, want := range map[string]int{
			"https://a.app.test": 101, "https://b.a.app.test": 101, "https://app.test": 403, "http://a.app.test": 403, "https://a.app.test:8443": 403,
			"http://localhost:3000": 101, "https://localhost": 403,
			"capacitor://localhost": 101, "ionic://localhost": 403,
			"chrome-extension://abc": 101, "chrome-extension://abd": 403, "moz-extension://any": 101,
			"app://.": 101, "file://": 101, "file:///": 403, "null": 101, "http://tls.example": 101, "https://tls.example": 403,
		} {
			asked{"example.com", []string{"Origin: " + origin}, want}.send(connect())
		}
	})
}
