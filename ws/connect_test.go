package ws_test

import (
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/millrace/millrace/ws"
)

// connect is a request that came as an extended CONNECT, with these lines.
func connect(t *testing.T, lines ...string) *ws.Request {
	t.Helper()
	head := "GET /chat HTTP/1.1\r\nHost: example.com\r\n"
	for _, line := range lines {
		head += line + "\r\n"
	}
	r := &ws.Request{ExtendedConnect: true}
	if err := r.Parse([]byte(head + "\r\n")); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCheckConnect: RFC 8441 section 5 asks for the version and for nothing that
// HTTP/1.1 says in Upgrade, Connection and the key.
func TestCheckConnect(t *testing.T) {
	const version = "Sec-WebSocket-Version: 13"
	for _, c := range []struct {
		name   string
		lines  []string
		status int // 0: accepted
	}{
		{"the least", []string{version}, 0},
		{"with all", []string{version, "Origin: http://a", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate"}, 0},
		{"a key means nothing", []string{version, "Sec-WebSocket-Key: ?"}, 0},
		{"no version", nil, 400},
		{"version twice", []string{version, version}, 400},
		{"version 8", []string{"Sec-WebSocket-Version: 8"}, 400},
		{"a length", []string{version, "Content-Length: 1"}, 400},
		{"length 0", []string{version, "Content-Length: 0"}, 0},
		{"two origins", []string{version, "Origin: http://a", "Origin: http://a"}, 400},
		{"malformed subprotocol", []string{version, "Sec-WebSocket-Protocol: a b"}, 400},
		{"malformed extensions", []string{version, "Sec-WebSocket-Extensions: permessage-deflate;;"}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := connect(t, c.lines...)
			if !r.WantsUpgrade() || r.Method() != "CONNECT" || !r.Clone().ExtendedConnect {
				t.Error("it is not taken for what it is")
			}
			err := r.CheckUpgrade()
			var refusal *ws.Refusal
			if errors.As(err, &refusal); c.status == 0 && err != nil || c.status != 0 && (refusal == nil || refusal.Status != c.status) {
				t.Errorf("CheckUpgrade: %v, want %d", err, c.status)
			}
			r.Reset()
			if r.ExtendedConnect || r.WantsUpgrade() {
				t.Error("it is still one after Reset")
			}
		})
	}
}

// TestConnectHeader: the answer has what the application adds, and no accept key.
func TestConnectHeader(t *testing.T) {
	r := connect(t, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: a, b",
		"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover")
	deflate := r.SelectDeflate(ws.DeflatePolicy{})
	own := http.Header{"X-Own": {"1", "2"}}
	for _, c := range []struct {
		name string
		resp *ws.Response
		want http.Header // nil: an error
	}{
		{"nothing", nil, http.Header{}},
		{"all", &ws.Response{Subprotocol: "b", Header: own, Deflate: deflate}, http.Header{
			"Sec-Websocket-Protocol":   {"b"},
			"Sec-Websocket-Extensions": {"permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
			"X-Own":                    {"1", "2"},
		}},
		{"a subprotocol that was not offered", &ws.Response{Subprotocol: "c"}, nil},
		{"a field of the handshake", &ws.Response{Header: http.Header{"Sec-WebSocket-Accept": {"x"}}}, nil},
		{"a malformed field", &ws.Response{Header: http.Header{"X": {"a\nb"}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ws.ConnectHeader(r, c.resp)
			if (err != nil) != (c.want == nil) || err == nil && !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, %v, want %v", got, err, c.want)
			}
		})
	}
	if len(own) != 1 {
		t.Errorf("the application's header has become %v", own)
	}
}
