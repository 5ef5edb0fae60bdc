package ws_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// hostCases are patterns with the hosts that they match, and some that they don't, of
// requests in the clear.
var hostCases = []struct {
	pattern            string
	matches, matchNone []string
}{
	{"example.com", []string{"example.com", "EXAMPLE.com:8080", "example.com:"}, []string{"a.example.com", "example.com.", "example.org", "xexample.com"}},
	{"Example.com:8080", []string{"example.com:8080"}, []string{"example.com", "example.com:8081"}},
	{"example.com:80", []string{"example.com", "example.com:80"}, []string{"example.com:443"}},
	{"*.example.com", []string{"a.example.com", "b.a.example.com:1"}, []string{"example.com", ".example.com", "a..example.com", "aexample.com"}},
	{"*.example.com:1", []string{"a.example.com:1"}, []string{"a.example.com", "example.com:1"}},
	{"192.0.2.1", []string{"192.0.2.1"}, []string{"192.0.2.10", "a.192.0.2.1"}},
	{"[::1]", []string{"[0::1]:9"}, []string{"[::2]", "1"}},
	{"[2001:db8::A]:9", []string{"[2001:db8:0::a]:9"}, []string{"[2001:db8::a]"}},
	{"localhost", []string{"localhost:3000"}, []string{"127.0.0.1"}},
	{"*", []string{"a", "[::1]:1"}, nil},
}

func TestHostIn(t *testing.T) {
	for _, c := range hostCases {
		p, err := ws.ParseHostPattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range c.matches {
			if !parsed(t, upgrade("Host: "+host)).HostIn([]ws.HostPattern{{}, p}) {
				t.Errorf("%s does not match %s", c.pattern, host)
			}
		}
		for _, host := range c.matchNone {
			if parsed(t, upgrade("Host: "+host)).HostIn([]ws.HostPattern{{}, p}) {
				t.Errorf("%s matches %s", c.pattern, host)
			}
		}
		if r := parsed(t, head("GET / HTTP/1.0")); r.HostIn([]ws.HostPattern{p}) {
			t.Errorf("%s matches no host", c.pattern)
		}
	}
	p, _ := ws.ParseHostPattern("example.com:443")
	r := parsed(t, upgrade("Host: example.com"))
	if r.TLS = true; !r.HostIn([]ws.HostPattern{p}) || r.HostIn(nil) {
		t.Error("the port of https does not count")
	}
}

// TestHostPatternsThatNeverMatch: what can match no Host is no pattern.
func TestHostPatternsThatNeverMatch(t *testing.T) {
	for want, texts := range map[string][]string{
		"a host": {"", "*.", "**", "a b", "https://example.com", "example.com/", "b\xc3\xbccher.example", "*.*.example", "a.*", "::1", "[::1", "[fe80::1%25eth0]", "[192.0.2.1]", "u@a", "%61", ":80"},
		"a port": {"a:", "a:0", "a:65536", "a:*", "[::1]:x"},
	} {
		for _, text := range texts {
			_, err := ws.ParseHostPattern(text)
			var wrong *ws.PatternError
			if !errors.As(err, &wrong) || wrong.Text != text || !strings.Contains(wrong.Want, want) {
				t.Errorf("%q: %v, want an error with %q", text, err, want)
			}
		}
	}
}

// TestAnyHost: which patterns match all names.
func TestAnyHost(t *testing.T) {
	for text, want := range map[string]bool{"*": true, "*:8080": true, "*.example.com": false, "example.com": false, "127.0.0.1": false} {
		p, err := ws.ParseHostPattern(text)
		if err != nil || p.AnyHost() != want {
			t.Errorf("%s: %v, %v", text, !want, err)
		}
	}
}

func TestHostAllocatesNothing(t *testing.T) {
	p, err := ws.ParseHostPattern("*.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r, allowed := parsed(t, upgrade("Host: a.example.com:8080")), []ws.HostPattern{p}
	if allocs := testing.AllocsPerRun(100, func() { r.HostIn(allowed) }); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

// publicHosts are lines behind "Host: a" from a trusted proxy with one more before it,
// and which host they say the client asked for; "" is a contradiction.
var publicHosts = []struct{ lines, host string }{
	{"", "a"},
	{"X-Forwarded-Host: b", "b"},
	{"x-forwarded-HOST: b:81", "b:81"},
	{"X-Forwarded-Host: evil, b, c", "b"},
	{"X-Forwarded-Host: evil, b|X-Forwarded-Host: c", "b"},
	{"X-Forwarded-Host: b,, ,c,", "b"},
	{"X-Forwarded-Host: b/c", "a"},
	{"X-Forwarded-Host: b c", "a"},
	{"X-Forwarded-Host:", "a"},
	{"X-Forwarded-Host: [::1]:9", "[::1]:9"},
	{"X-Forwarded-Port: 81", "a:81"},
	{"X-Forwarded-Port: 1, 81, 82", "a:81"},
	{"X-Forwarded-Port: 0", "a"},
	{"X-Forwarded-Port: 65536", "a"},
	{"X-Forwarded-Port: x", "a"},
	{"X-Forwarded-Host: b|X-Forwarded-Port: 81", "b:81"},
	{"X-Forwarded-Host: b:82|X-Forwarded-Port: 81", "b:82"},
	{"Forwarded: host=b", "b"},
	{`Forwarded: HOST="b:81"`, "b:81"},
	{"Forwarded: host=evil, for=203.0.113.9;host=b, for=10.0.0.2;host=c", "b"},
	{"Forwarded: host=b;host=b", "a"},
	{`Forwarded: host=""`, "a"},
	{`Forwarded: host="b c"`, "a"},
	{"Forwarded: host=b|X-Forwarded-Port: 81", "b:81"},
	{"Forwarded: host=b|X-Forwarded-Host: B:80", "B:80"},
	{"Forwarded: host=b|X-Forwarded-Host: c", ""},
	{`Forwarded: host="b:1"|X-Forwarded-Host: b:2`, ""},
	{"Forwarded: host=b|X-Forwarded-Host: c d", "b"},
}

func TestPublicHost(t *testing.T) {
	t.Parallel()
	for _, test := range publicHosts {
		lines := append([]string{"X-Forwarded-For: 203.0.113.9, 10.0.0.2"}, strings.Split(test.lines, "|")...)
		if test.lines == "" {
			lines = lines[:1]
		}
		r := through(t, peer, lines...)
		switch err := r.TrustForwarded(proxies); {
		case test.host == "" && status(err) != 400, test.host != "" && err != nil:
			t.Errorf("%s: %v", test.lines, err)
		case test.host != "" && (r.PublicHost() != test.host || r.Clone().PublicHost() != test.host || r.Host() != "a"):
			t.Errorf("%s: %q, of a clone %q, Host %q, want %q", test.lines, r.PublicHost(), r.Clone().PublicHost(), r.Host(), test.host)
		}
		stranger := through(t, "203.0.113.9:1", lines...)
		if err := stranger.TrustForwarded(proxies); err != nil || stranger.PublicHost() != "a" {
			t.Errorf("%s from anybody: %q, %v", test.lines, stranger.PublicHost(), err)
		}
		if err := r.Parse([]byte(head("GET / HTTP/1.1", "Host: next"))); err != nil || r.PublicHost() != "next" {
			t.Errorf("%s: the next request is for %q, %v", test.lines, r.PublicHost(), err)
		}
	}
}

// FuzzPublicHost: whatever a client sends before it, the host that the trusted proxy
// writes counts.
func FuzzPublicHost(f *testing.F) {
	for _, garbage := range []string{"", "evil", "evil:1, ", `"`, `host="evil`, `host=evil;`, `\`, "[", ",,"} {
		f.Add(garbage)
	}
	f.Fuzz(func(t *testing.T, garbage string) {
		if strings.ContainsAny(garbage, "\r\n") {
			return // more than a field's value
		}
		for field, text := range map[string]string{"X-Forwarded-Host": "b:81", "Forwarded": `for=203.0.113.9;host="b:81"`} {
			for _, lines := range []string{fmt.Sprintf("%s: %s,%s", field, garbage, text), fmt.Sprintf("%s: %s\r\n%s: %s", field, garbage, field, text)} {
				var r ws.Request
				h := head("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 203.0.113.9", lines)
				if len(h) > 16<<10 || r.Parse([]byte(h)) != nil {
					return
				}
				r.RemoteAddr = through(t, peer).RemoteAddr
				if err := r.TrustForwarded(proxies); err != nil || r.PublicHost() != "b:81" {
					t.Fatalf("%q: %q, %v", lines, r.PublicHost(), err)
				}
			}
		}
	})
}
