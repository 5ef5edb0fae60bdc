package ws_test

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
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

// originPatterns parses patterns that are right.
func originPatterns(t testing.TB, texts ...string) (patterns []ws.OriginPattern) {
	t.Helper()
	for _, text := range texts {
		p, err := ws.ParseOriginPattern(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	return patterns
}

// originCases are patterns with the origins that they match and some that they don't.
var originCases = []struct {
	pattern            string
	matches, matchNone []string
}{
	{
		"https://a.example",
		[]string{"https://a.example", "https://A.Example", "HTTPS://a.example:443", "https://a.example:"},
		[]string{"http://a.example", "https://a.example:444", "https://b.example", "https://x.a.example", "https://a.example.", "https://a.example/", "wss://a.example", "null"},
	},
	{"HTTPS://a.Example:443", []string{"https://A.example"}, []string{"https://a.example:80"}},
	{"http://a.example:8080", []string{"http://a.example:8080"}, []string{"http://a.example", "https://a.example:8080"}},
	{"http://a.example", []string{"http://a.example:80"}, []string{"https://a.example"}}, // also on wss, from clients that are no browsers
	{"https://[::1]:81", []string{"https://[0::1]:81", "https://[::1]:81"}, []string{"https://[::1]", "https://[::2]:81"}},
	{"https://xn--bcher-kva.example", []string{"https://xn--bcher-kva.example"}, []string{"https://b\xc3\xbccher.example"}},
	{
		"https://*.example.com",
		[]string{"https://a.example.com", "https://B.A.EXAMPLE.com:443", "https://-.example.com"},
		[]string{
			"https://example.com", "https://.example.com", "https://a..example.com", "https://..example.com", "https://aexample.com", "https://a.example.com.",
			"https://a.example.com.evil.example", "http://a.example.com", "https://a.example.com:8443", "https://evil.example/.example.com", "https://u@a.example.com",
		},
	},
	{"https://*.example.com:*", []string{"https://a.example.com", "https://a.example.com:1"}, []string{"https://example.com:1", "http://a.example.com"}},
	{"http://localhost:*", []string{"http://localhost", "http://localhost:3000", "http://LOCALHOST:65535"}, []string{"https://localhost", "http://localhost.example", "http://a.localhost"}},
	{"https://*", []string{"https://a", "https://a.b.example", "https://[::1]", "https://192.0.2.1:443"}, []string{"http://a", "https://a:444", "https://", "null"}},
	{"https://*:*", []string{"https://a:444"}, []string{"http://a"}},
	{"capacitor://localhost", []string{"capacitor://localhost", "Capacitor://LOCALHOST"}, []string{"ionic://localhost", "capacitor://localhost:80", "capacitor://", "capacitor:localhost"}},
	{"tauri://localhost", []string{"tauri://localhost"}, []string{"http://tauri.localhost"}},
	{"chrome-extension://abcdefghijklmnopabcdefghijklmnop", []string{"chrome-extension://abcdefghijklmnopabcdefghijklmnop"}, []string{"chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba"}},
	{"moz-extension://*", []string{"moz-extension://3c6bf0cc-3ae2-42fb-9993-0d33104fdcaf"}, []string{"moz-extension://", "chrome-extension://a", "moz-extension://a:1"}},
	{"app://.", []string{"app://."}, []string{"app://", "app://a", "app://.."}},
	{"app://obsidian.md:7", []string{"app://obsidian.md:7"}, []string{"app://obsidian.md"}},
	{"file://", []string{"file://", "FILE://"}, []string{"file:///", "file://a", "null", "file:"}},
	{"null", []string{"null"}, []string{"NULL", "https://null", "file://"}},
	{"*", []string{"https://a", "null", "nonsense", "", "file:///x"}, nil},
}

func TestOriginIn(t *testing.T) {
	for _, c := range originCases {
		patterns := append([]ws.OriginPattern{{}}, originPatterns(t, "https://other.example", c.pattern)...)
		for _, origin := range c.matches {
			if r := parsed(t, upgrade("Origin: "+origin)); !r.OriginIn(patterns) {
				t.Errorf("%s does not match Origin %q", c.pattern, origin)
			}
		}
		for _, origin := range append(c.matchNone, "") {
			if r := parsed(t, upgrade("Origin: "+origin)); c.pattern != "*" && r.OriginIn(patterns) {
				t.Errorf("%s matches Origin %q", c.pattern, origin)
			}
		}
	}
	if r := parsed(t, upgrade()); !r.OriginIn(nil) {
		t.Error("false without an Origin")
	}
	if r := parsed(t, upgrade("Origin: https://a")); r.OriginIn(nil) || r.OriginIn([]ws.OriginPattern{{}}) {
		t.Error("true without a pattern")
	}
	twice := parsed(t, upgrade("Origin: https://a", "Origin: https://a"))
	if twice.OriginIn(originPatterns(t, "https://a", "null")) || !twice.OriginIn(originPatterns(t, "https://a", "*")) {
		t.Error("two Origins are not in * only")
	}
}

// TestOriginPatternsThatNeverMatch: what can match no Origin is no pattern, and the
// error says what should be there.
func TestOriginPatternsThatNeverMatch(t *testing.T) {
	for want, texts := range map[string][]string{
		"https://example.com, ": {
			"", "example.com", "*.example.com", "localhost:3000", "nonsense", "NULL", "//a.example", "https:/a.example", "mailto:a", "data:", "*://a.example", "1http://a", "-a://b",
			" https://a.example", "http s://a",
		},
		"without a path": {"https://a.example/", "https://a.example/path", "https://a.example?q", "https://a.example#f", "file:///", "file:///home", "https:///a", "https://a,https://b"},
		"a host": {
			"https://", "http://:80", "wss://", "https://u@a.example", "https://a b", "https://b\xc3\xbccher.example", "https://a.*.example", "https://app*.example", "https://**.a.example",
			"https://*.", "https://*..a", "https://*.*", "https://*.[::1]", "https://[::1", "https://[fe80::1%25eth0]", "https://[1.2.3.4]", "https://::1", "https://%61.example", "https://a:1:2",
			"https://*a", "https://a.example ",
		},
		"a port": {"https://a.example:", "https://a.example:0", "https://a.example:65536", "https://a.example:99999", "https://a.example:8*", "https://a.example:-1", "https://a.example:http"},
	} {
		for _, text := range texts {
			_, err := ws.ParseOriginPattern(text)
			var wrong *ws.PatternError
			if !errors.As(err, &wrong) || wrong.Text != text || !strings.Contains(wrong.Want, want) || !strings.HasPrefix(err.Error(), "ws: ") {
				t.Errorf("%q: %v, want an error with %q", text, err, want)
			}
		}
	}
}

// TestAnyPage: of which patterns anybody can make a page.
func TestAnyPage(t *testing.T) {
	for text, want := range map[string]bool{
		"*": true, "null": true, "https://*": true, "HTTP://*:*": true, "https://*:8443": true,
		"https://a.example": false, "https://*.a.example": false, "http://localhost:*": false, "file://": false, "app://.": false, "moz-extension://*": false,
	} {
		if p := originPatterns(t, text)[0]; p.AnyPage() != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	if (ws.OriginPattern{}).AnyPage() {
		t.Error("the zero value matches none")
	}
}

func TestOriginAllocatesNothing(t *testing.T) {
	r := parsed(t, upgrade("Origin: http://example.com"))
	allowed := originPatterns(t, "https://www.example.com", "http://*.example.com", "file://", "capacitor://localhost", "http://example.com:*")
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

// FuzzOriginPattern: whatever is taken for a pattern matches what a simpler matcher
// does, and each named pattern matches some origin.
func FuzzOriginPattern(f *testing.F) {
	for _, c := range originCases {
		for _, origin := range append(c.matches, c.matchNone...) {
			f.Add(c.pattern, origin)
		}
	}
	f.Fuzz(func(t *testing.T, text, origin string) {
		p, err := ws.ParseOriginPattern(text)
		if err != nil {
			return
		}
		match := func(origin string) (matches, ok bool) {
			var r ws.Request
			if r.Parse([]byte(head("GET / HTTP/1.1", "Host: a", "Origin: "+origin))) != nil {
				return false, false
			}
			return r.OriginIn([]ws.OriginPattern{p}), r.Header("Origin") == origin
		}
		if got, ok := match(origin); ok && !strings.Contains(origin, "%") && got != matchesByURL(text, origin) {
			t.Errorf("%q matches %q: %v", text, origin, got)
		}
		example := strings.NewReplacer(":*", ":8", "*", "x").Replace(text) // * alone and null are origins to it
		if got, ok := match(example); ok && !got {
			t.Errorf("%q does not match %q", text, example)
		}
	})
}

// matchesByURL is what ws.OriginPattern does, by way of net/url.
func matchesByURL(pattern, origin string) bool {
	if pattern == "*" {
		return true
	}
	if pattern == "null" || origin == "null" {
		return pattern == origin
	}
	scheme, authority, _ := strings.Cut(pattern, "://")
	ports := map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}
	u, err := url.Parse(origin)
	if err != nil || u.Opaque != "" || strings.TrimSuffix(strings.ToLower(origin), strings.ToLower(u.Host)) != u.Scheme+"://" || u.User != nil ||
		!strings.EqualFold(u.Scheme, scheme) || u.Host == "" != (authority == "") || u.Host != "" && u.Hostname() == "" {
		return false
	}
	own := ports[u.Scheme]
	orOwn := func(port string) string {
		if port = strings.TrimLeft(port, "0"); port == "" {
			return own
		}
		return port
	}
	if _, known := ports[u.Scheme]; u.Host == "" {
		return !known
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	if n, err := strconv.Atoi(orOwn(u.Port()) + "0"); err == nil && n > 655350 || port != "*" && orOwn(port) != orOwn(u.Port()) {
		return false
	}
	return matchesHost(host, u)
}

func matchesHost(pattern string, u *url.URL) bool {
	name := strings.ToLower(u.Hostname())
	addr, err := netip.ParseAddr(name)
	bracketed := strings.HasPrefix(u.Host, "[")
	if bracketed && (err != nil || !addr.Is6() || addr.Zone() != "") || !bracketed && !hostName.MatchString(name) {
		return false
	}
	pattern = strings.ToLower(pattern)
	if below, ok := strings.CutPrefix(pattern, "*."); ok {
		labels := strings.Split(name, ".")
		return !bracketed && strings.HasSuffix(name, "."+below) && !slices.Contains(labels[:len(labels)-strings.Count(below, ".")-1], "")
	}
	if bracketed && strings.HasPrefix(pattern, "[") {
		other, err := netip.ParseAddr(strings.Trim(pattern, "[]"))
		return err == nil && addr == other
	}
	return pattern == "*" || !bracketed && pattern == name
}

var hostName = regexp.MustCompile(`^[-a-z0-9._~!$&'()*+,;=]+$`)
