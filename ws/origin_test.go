package ws_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

func TestSameOrigin(t *testing.T) {
	cases := []struct {
		origin, host string
		tls, want    bool
	}{
		{"http://a.example", "a.example", false, true},
		{"http://a.example", "a.example:80", false, true},
		{"http://a.example:80", "a.example", false, true},
		{"https://a.example", "a.example", true, true},
		{"https://a.example", "a.example:443", true, true},
		{"https://a.example:443", "a.example:", true, true},
		{"http://a.example:8080", "a.example:8080", false, true},
		{"HTTP://A.Example", "a.eXAMPLE", false, true},
		{"http://[::1]:8080", "[::1]:8080", false, true},
		{"http://[2001:db8::a]", "[2001:0DB8:0:0:0:0:0:A]", false, true},

		{"http://b.example", "a.example", false, false},
		{"http://a.example.", "a.example", false, false},
		{"http://xa.example", "a.example", false, false},
		{"http://a.example.b", "a.example", false, false},
		{"http://a.example:81", "a.example", false, false},
		{"http://a.example", "a.example:443", false, false},
		{"https://a.example", "a.example", false, false},
		{"http://a.example", "a.example", true, false},
		{"http://a.example:443", "a.example", true, false},
		{"http://[::1]", "[::2]", false, false},
		{"http://[::1]", "1", false, false},
		{"http://[::127.0.0.1]", "127.0.0.1", false, false},
		{"null", "null", false, false},
		{"", "a.example", false, false},
		{"a.example", "a.example", false, false},
		{"//a.example", "a.example", false, false},
		{"ws://a.example", "a.example", false, false},
		{"file://a.example", "a.example", false, false},
		{"http://a.example/", "a.example", false, false},
		{"http://a.example?", "a.example", false, false},
		{"http://u@a.example", "a.example", false, false},
		{"http://b.example@a.example", "a.example", false, false},
		{"http://a.example http://a.example", "a.example", false, false},
		{"http://a.example, http://a.example", "a.example", false, false},
		{"http://a.example:99999", "a.example", false, false},
		{"http://K.example", "\x6b.example", false, true},
		{"http://\xe2\x84\xaa.example", "k.example", false, false}, // Kelvin sign
	}
	for _, c := range cases {
		t.Run(c.origin+" at "+c.host, func(t *testing.T) {
			r := parsed(t, upgrade("Host: "+c.host, "Origin: "+c.origin))
			r.TLS = c.tls
			if got := r.SameOrigin(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	if r := parsed(t, upgrade()); !r.SameOrigin() {
		t.Error("false without an Origin")
	}
	if r := parsed(t, upgrade("Origin: http://example.com", "Origin: http://example.com")); r.SameOrigin() {
		t.Error("true with two Origins")
	}
	if r := parsed(t, head("GET / HTTP/1.0", "Origin: http://a")); r.SameOrigin() {
		t.Error("true without a Host")
	}
}

func TestSameOriginTakesTheTargetsHost(t *testing.T) {
	r := parsed(t, head("GET http://target/ HTTP/1.1", "Host: field", "Origin: http://target"))
	if !r.SameOrigin() {
		t.Error("the host of an absolute target does not count")
	}
}

func TestOriginIn(t *testing.T) {
	cases := []struct {
		origin  string
		allowed []string
		want    bool
	}{
		{"https://a.example", []string{"https://b.example", "https://a.example"}, true},
		{"https://A.example", []string{"HTTPS://a.Example:443"}, true},
		{"http://a.example:8080", []string{"http://a.example:8080"}, true},
		{"https://[::1]:81", []string{"https://[0::1]:81"}, true},
		{"null", []string{"null"}, true},
		{"null", []string{"*"}, true},
		{"https://a.example", nil, false},
		{"https://a.example", []string{"", "a.example", "http://a.example", "https://a.example:444", "https://*.example"}, false},
		{"null", []string{"https://a.example"}, false},
		{"nonsense", []string{"nonsense"}, false},
	}
	for _, c := range cases {
		r := parsed(t, upgrade("Origin: "+c.origin))
		if got := r.OriginIn(c.allowed); got != c.want {
			t.Errorf("Origin %q in %q: %v, want %v", c.origin, c.allowed, got, c.want)
		}
	}
	if r := parsed(t, upgrade()); !r.OriginIn(nil) {
		t.Error("false without an Origin")
	}
	if r := parsed(t, upgrade("Origin: https://a", "Origin: https://a")); r.OriginIn([]string{"https://a"}) {
		t.Error("true with two Origins")
	}
}

func TestOriginAllocatesNothing(t *testing.T) {
	r := parsed(t, upgrade("Origin: http://example.com"))
	allowed := []string{"https://www.example.com", "http://example.com"}
	allocs := testing.AllocsPerRun(100, func() {
		if !r.SameOrigin() || !r.OriginIn(allowed) {
			t.Fatal("refused")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add("http://example.com:80", "example.com", false)
	f.Add("https://[::1]", "[0::1]:443", true)
	f.Add("http://u@a", "a", false)
	f.Add("null", "null", true)
	f.Fuzz(func(t *testing.T, value, host string, tls bool) {
		var r ws.Request
		if r.Parse([]byte(head("GET / HTTP/1.1", "Host: "+host, "Origin: "+value))) != nil || strings.Contains(value, "%") {
			return // net/url decodes a host's escapes, which no browser sends
		}
		r.TLS = tls
		if r.SameOrigin() != sameOriginByURL(r.Header("Origin"), r.Host(), tls) {
			t.Errorf("Origin %q, Host %q, TLS %v: SameOrigin is %v", value, host, tls, r.SameOrigin())
		}
	})
}
