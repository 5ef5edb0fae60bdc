package ws_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"github.com/millrace/millrace/ws"
)

func TestClientRequest(t *testing.T) {
	r := ws.ClientRequest{
		Host:        "[::1]:8080",
		Target:      "/rooms/7?token=a%20b",
		Origin:      "http://example.com",
		Subprotocol: "chat.v2",
		Header:      []string{"Cookie: a=b; c", "X-Empty:", "X-Name: caf\xe9 \t!"},
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	want := "before" + head("GET /rooms/7?token=a%20b HTTP/1.1", "Host: [::1]:8080", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: "+testKey, "Sec-WebSocket-Version: 13", "Origin: http://example.com", "Sec-WebSocket-Protocol: chat.v2",
		"Cookie: a=b; c", "X-Empty:", "X-Name: caf\xe9 \t!")
	if got := string(r.Append([]byte("before"), testKey)); got != want {
		t.Errorf("%q\nwanted %q", got, want)
	}
	plain := ws.ClientRequest{Host: "example.com", Target: "/"}
	want = head("GET / HTTP/1.1", "Host: example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: "+testKey, "Sec-WebSocket-Version: 13")
	if got := string(plain.Append(nil, testKey)); got != want || plain.Check() != nil {
		t.Errorf("%q, %v\nwanted %q", got, plain.Check(), want)
	}
}

func TestClientRequestCheck(t *testing.T) {
	host := func(s string) ws.ClientRequest { return ws.ClientRequest{Host: s, Target: "/"} }
	target := func(s string) ws.ClientRequest { return ws.ClientRequest{Host: "a", Target: s} }
	origin := func(s string) ws.ClientRequest { return ws.ClientRequest{Host: "a", Target: "/", Origin: s} }
	subprotocol := func(s string) ws.ClientRequest { return ws.ClientRequest{Host: "a", Target: "/", Subprotocol: s} }
	line := func(s string) ws.ClientRequest {
		return ws.ClientRequest{Host: "a", Target: "/", Header: []string{"X-First: 1", s}}
	}
	cases := []struct {
		wrong    string // in the error; "" if there is none
		requests []ws.ClientRequest
	}{
		{"", []ws.ClientRequest{host("127.0.0.1:80"), host("[::1]"), host("a.b-c:1"), target("/%41?%zz"), target("/?"),
			target("//a"), origin("null"), subprotocol("a!"), line("Authorization: Basic YTpi"), line("X:\ty")}},
		{"host", []ws.ClientRequest{{Target: "/"}, host("a\r\nX: y"), host("a b"), host("a/b"), host("u@a"), host("a:b"),
			host("a:65536"), host("::1"), host("a\x00")}},
		{"target", []ws.ClientRequest{{Host: "a"}, target("a"), target("?a"), target("http://a/"), target("/a b"), target("/\r\n"),
			target("/\n"), target("/\x00"), target("/\x7f"), target("/#a"), target("/é"), target("/%zz"), target("/%4"), target("*")}},
		{"origin", []ws.ClientRequest{origin("http://a\r\nX: y"), origin("a\nb"), origin("a\rb"), origin("a\x00"), origin("\x7f")}},
		{"subprotocol", []ws.ClientRequest{subprotocol("a, b"), subprotocol("a b"), subprotocol("a\r\nX: y"), subprotocol(" "), subprotocol("é")}},
		{"header line", []ws.ClientRequest{line(""), line("X"), line(": y"), line("X : y"), line(" X: y"), line("X: y\r\n"), line("X: y\nZ: z"),
			line("X: y\r"), line("X: \x00"), line("X\r\nY: y"), line("é: y"), line("\r\n"), line("X:\v")}},
		{"its own", []ws.ClientRequest{line("Host: b"), line("upgrade: h2c"), line("Connection: close"), line("sec-websocket-key: x"),
			line("Sec-WebSocket-Extensions: permessage-deflate"), line("Sec-WebSocket-Protocol: a"), line("Content-Length: 1"),
			line("TRANSFER-ENCODING: chunked"), line("Origin: http://a")}},
	}
	for _, c := range cases {
		for _, r := range c.requests {
			err := r.Check()
			if (err == nil) != (c.wrong == "") || err != nil && (!strings.HasPrefix(err.Error(), "ws: ") || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("%+v: %v, want %q", r, err, c.wrong)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("%+v: the error has control characters: %q", r, err)
			}
			if err == nil {
				compareClientRequest(t, &r)
			}
		}
	}
}

// compareClientRequest holds a request that Check has passed to our own server:
// an upgrade with these fields, and no others.
func compareClientRequest(t *testing.T, c *ws.ClientRequest) {
	t.Helper()
	wire := c.Append(nil, testKey)
	r := parsed(t, string(wire))
	if err := r.CheckUpgrade(); err != nil {
		t.Fatalf("%q: %v", wire, err)
	}
	if r.Target() != c.Target || r.Host() != c.Host || r.HasBody() {
		t.Errorf("%q: target %q, host %q, body %v", wire, r.Target(), r.Host(), r.HasBody())
	}
	if got := r.Header("Origin"); got != strings.Trim(c.Origin, " \t") || r.SelectSubprotocol(c.Subprotocol) != c.Subprotocol {
		t.Errorf("%q: origin %q, subprotocols %q", wire, got, r.Subprotocols())
	}
	got := [][2]string{}
	for name, value := range r.Headers() {
		got = append(got, [2]string{name, value})
	}
	for i, line := range slices.Backward(c.Header) {
		name, value, _ := strings.Cut(line, ":")
		field := [2]string{name, strings.Trim(value, " \t")}
		if last := len(got) - 1; got[last] != field {
			t.Fatalf("%q: line %d is %q, want %q", wire, i, got[last], field)
		}
		got = got[:len(got)-1]
	}
	want := 5
	for _, optional := range []string{c.Origin, c.Subprotocol} {
		if optional != "" {
			want++
		}
	}
	if len(got) != want {
		t.Errorf("%q: fields of the handshake: %q", wire, got)
	}
}

func TestNewClientKey(t *testing.T) {
	if got := ws.NewClientKey([16]byte([]byte("the sample nonce"))); got != testKey {
		t.Errorf("%q, want %q", got, testKey)
	}
	r := parsed(t, upgrade("Sec-WebSocket-Key: "+ws.NewClientKey([16]byte{0xff, 0xfe})))
	if err := r.CheckUpgrade(); err != nil {
		t.Error(err)
	}
}

// accepted is the shortest 101 for testKey, with lines behind it.
func accepted(lines ...string) string {
	return head(append([]string{"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: " + testSum}, lines...)...)
}

// without is the shortest 101 with one part replaced.
func without(part, by string) string { return strings.Replace(accepted(), part, by, 1) }

const acceptLine = "Sec-WebSocket-Accept: " + testSum + "\r\n"

// responses are answers to testKey and the subprotocol chat. Those named after a
// server are as it sends them.
var responses = []struct{ name, head, wrong string }{
	{"shortest", accepted(), ""},
	{"nginx", head("HTTP/1.1 101 Switching Protocols", "Server: nginx/1.27.3", "Date: Tue, 28 Jan 2025 10:00:00 GMT",
		"Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: "+testSum), ""},
	{"npm-ws", accepted("Sec-WebSocket-Protocol: chat"), ""},
	{"uWebSockets", head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: "+testSum, "Date: Tue, 28 Jan 2025 10:00:00 GMT", "uWebSockets: 20"), ""},
	{"Tomcat", head("HTTP/1.1 101 ", "upgrade: websocket", "connection: upgrade", "sec-websocket-accept: "+testSum,
		"date: Tue, 28 Jan 2025 10:00:00 GMT"), ""},
	{"python-websockets", head("HTTP/1.1 101 Switching Protocols", "Date: Tue, 28 Jan 2025 10:00:00 GMT", "Upgrade: websocket",
		"Connection: Upgrade", "Sec-WebSocket-Accept: "+testSum, "Server: Python/3.12 websockets/14.1"), ""},
	{"no blanks", strings.ReplaceAll(accepted(), ": ", ":"), ""},
	{"many blanks", strings.ReplaceAll(without("Upgrade\r\n", "Upgrade \t\r\n"), ": ", ": \t"), ""},
	{"any case", head("HTTP/1.1 101 x", "UPGRADE: WebSocket", "CONNECTION: UPGRADE", "SEC-WEBSOCKET-ACCEPT: "+testSum), ""},
	{"Connection list", without("Connection: Upgrade", "Connection: keep-alive,, upgrade"), ""},
	{"Connection lines", accepted("Connection: keep-alive"), ""},
	{"obs-text", accepted("X: caf\xe9", "X: "), ""},

	{"nothing", "", "status line"},
	{"empty line", "\r\n\r\n", "status line"},
	{"a frame", "\x81\x05hello", "status line"},
	{"HTTP/1.0", without("HTTP/1.1", "HTTP/1.0"), "status line"},
	{"HTTP/2", without("HTTP/1.1", "HTTP/2"), "status line"},
	{"in small letters", without("HTTP", "http"), "status line"},
	{"two blanks", without("1.1 101", "1.1  101"), "status line"},
	{"four digits", without("101", "1010"), "status line"},
	{"two digits", without("101", "10"), "status line"},
	{"no phrase, no blank", without(" Switching Protocols", ""), "status line"},
	{"NUL in the phrase", without("Switching", "\x00"), "status line"},
	{"CR in the phrase", without("Switching", "a\rb"), "status line"},
	{"LF only", strings.ReplaceAll(accepted(), "\r", ""), "status line"},

	{"no end", strings.TrimSuffix(accepted(), "\r\n"), "response head"},
	{"half an end", strings.TrimSuffix(accepted(), "\n"), "response head"},
	{"more behind", accepted() + "\x81\x00", "response head"},
	{"LF in a line", accepted("X: a\nY: b"), "response head"},
	{"CR in a value", accepted("X: a\rb"), "response head"},
	{"NUL in a value", accepted("X: a\x00"), "response head"},
	{"no colon", accepted("X"), "response head"},
	{"no name", accepted(": x"), "response head"},
	{"blank in a name", accepted("X : y"), "response head"},
	{"folded", accepted("X: y", " z"), "response head"},

	{"no Upgrade", without("Upgrade: websocket\r\n", ""), "Upgrade"},
	{"another Upgrade", without("websocket", "h2c"), "Upgrade"},
	{"Upgrade list", without("websocket", "websocket, h2c"), "Upgrade"},
	{"Upgrade with a Kelvin sign", without("websocket", "websoc\xe2\x84\xaaet"), "Upgrade"},
	{"Upgrade twice", accepted("Upgrade: websocket"), "Upgrade"},
	{"no Connection", without("Connection: Upgrade\r\n", ""), "Connection"},
	{"another Connection", without("Connection: Upgrade", "Connection: close, upgrades"), "Connection"},
	{"no accept", without(acceptLine, ""), "Accept"},
	{"accept empty", without(testSum, ""), "Accept"},
	{"accept cut", without(testSum, testSum[:27]), "Accept"},
	{"accept longer", without(testSum, testSum+"="), "Accept"},
	{"accept in another case", without(testSum, strings.ToLower(testSum)), "Accept"},
	{"accept is the key", without(testSum, testKey), "Accept"},
	{"accept twice", accepted("Sec-WebSocket-Accept: " + testSum), "Accept"},
	{"accept right, then wrong", accepted("Sec-WebSocket-Accept: x"), "Accept"},
	{"extension", accepted("Sec-WebSocket-Extensions: permessage-deflate"), "extension"},
	{"extension empty", accepted("sec-websocket-extensions:"), "extension"},
	{"another subprotocol", accepted("Sec-WebSocket-Protocol: news"), "subprotocol"},
	{"subprotocol in another case", accepted("Sec-WebSocket-Protocol: Chat"), "subprotocol"},
	{"subprotocol list", accepted("Sec-WebSocket-Protocol: chat, chat"), "subprotocol"},
	{"subprotocol empty", accepted("Sec-WebSocket-Protocol:"), "subprotocol"},
	{"subprotocol twice", accepted("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat"), "subprotocol"},
}

// interims are responses that may come before the answer.
var interims = head("HTTP/1.1 100 Continue") + head("HTTP/1.1 102 ", "X: y") + head("HTTP/1.1 103 Early Hints", "Link: </a>; rel=preload") +
	head("HTTP/1.1 199 caf\xe9")

func TestSkipInterim(t *testing.T) {
	long := "HTTP/1.1 103 x\r\nX: " + strings.Repeat("x", 16<<10-len("HTTP/1.1 103 x\r\nX: \r\n\r\n")) + "\r\n\r\n"
	for _, c := range []struct {
		name, bytes string
		size        int // below 0: an error
	}{
		{"nothing", "", 0},
		{"an answer", accepted(), 0},
		{"a refusal", head("HTTP/1.1 404 Not Found"), 0},
		{"something else", "\x81\x05hello", 0},
		{"HTTP/1.0", head("HTTP/1.0 100 Continue"), 0},
		{"four digits", head("HTTP/1.1 1000 x"), 0},
		{"all", interims, len(interims)},
		{"all and an answer", interims + accepted(), len(interims)},
		{"all and half of one", interims + "HTTP/1.1 100 Continue\r\nX: ", len(interims)},
		{"ten", strings.Repeat(head("HTTP/1.1 100 Continue"), 10) + accepted(), 10 * len(head("HTTP/1.1 100 Continue"))},
		{"eleven", strings.Repeat(head("HTTP/1.1 100 Continue"), 11) + accepted(), -1},
		{"longest", long + accepted(), 16 << 10},
		{"too long", strings.Replace(long, "X: ", "X: x", 1), -1},
		{"too long, without an end", strings.TrimSuffix(long, "\n"), 0},
		{"much too long, without an end", "HTTP/1.1 103 x\r\nX: " + strings.Repeat("x", 16<<10), -1},
		{"too long together", long + interims, -1},
		{"malformed", head("HTTP/1.1 100 Continue", "no field"), -1},
		{"NUL in the phrase", head("HTTP/1.1 100 \x00"), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			size, err := ws.SkipInterim([]byte(c.bytes))
			if (err != nil) != (c.size < 0) || err == nil && size != c.size {
				t.Fatalf("%d, %v, want %d", size, err, c.size)
			}
			for n := range c.bytes {
				if part, err := ws.SkipInterim([]byte(c.bytes[:n])); c.size >= 0 && (err != nil || part > min(n, size)) {
					t.Fatalf("of the first %d bytes: %d, %v", n, part, err)
				}
			}
		})
	}
	if err := ws.CheckResponse([]byte(interims+accepted()), testKey, ""); err != nil {
		t.Error(err)
	}
	if err := ws.CheckResponse([]byte(interims), testKey, ""); err == nil {
		t.Error("no answer is accepted")
	}
	var refused *ws.RefusedError
	if err := ws.CheckResponse([]byte(interims+head("HTTP/1.1 403 No")), testKey, ""); !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("%v, want 403", err)
	}
	all := []byte(interims + accepted())
	if n := testing.AllocsPerRun(10, func() { _, _ = ws.SkipInterim(all) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCheckResponse(t *testing.T) {
	for _, c := range responses {
		t.Run(c.name, func(t *testing.T) {
			err := ws.CheckResponse([]byte(c.head), testKey, "chat")
			var refused *ws.RefusedError
			if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) || errors.As(err, &refused) {
				t.Fatalf("%v, want %q", err, c.wrong)
			}
			if err != nil {
				return
			}
			for n := range c.head {
				if ws.CheckResponse([]byte(c.head[:n]), testKey, "chat") == nil {
					t.Errorf("its first %d bytes are accepted", n)
				}
			}
			if ws.CheckResponse([]byte(c.head), ws.NewClientKey([16]byte{}), "chat") == nil {
				t.Error("accepted for another key")
			}
			asked := strings.Contains(c.head, "Protocol: chat")
			if err := ws.CheckResponse([]byte(c.head), testKey, ""); (err != nil) != asked {
				t.Errorf("%v without a subprotocol asked for", err)
			}
		})
	}
	if err := ws.CheckResponse([]byte(accepted("Sec-WebSocket-Protocol:")), testKey, ""); err == nil {
		t.Error("an empty subprotocol that was not asked for is accepted")
	}
}

func TestCheckResponseRefused(t *testing.T) {
	cases := []struct {
		head   string
		status int
		reason string
	}{
		{head("HTTP/1.1 503 Service Unavailable", "Retry-After: 1"), 503, "Service Unavailable"},
		{head("HTTP/1.1 404 "), 404, ""},
		{head("HTTP/1.1 404"), 404, ""},
		{head("HTTP/1.0 400 Bad request", "not a header"), 400, "Bad request"},
		{head("HTTP/1.1 200 OK", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: "+testSum), 200, "OK"},
		{head("HTTP/1.1 100 Continue"), 100, "Continue"},
		{head("HTTP/1.1 999 \t two  words "), 999, "two  words"},
		{head("HTTP/1.1 403 \x1b[31mn\xc3\xb6\x00\rnew\x7f"), 403, "?[31mn????new?"},
		{head("HTTP/1.1 403 " + strings.Repeat("x", 1000)), 403, strings.Repeat("x", 100)},
		{"HTTP/1.1 429 Too Many Requests\r\n", 429, "Too Many Requests"},
	}
	for _, c := range cases {
		var refused *ws.RefusedError
		if err := ws.CheckResponse([]byte(c.head), testKey, ""); !errors.As(err, &refused) || *refused != (ws.RefusedError{Status: c.status, Reason: c.reason}) {
			t.Errorf("%.60q: %v, want %d %q", c.head, err, c.status, c.reason)
		}
	}
	for _, line := range []string{"HTTP/1.1 099 x", "HTTP/1.1 40 x", "HTTP/1.1 4o4 x", "HTTP/1.1 +40 x", "HTTP/1.1404 x", "HTTP/2.0 404 x",
		"HTTP/1.1 404x", "HTTP/1.1 4040", "HTTP/1. 1 404", "HTTP/1.1", "HTTP/1.x 404 x", " HTTP/1.1 404 x"} {
		var refused *ws.RefusedError
		if err := ws.CheckResponse([]byte(head(line)), testKey, ""); err == nil || errors.As(err, &refused) {
			t.Errorf("%q: %v, want a malformed status line", line, err)
		}
	}
	if got := (&ws.RefusedError{Status: 404}).Error(); got != "ws: upgrade refused with 404" {
		t.Errorf("%q", got)
	}
	if got := (&ws.RefusedError{Status: 503, Reason: "Busy"}).Error(); got != "ws: upgrade refused with 503 Busy" {
		t.Errorf("%q", got)
	}
}

// TestHandshakeWithServers gives one request to our server's side and gobwas's,
// and each answer to the client's side.
func TestHandshakeWithServers(t *testing.T) {
	servers := map[string]func(request []byte) (answer []byte, err error){
		"ours": func(request []byte) ([]byte, error) {
			r := parsed(t, string(request))
			if err := r.CheckUpgrade(); err != nil {
				return nil, err
			}
			return ws.AppendUpgrade(nil, r, &ws.Response{
				Subprotocol: r.SelectSubprotocol("chat"),
				Header:      http.Header{"X-Served-By": {"a", "b"}},
			})
		},
		"gobwas": func(request []byte) ([]byte, error) {
			var answer bytes.Buffer
			upgrader := gobwas.Upgrader{Protocol: func(p []byte) bool { return string(p) == "chat" }}
			_, err := upgrader.Upgrade(struct {
				io.Reader
				io.Writer
			}{bytes.NewReader(request), &answer})
			return answer.Bytes(), err
		},
	}
	for name, serve := range servers {
		for i, subprotocol := range []string{"", "chat", "unknown"} {
			r := ws.ClientRequest{Host: "example.com", Target: "/a?b", Subprotocol: subprotocol, Header: []string{"X: y"}}
			key := ws.NewClientKey([16]byte{byte(i), 0xff})
			answer, err := serve(r.Append(nil, key))
			if err != nil {
				t.Fatal(name, err)
			}
			if err := ws.CheckResponse(answer, key, subprotocol); err != nil {
				t.Errorf("%s, subprotocol %q: %v: %q", name, subprotocol, err, answer)
			}
			if subprotocol == "chat" && ws.CheckResponse(answer, key, "") == nil {
				t.Errorf("%s: a subprotocol that was not asked for is accepted: %q", name, answer)
			}
		}
	}
}

// TestHandshakeRefusedByServers reads refusals as our server and net/http write
// them.
func TestHandshakeRefusedByServers(t *testing.T) {
	var plain bytes.Buffer
	recorder := httptest.NewRecorder()
	http.NotFound(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	if err := recorder.Result().Write(&plain); err != nil {
		t.Fatal(err)
	}
	for want, answer := range map[ws.RefusedError][]byte{
		{Status: 426, Reason: "Upgrade Required"}: ws.AppendRefusal(nil, ws.UpgradeRequired()),
		{Status: 404, Reason: "Not Found"}:        plain.Bytes(),
	} {
		end := bytes.Index(answer, []byte("\r\n\r\n")) + 4
		var got *ws.RefusedError
		if err := ws.CheckResponse(answer[:end], testKey, ""); !errors.As(err, &got) || *got != want {
			t.Errorf("%v, want %v", err, &want)
		}
	}
}

func TestClientHandshakeAllocations(t *testing.T) {
	r := ws.ClientRequest{Host: "example.com", Target: "/", Origin: "http://example.com", Subprotocol: "chat", Header: []string{"X: y"}}
	dst := make([]byte, 0, 512)
	if got := testing.AllocsPerRun(100, func() { r.Append(dst, testKey) }); got != 0 {
		t.Errorf("Append: %v allocations", got)
	}
	answer := []byte(accepted("Sec-WebSocket-Protocol: chat", "Server: x"))
	if got := testing.AllocsPerRun(100, func() {
		if err := ws.CheckResponse(answer, testKey, "chat"); err != nil {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("CheckResponse: %v allocations", got)
	}
	if got := testing.AllocsPerRun(100, func() { ws.NewClientKey([16]byte{1}) }); got > 1 {
		t.Errorf("NewClientKey: %v allocations", got)
	}
}

func BenchmarkCheckResponse(b *testing.B) {
	b.ReportAllocs()
	answer := []byte(accepted())
	for b.Loop() {
		if err := ws.CheckResponse(answer, testKey, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleClientRequest() {
	request := ws.ClientRequest{Host: "localhost:8080", Target: "/echo"}
	if err := request.Check(); err != nil {
		fmt.Println(err)
		return
	}
	key := ws.NewClientKey([16]byte([]byte("the sample nonce"))) // random, outside of an example
	fmt.Printf("%q\n", request.Append(nil, key)[:20])
	// ... send it, and read up to the empty line that ends the answer.
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	fmt.Println(ws.CheckResponse([]byte(answer), key, request.Subprotocol))
	// Output:
	// "GET /echo HTTP/1.1\r\n"
	// <nil>
}
