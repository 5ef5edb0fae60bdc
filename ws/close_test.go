package ws_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// TestCloseCodes asks for every code there is: what the decoder takes, what
// Sendable says, and that no other code is ever sent.
func TestCloseCodes(t *testing.T) {
	for code := range 1 << 16 {
		allowed := allowedInClose[code]
		got := decode(t, &ws.Decoder{}, []byte(masked("\x88\x82", string([]byte{byte(code >> 8), byte(code)}))))
		if want := map[bool]ws.Code{true: 0, false: 1002}[allowed]; got.code != want {
			t.Errorf("%d in a frame: error %d, not %d", code, got.code, want)
		}
		if ws.Code(code).Sendable() != allowed {
			t.Errorf("%d: Sendable is %v", code, !allowed)
		}
		want := "\x88\x00"
		if allowed {
			want = "\x88\x04" + string([]byte{byte(code >> 8), byte(code)}) + "ok"
		}
		if frame := ws.AppendClose(nil, ws.Code(code), "ok"); string(frame) != want {
			t.Errorf("%d is sent as %q", code, frame)
		}
	}
}

func TestAppendCloseReason(t *testing.T) {
	cases := []struct{ name, reason, want string }{
		{"empty", "", ""},
		{"123 bytes", strings.Repeat("a", 123), strings.Repeat("a", 123)},
		{"124 bytes", strings.Repeat("a", 124), strings.Repeat("a", 123)},
		{"cut at a rune of 2", strings.Repeat("a", 122) + "é", strings.Repeat("a", 122)},
		{"cut at a rune of 4", strings.Repeat("\U0001f600", 40), strings.Repeat("\U0001f600", 30)},
		{"nothing behind the cut", strings.Repeat("a", 122) + "éb", strings.Repeat("a", 122)},
		{"not UTF-8", "a\xffb\xe2\x82", "a\ufffdb\ufffd\ufffd"},
	}
	for _, c := range cases {
		frame := ws.AppendClose([]byte("before"), 3000, c.reason)
		want := "before\x88" + string([]byte{byte(2 + len(c.want))}) + "\x0b\xb8" + c.want
		if string(frame) != want {
			t.Errorf("%s: %q", c.name, frame)
		}
	}
}

func TestParseClose(t *testing.T) {
	cases := []struct {
		payload string
		code    ws.Code
		reason  string
	}{
		{"", ws.CodeNoStatus, ""},
		{"\x03\xe9", ws.CodeGoingAway, ""},
		{"\x13\x87bye", 4999, "bye"},
	}
	for _, c := range cases {
		if code, reason := ws.ParseClose([]byte(c.payload)); code != c.code || reason != c.reason {
			t.Errorf("%q: %d %q", c.payload, code, reason)
		}
	}
}

func TestCloseErrorText(t *testing.T) {
	cases := []struct {
		err  ws.CloseError
		want string
	}{
		{ws.CloseError{Code: ws.CodeGoingAway, Reason: "bye\n", Remote: true}, `ws: closed by the peer: 1001 (going away) "bye\n"`},
		{ws.CloseError{Code: ws.CodeTooBig}, "ws: closed: 1009 (message too big)"},
		{ws.CloseError{Code: 4000, Remote: true}, "ws: closed by the peer: 4000"},
	}
	for _, c := range cases {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%s, not %s", got, c.want)
		}
	}
}

func TestOpcodeString(t *testing.T) {
	got := fmt.Sprint(ws.Continuation, ws.Text, ws.Binary, ws.Close, ws.Ping, ws.Pong, ws.Opcode(3))
	if got != "continuation text binary close ping pong opcode 3" {
		t.Error(got)
	}
}
