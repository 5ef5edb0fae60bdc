package ws_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// parsed is the Request of h, which must be right.
func parsed(t testing.TB, h string) *ws.Request {
	t.Helper()
	r := new(ws.Request)
	if err := r.Parse([]byte(h)); err != nil {
		t.Fatalf("Parse(%q): %v", h, err)
	}
	return r
}

func TestParseTargets(t *testing.T) {
	cases := []struct{ line, path, query, host string }{
		{"GET / HTTP/1.1", "/", "", "field:81"},
		{"GET /a/b HTTP/1.1", "/a/b", "", "field:81"},
		{"GET /a?x=1?y HTTP/1.1", "/a", "x=1?y", "field:81"},
		{"GET /? HTTP/1.1", "/", "", "field:81"},
		{"GET //a/../b HTTP/1.1", "//a/../b", "", "field:81"},
		{"GET /%41%2f?100% HTTP/1.1", "/%41%2f", "100%", "field:81"},
		{"GET /a|b{c}\"<>^`\\ HTTP/1.1", "/a|b{c}\"<>^`\\", "", "field:81"},
		{"GET http://target/a?b HTTP/1.1", "/a", "b", "target"},
		{"GET WSS://target:82/a HTTP/1.1", "/a", "", "target:82"},
		{"GET https://[::1]:82 HTTP/1.1", "/", "", "[::1]:82"},
		{"GET ws://target?b HTTP/1.1", "/", "b", "target"},
		{"OPTIONS * HTTP/1.1", "*", "", "field:81"},
		{"OPTIONS /a HTTP/1.1", "/a", "", "field:81"},
		{"CONNECT target:443 HTTP/1.1", "", "", "target:443"},
		{"get /a HTTP/1.2", "/a", "", "field:81"},
	}
	for _, c := range cases {
		t.Run(c.line, func(t *testing.T) {
			r := parsed(t, head(c.line, "Host: field:81"))
			got := []string{r.Method() + " " + r.Target(), r.Path(), string(r.PathBytes()), r.RawQuery(), r.Host()}
			want := []string{c.line[:len(c.line)-len(" HTTP/1.1")], c.path, c.path, c.query, c.host}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func withHost(line string) string      { return head(line, "Host: a") }
func withHostField(host string) string { return head("GET / HTTP/1.1", "Host: "+host) }
func post(lines ...string) string {
	return head(append([]string{"POST / HTTP/1.1", "Host: a"}, lines...)...)
}

var wrongRequests = []struct {
	name, head string
	want       int
}{
	{"nothing", "", 400},
	{"half a head", "GET / HTTP/1.1\r\nHost: a\r\n", 400},
	{"more than a head", withHost("GET / HTTP/1.1") + "G", 400},
	{"HTTP/9.9", withHost("GET / HTTP/9.9"), 505},
	{"HTTP/0.9", withHost("GET / HTTP/0.9"), 505},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", 505},

	{"empty target", withHost("GET  HTTP/1.1"), 400},
	{"relative target", withHost("GET a HTTP/1.1"), 400},
	{"asterisk for GET", withHost("GET * HTTP/1.1"), 400},
	{"authority for GET", withHost("GET a:80 HTTP/1.1"), 400},
	{"path for CONNECT", withHost("CONNECT / HTTP/1.1"), 400},
	{"CONNECT without a port", withHost("CONNECT a HTTP/1.1"), 400},
	{"unknown scheme", withHost("GET ftp://a/ HTTP/1.1"), 400},
	{"no authority", withHost("GET http:///a HTTP/1.1"), 400},
	{"user information", withHost("GET http://u@a/ HTTP/1.1"), 400},
	{"half an escape", withHost("GET /%4 HTTP/1.1"), 400},
	{"wrong escape", withHost("GET /%4g HTTP/1.1"), 400},

	{"no Host", head("GET / HTTP/1.1"), 400},
	{"no Host, absolute target", head("GET http://a/ HTTP/1.1"), 400},
	{"two Hosts", head("GET / HTTP/1.1", "Host: a", "Host: a"), 400},
	{"two Hosts in HTTP/1.0", head("GET / HTTP/1.0", "Host: a", "host: b"), 400},
	{"two empty Hosts", head("GET / HTTP/1.1", "Host: ", "Host:"), 400},
	{"Host with a space", withHostField("a b"), 400},
	{"Host list", withHostField("a, b"), 400},
	{"Host with a path", withHostField("a/b"), 400},
	{"Host with a user", withHostField("u@a"), 400},
	{"Host URL", withHostField("http://a"), 400},
	{"Host port not a number", withHostField("a:http"), 400},
	{"Host port too high", withHostField("a:65536"), 400},
	{"Host port negative", withHostField("a:-1"), 400},
	{"Host two ports", withHostField("a:1:2"), 400},
	{"Host port alone", withHostField(":80"), 400},
	{"Host IPv6 bare", withHostField("::1"), 400},
	{"Host IPv6 open", withHostField("[::1"), 400},
	{"Host IPv6 wrong", withHostField("[::g]"), 400},
	{"Host IPv6 empty", withHostField("[]"), 400},
	{"Host IPv6 zone", withHostField("[fe80::1%25eth0]"), 400},
	{"Host IPv4 in brackets", withHostField("[127.0.0.1]"), 400},
	{"Host behind brackets", withHostField("[::1]a"), 400},
	{"Host with half an escape", withHostField("a%4"), 400},
	{"Host with a wrong escape", withHostField("a%4g"), 400},
	{"Host with quotes", withHostField(`"a"`), 400},
	{"Host not ASCII", withHostField("caf\xc3\xa9"), 400},

	{"length not a number", post("Content-Length: x"), 400},
	{"length empty", post("Content-Length:"), 400},
	{"length signed", post("Content-Length: +1"), 400},
	{"length negative", post("Content-Length: -1"), 400},
	{"length hexadecimal", post("Content-Length: 0x1"), 400},
	{"length too large", post("Content-Length: 9223372036854775808"), 400},
	{"length list", post("Content-Length: 1, 1"), 400},
	{"two lengths", post("Content-Length: 1", "Content-Length: 2"), 400},
	{"one length twice", post("Content-Length: 1", "content-length: 1"), 400},
	{"length and coding", post("Content-Length: 1", "Transfer-Encoding: chunked"), 400},
	{"length 0 and coding", post("Transfer-Encoding: chunked", "Content-Length: 0"), 400},
	{"coding empty", post("Transfer-Encoding:"), 400},
	{"coding identity", post("Transfer-Encoding: identity"), 400},
	{"coding unknown", post("Transfer-Encoding: xchunked"), 400},
	{"chunked not last", post("Transfer-Encoding: chunked, gzip"), 400},
	{"chunked twice", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400},
	{"coding in HTTP/1.0", head("POST / HTTP/1.0", "Transfer-Encoding: chunked"), 400},
}

func TestParseRefuses(t *testing.T) {
	for _, c := range wrongRequests {
		t.Run(c.name, func(t *testing.T) {
			r := parsed(t, realHeads[0].head) // nothing of it may be left behind
			if err := r.Parse([]byte(c.head)); status(err) != c.want {
				t.Errorf("%v, want status %d", err, c.want)
			}
			if r.Host() != "" || r.Path() != "" || r.Header("User-Agent") != "" || r.HasBody() {
				t.Errorf("not empty after the error: %+v", r)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	cases := []struct {
		name, head string
		body       bool
	}{
		{"HTTP/1.0 without a Host", head("GET /healthz HTTP/1.0"), false},
		{"empty line first", "\r\n" + head("GET / HTTP/1.1", "Host: a"), false},
		{"length", head("POST / HTTP/1.1", "Host: a", "Content-Length: 0012"), true},
		{"length 0", head("POST / HTTP/1.1", "Host: a", "Content-Length: 0"), false},
		{"chunked", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked"), true},
		{"gzip and chunked", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip,, ", "Transfer-Encoding: chunked,"), true},
		{"Host IPv4", head("GET / HTTP/1.1", "Host: 127.0.0.1:8080"), false},
		{"Host IPv6", head("GET / HTTP/1.1", "Host: [2001:DB8::1]:8080"), false},
		{"Host in any case", head("GET / HTTP/1.1", "hOST:\tWWW.Example.COM. "), false},
		{"Host with an empty port", head("GET / HTTP/1.1", "Host: a:"), false},
		{"Host with sub-delims", head("GET / HTTP/1.1", "Host: a!$&'()*+,;=b:80"), false},
		{"Host with an escape", head("GET / HTTP/1.1", "Host: a%C3%bc"), false},
		{"Host empty", head("GET / HTTP/1.1", "Host:  "), false},
		{"HTTP/1.0 with an empty Host", head("GET / HTTP/1.0", "Host:"), false},
		{"target not ASCII", head("GET /caf\xc3\xa9?name=J\xc3\xbcrgen HTTP/1.1", "Host: a"), false},
		{"Host with an underscore", head("GET / HTTP/1.1", "Host: my_service"), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if r := parsed(t, c.head); r.HasBody() != c.body {
				t.Errorf("HasBody is %v", r.HasBody())
			}
		})
	}
}

func TestRequestFields(t *testing.T) {
	r := parsed(t, head("GET /?a=1&a=2&b=%zz&c HTTP/1.1", "Host: a",
		"X-One: 1", "x-two: \t2\t ", "X-ONE: caf\xe9", "X-Empty:",
		`Cookie: a=1; b="two"; =none; bare; c=x=y`, "cookie: d=\"; a=9"))
	if got, want := r.Values("x-one"), []string{"1", "caf\xe9"}; !slices.Equal(got, want) {
		t.Errorf("Values: %q, want %q", got, want)
	}
	if got := r.Values("X-Absent"); got != nil {
		t.Errorf("Values of an absent field: %q", got)
	}
	for name, want := range map[string]string{"x-one": "1", "X-Two": "2", "X-Empty": "", "X-Absent": "", "X-On\x05": ""} {
		if got := r.Header(name); got != want {
			t.Errorf("Header(%q) is %q, want %q", name, got, want)
		}
	}
	var names []string
	for name, value := range r.Headers() {
		if names = append(names, name+"="+value); len(names) == 4 {
			break
		}
	}
	if want := []string{"Host=a", "X-One=1", "x-two=2", "X-ONE=caf\xe9"}; !slices.Equal(names, want) {
		t.Errorf("Headers: %q, want %q", names, want)
	}
	if got, want := map[string][]string(r.Query()), map[string][]string{"a": {"1", "2"}, "c": {""}}; !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("Query: %v, want %v", got, want)
	}
	cookies := map[string]string{"a": "1", "b": "two", "c": "x=y", "d": `"`, "": "none"}
	for name, want := range cookies {
		if got, ok := r.Cookie(name); got != want || !ok {
			t.Errorf("Cookie(%q) is %q, %v; want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"bare", "A", "theme"} {
		if got, ok := r.Cookie(name); ok {
			t.Errorf("Cookie(%q) is %q, want none", name, got)
		}
	}
}

func TestRequestKeepsNothingOfTheLast(t *testing.T) {
	peer := netip.MustParseAddrPort("192.0.2.1:1234")
	r := ws.Request{RemoteAddr: peer, TLS: true}
	bytes := []byte(realHeads[0].head)
	if err := r.Parse(bytes); err != nil {
		t.Fatal(err)
	}
	r.SetPathValue("room", "6")
	r.SetPathValue("room", "7")
	c := r.Clone()
	clear(bytes)
	if c.Target() != "/rooms/7?token=a%20b&x" || c.Header("pragma") != "no-cache" || c.PathValue("room") != "7" ||
		c.Host() != "chat.example.com" || c.RemoteAddr != peer || !c.TLS {
		t.Errorf("the clone changed with the original: %+v", c)
	}
	if err := r.Parse([]byte(head("GET / HTTP/1.1", "Host: a"))); err != nil {
		t.Fatal(err)
	}
	if r.PathValue("room") != "" || r.Header("pragma") != "" || r.RemoteAddr != peer || !r.TLS {
		t.Errorf("after another Parse: %+v", r)
	}
	r.Reset()
	if r.Method() != "" || r.Host() != "" || r.RemoteAddr.IsValid() || r.TLS || r.WantsUpgrade() {
		t.Errorf("after Reset: %+v", r)
	}
	if c := r.Clone(); c.Method() != "" || !reflect.DeepEqual(c.Values("Host"), []string(nil)) {
		t.Errorf("the clone of nothing: %+v", c)
	}
}

// A list of 64 KiB must not cost more than its bytes, in memory neither.
func TestLongListsAllocateNothing(t *testing.T) {
	list := strings.Repeat("a,", 32<<10)
	for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie", "Accept"} {
		t.Run(name, func(t *testing.T) {
			h := []byte(upgrade(name+": "+list, name+": websocket, upgrade"))
			var r ws.Request
			allocs := testing.AllocsPerRun(3, func() {
				if err := r.Parse(h); err != nil {
					t.Fatal(err)
				}
				if r.SelectSubprotocol("x", "y") != "" {
					t.Fatal("chose a subprotocol that was not offered")
				}
				_ = r.CheckUpgrade()
			})
			if allocs != 0 {
				t.Errorf("%v allocations, want 0", allocs)
			}
		})
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, c := range realHeads {
		want := 0.0
		if c.name == "Safari" {
			want = 1 // the IPv6 address in Host
		}
		h := []byte(c.head)
		var r ws.Request
		if allocs := testing.AllocsPerRun(100, func() { _ = r.Parse(h) }); allocs > want {
			t.Errorf("%s: %v allocations, want %v", c.name, allocs, want)
		}
	}
}

func ExampleRequest() {
	var r ws.Request
	err := r.Parse([]byte("GET /rooms/7?user=ann HTTP/1.1\r\nHost: example.com\r\nCookie: sid=31d4\r\n\r\n"))
	sid, _ := r.Cookie("sid")
	fmt.Println(r.Path(), r.Query().Get("user"), r.Host(), sid, err)
	// Output: /rooms/7 ann example.com 31d4 <nil>
}
