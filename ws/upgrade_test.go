package ws_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	gobwas "github.com/gobwas/ws"
	"github.com/millrace/millrace/ws"
)

// getWith is the shortest upgrade with another request line.
func getWith(line string) string {
	return strings.Replace(upgrade(), "GET /chat HTTP/1.1", line, 1)
}

func withKey(key string) string { return upgrade("Sec-WebSocket-Key: " + key) }

var upgradeCases = []struct {
	name, head string
	want       int
}{
	{"shortest", upgrade(), 0},
	{"absolute target", getWith("GET http://example.com/chat HTTP/1.1"), 0},
	{"empty line first", "\r\n" + upgrade(), 0},
	{"raw UTF-8 in the target", getWith("GET /J\xc3\xbcrgen?name=J\xc3\xbcrgen HTTP/1.1"), 0},
	{"sub-delims in Host", upgrade("Host: a!b"), 0},
	{"empty Host", upgrade("Host: "), 400},
	{"empty Host, absolute target", strings.Replace(upgrade("Host: "), "GET /chat", "GET http://example.com/chat", 1), 0},
	{"HTTP/1.2", getWith("GET /chat HTTP/1.2"), 0},
	{"HTTP/1.0", getWith("GET /chat HTTP/1.0"), 426},
	{"HTTP/1.0, POST", getWith("POST /chat HTTP/1.0"), 426},
	{"POST", getWith("POST /chat HTTP/1.1"), 405},
	{"get", getWith("get /chat HTTP/1.1"), 405},
	{"HEAD", getWith("HEAD /chat HTTP/1.1"), 405},
	{"OPTIONS", getWith("OPTIONS * HTTP/1.1"), 405},

	{"no Upgrade", upgrade("Upgrade:"), 400},
	{"another Upgrade", upgrade("Upgrade: h2c"), 400},
	{"Upgrade with a version", upgrade("Upgrade: websocket/13"), 400},
	{"Upgrade within a word", upgrade("Upgrade: xwebsocket"), 400},
	{"Upgrade with a Kelvin sign", upgrade("Upgrade: websoc\xe2\x84\xaaet"), 400},
	{"Upgrade in any case", upgrade("Upgrade: WebSocket"), 0},
	{"Upgrade list", upgrade("Upgrade: h2c ,\twebsocket,"), 0},
	{"two Upgrade lines", upgrade("Upgrade: h2c", "Upgrade: WEBSOCKET"), 0},

	{"no Connection", upgrade("Connection:"), 400},
	{"another Connection", upgrade("Connection: keep-alive"), 400},
	{"Connection within a word", upgrade("Connection: upgrades"), 400},
	{"Connection list", upgrade("Connection: keep-alive, Upgrade"), 0},
	{"Connection in any case", upgrade("Connection: UPGRADE"), 0},
	{"Connection with empty elements", upgrade("Connection: ,, upgrade ,"), 0},
	{"two Connection lines", upgrade("Connection: keep-alive", "Connection: Upgrade"), 0},

	{"no version", upgrade("Sec-WebSocket-Version:"), 400},
	{"version twice", upgrade("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"), 400},
	{"version empty", upgrade("Sec-WebSocket-Version: "), 426},
	{"version 8", upgrade("Sec-WebSocket-Version: 8"), 426},
	{"version 99", upgrade("Sec-WebSocket-Version: 99"), 426},
	{"version 013", upgrade("Sec-WebSocket-Version: 013"), 426},
	{"version list", upgrade("Sec-WebSocket-Version: 13, 8"), 426},
	{"versions", upgrade("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), 426},

	{"no key", upgrade("Sec-WebSocket-Key:"), 400},
	{"key empty", withKey(" "), 400},
	{"key twice", upgrade("Sec-WebSocket-Key: "+testKey, "Sec-WebSocket-Key: "+testKey), 400},
	{"key not base64", withKey("!GhlIHNhbXBsZSBub25jZQ=="), 400},
	{"key of base64url", withKey("_-hlIHNhbXBsZSBub25jZQ=="), 400},
	{"key of 15 bytes", withKey("dGhlIHNhbXBsZSBub25j"), 400},
	{"key of 17 bytes", withKey("dGhlIHNhbXBsZSBub25jZWE="), 400},
	{"key of 18 bytes", withKey("dGhlIHNhbXBsZSBub25jZWFh"), 400},
	{"key without padding", withKey("dGhlIHNhbXBsZSBub25jZQ"), 400},
	{"key with more behind", withKey(testKey + "="), 400},
	{"key list", withKey(testKey + "," + testKey), 400},
	{"key in two parts", withKey("dGhlIHNhbXBs ZSBub25jZQ=="), 400},
	{"key in any case of its name", strings.Replace(upgrade(), "Sec-WebSocket-Key", "sec-websocket-KEY", 1), 0},

	{"Content-Length 0", upgrade("Content-Length: 0"), 0},
	{"Content-Length", upgrade("Content-Length: 5"), 400},
	{"Transfer-Encoding", upgrade("Transfer-Encoding: chunked"), 400},

	{"two Origins", upgrade("Origin: http://a", "Origin: http://a"), 400},
	{"subprotocols", upgrade("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c,,"), 0},
	{"subprotocols empty", upgrade("Sec-WebSocket-Protocol: "), 0},
	{"subprotocol no token", upgrade("Sec-WebSocket-Protocol: a, b c"), 400},
	{"subprotocol quoted", upgrade(`Sec-WebSocket-Protocol: "a"`), 400},
	{"subprotocol not ASCII", upgrade("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: \xe9"), 400},
	{"unknown extensions", upgrade("Sec-WebSocket-Extensions: a, b; c=d", `Sec-WebSocket-Extensions: e; f="g"`), 0},
	{"absurd extensions", upgrade("Sec-WebSocket-Extensions: ;=,\"\x80", "Sec-WebSocket-Extensions: "), 400},
	{"malformed extension", upgrade("Sec-WebSocket-Extensions: permessage-deflate;;"), 400},
	{"extensions empty", upgrade("Sec-WebSocket-Extensions: "), 400},
}

func TestCheckUpgrade(t *testing.T) {
	for _, c := range upgradeCases {
		t.Run(c.name, func(t *testing.T) {
			r := parsed(t, c.head)
			if err := r.CheckUpgrade(); status(err) != c.want {
				t.Fatalf("%v, want status %d", err, c.want)
			}
			compareAnswer(t, r)
		})
	}
}

func TestRealClientsAreAccepted(t *testing.T) {
	for _, c := range realHeads {
		t.Run(c.name, func(t *testing.T) {
			r := parsed(t, c.head)
			if err := r.CheckUpgrade(); err != nil || !r.WantsUpgrade() || !r.SameOrigin() {
				t.Fatalf("%v, wants %v, same origin %v", err, r.WantsUpgrade(), r.SameOrigin())
			}
			compareWithNetHTTP(t, r, []byte(c.head))
			answer, err := ws.AppendUpgrade([]byte("before"), r, nil)
			want := "beforeHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: " + testSum + "\r\n\r\n"
			if string(answer) != want || err != nil {
				t.Errorf("%v, answer:\n%q\nwant:\n%q", err, answer, want)
			}
		})
	}
}

func TestWantsUpgrade(t *testing.T) {
	cases := []struct {
		head string
		want bool
	}{
		{head("GET / HTTP/1.1", "Host: a"), false},
		{head("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: h2c"), false},
		{head("GET / HTTP/1.1", "Host: a", "Sec-WebSocket-Key: "+testKey), false},
		{head("POST / HTTP/1.1", "Host: a", "UPGRADE: h2c,WEBsocket"), true},
		{head("GET / HTTP/1.0", "Host: a", "Connection: Upgrade", "Upgrade: websocket"), false},
	}
	for _, c := range cases {
		if got := parsed(t, c.head).WantsUpgrade(); got != c.want {
			t.Errorf("%q: %v, want %v", c.head, got, c.want)
		}
	}
}

// answerOf is the answer to the shortest upgrade with lines.
func answerOf(t *testing.T, resp *ws.Response, lines ...string) (*http.Response, error) {
	t.Helper()
	r := parsed(t, upgrade(lines...))
	answer, err := ws.AppendUpgrade([]byte("before"), r, resp)
	rest, kept := bytes.CutPrefix(answer, []byte("before"))
	if !kept || err != nil && len(rest) > 0 {
		t.Fatalf("%v, and the answer is %q", err, answer)
	}
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(bytes.NewReader(rest))
	got, err := http.ReadResponse(in, nil)
	if err != nil || in.Buffered() > 0 {
		t.Fatalf("answer %q: %v, %d bytes behind it", answer, err, in.Buffered())
	}
	got.Body.Close()
	if got.Header.Get("Sec-WebSocket-Accept") != testSum || got.Header.Values("Sec-WebSocket-Extensions") != nil {
		t.Errorf("answer %q", answer)
	}
	return got, nil
}

func TestAppendUpgradeResponse(t *testing.T) {
	const offers = "Sec-WebSocket-Protocol: chat, soap"
	long := strings.Repeat("x", 10_000) // longer than most buffers
	cases := []struct {
		name string
		resp ws.Response
		ok   bool
	}{
		{"nothing", ws.Response{}, true},
		{"subprotocol", ws.Response{Subprotocol: "soap"}, true},
		{"date", ws.Response{Date: "Tue, 28 Jan 2025 10:00:00 GMT", Header: http.Header{"X": {"y"}}}, true},
		{"fields", ws.Response{Header: http.Header{"Set-Cookie": {"a=1", "b=caf\xe9"}, "x-id": {"7"}, "X-Long": {long}}}, true},
		{"subprotocol in another case", ws.Response{Subprotocol: "Soap"}, false},
		{"subprotocol not offered", ws.Response{Subprotocol: "mqtt"}, false},
		{"subprotocol with a line end", ws.Response{Subprotocol: "chat\r\nX: y"}, false},
		{"two subprotocols", ws.Response{Subprotocol: "chat, soap"}, false},
		{"name with a line end", ws.Response{Header: http.Header{"X\r\nY": {"a"}}}, false},
		{"name with a space", ws.Response{Header: http.Header{"X ": {"a"}}}, false},
		{"empty name", ws.Response{Header: http.Header{"": {"a"}}}, false},
		{"CRLF in a value", ws.Response{Header: http.Header{"X": {"a", "b\r\nY: c"}}}, false},
		{"LF in a value", ws.Response{Header: http.Header{"X": {"a\nY: c"}}}, false},
		{"NUL in a value", ws.Response{Header: http.Header{"X": {"\x00"}}}, false},
		{"Connection", ws.Response{Header: http.Header{"connection": {"close"}}}, false},
		{"Upgrade", ws.Response{Header: http.Header{"Upgrade": {"h2c"}}}, false},
		{"Content-Length", ws.Response{Header: http.Header{"Content-Length": {"0"}}}, false},
		{"Transfer-Encoding", ws.Response{Header: http.Header{"TRANSFER-ENCODING": {"chunked"}}}, false},
		{"Sec-WebSocket-Extensions", ws.Response{Header: http.Header{"Sec-Websocket-Extensions": nil}}, false},
		{"Sec-WebSocket-Accept", ws.Response{Header: http.Header{"Sec-WebSocket-Accept": {"x"}}}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := answerOf(t, &c.resp, offers, "Sec-WebSocket-Extensions: permessage-deflate")
			if (err == nil) != c.ok {
				t.Fatalf("%v, want ok %v", err, c.ok)
			}
			if !c.ok {
				return
			}
			if p := got.Header.Get("Sec-WebSocket-Protocol"); p != c.resp.Subprotocol {
				t.Errorf("subprotocol %q", p)
			}
			for name, want := range c.resp.Header {
				if v := got.Header.Values(name); strings.Join(v, "|") != strings.Join(want, "|") {
					t.Errorf("%s: %q, want %q", name, v, want)
				}
			}
		})
	}
}

// TestAnswersAsGobwas: the 101 is, byte for byte, that of gobwas/ws's Upgrader.
func TestAnswersAsGobwas(t *testing.T) {
	head := upgrade("Sec-WebSocket-Protocol: chat, soap")
	for name, resp := range map[string]ws.Response{
		"nothing":     {},
		"subprotocol": {Subprotocol: "soap"},
		"fields":      {Subprotocol: "chat", Header: http.Header{"Set-Cookie": {"a=1", "b=2"}, "X-Id": {"7"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ws.AppendUpgrade(nil, parsed(t, head), &resp)
			if err != nil {
				t.Fatal(err)
			}
			upgrader := gobwas.Upgrader{
				Protocol: func(p []byte) bool { return string(p) == resp.Subprotocol },
				Header:   gobwas.HandshakeHeaderHTTP(resp.Header),
			}
			var want bytes.Buffer
			if _, err := upgrader.Upgrade(struct {
				io.Reader
				io.Writer
			}{strings.NewReader(head), &want}); err != nil {
				t.Fatal(err)
			}
			if string(got) != want.String() {
				t.Errorf("got  %q\nwant %q", got, want.String())
			}
		})
	}
}

func TestAppendUpgradeNeedsAKey(t *testing.T) {
	var r ws.Request
	if answer, err := ws.AppendUpgrade(nil, &r, nil); err == nil || len(answer) > 0 {
		t.Errorf("%v, answer %q", err, answer)
	}
}

func TestSubprotocols(t *testing.T) {
	r := parsed(t, upgrade("Sec-WebSocket-Protocol: chat,,  v2.soap", "sec-websocket-protocol:", "SEC-WEBSOCKET-PROTOCOL: mqtt ,chat"))
	if got := strings.Join(r.Subprotocols(), " "); got != "chat v2.soap mqtt chat" {
		t.Errorf("Subprotocols: %q", got)
	}
	cases := []struct {
		supported []string
		want      string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"CHAT", "cha", "chatt"}, ""},
		{[]string{"mqtt"}, "mqtt"},
		{[]string{"mqtt", "v2.soap"}, "v2.soap"}, // the client's order counts
	}
	for _, c := range cases {
		if got := r.SelectSubprotocol(c.supported...); got != c.want {
			t.Errorf("%q: %q, want %q", c.supported, got, c.want)
		}
	}
	if none := parsed(t, upgrade()); none.Subprotocols() != nil || none.SelectSubprotocol("chat") != "" {
		t.Error("a subprotocol without an offer")
	}
}

// fewestAllocs is what f allocates when the pools have what it needs: under the
// race detector they drop some of it at random.
func fewestAllocs(f func()) float64 {
	fewest := testing.AllocsPerRun(1, f)
	for range 100 {
		fewest = min(fewest, testing.AllocsPerRun(1, f))
	}
	return fewest
}

func TestHandshakeAllocations(t *testing.T) {
	head, dst := []byte(realHeads[0].head), make([]byte, 0, 512)
	var r ws.Request
	if got := fewestAllocs(func() { _, _ = handshake(head, dst, &r) }); got > 0 {
		t.Errorf("a handshake takes %v allocations, want none", got)
	}
	if got := testing.AllocsPerRun(100, func() { _ = r.CheckUpgrade() }); got > 0 {
		t.Errorf("CheckUpgrade takes %v allocations, want none", got)
	}
}

func TestHandshakesAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			resp := &ws.Response{Subprotocol: "p" + id, Header: http.Header{"X-Id": {id}}}
			for range 100 {
				got, err := answerOf(t, resp, "Sec-WebSocket-Protocol: x, p"+id)
				if err != nil || got.Header.Get("X-Id") != id || got.Header.Get("Sec-WebSocket-Protocol") != "p"+id {
					t.Errorf("handshake %d got another's answer: %v, %v", i, err, got)
				}
			}
		})
	}
	wg.Wait()
}
