package ws_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

func TestAppendRefusal(t *testing.T) {
	cases := []struct {
		name    string
		refusal *ws.Refusal
		status  int
		body    string
		fields  map[string]string
	}{
		{"plain", &ws.Refusal{Status: 403, Reason: "not you"}, 403, "not you\n", map[string]string{
			"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Upgrade": ""}},
		{"no reason", &ws.Refusal{Status: 404}, 404, "Not Found\n", nil},
		{"status 0", &ws.Refusal{}, 500, "Internal Server Error\n", nil},
		{"status 101", &ws.Refusal{Status: 101, Reason: "x"}, 500, "x\n", nil},
		{"status 1000", &ws.Refusal{Status: 1000}, 500, "Internal Server Error\n", nil},
		{"unknown status", &ws.Refusal{Status: 599, Reason: "x"}, 599, "x\n", nil},
		{"a body", &ws.Refusal{Status: 403, Reason: "not you", Body: `{"error":"you"}`}, 403, `{"error":"you"}` + "\n", nil},
		{"a body with a line end", &ws.Refusal{Status: 403, Body: "not you\n"}, 403, "not you\n", nil},
		{"no content", &ws.Refusal{Status: 204, Reason: "x"}, 204, "", map[string]string{"Content-Length": ""}},
		{"upgrade required", ws.UpgradeRequired(), 426, ws.UpgradeRequired().Reason + "\n", map[string]string{
			"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}},
		{"fields", &ws.Refusal{Status: 302, Header: http.Header{"Location": {"/login"}, "Content-Type": {"text/html"}}}, 302, "Found\n",
			map[string]string{"Location": "/login", "Content-Type": "text/html"}},
		{"wrong fields", &ws.Refusal{Status: 400, Reason: "x", Header: http.Header{
			"Content-Length": {"9"}, "connection": {"keep-alive"}, "X": {"a\r\nY: b"}, "A\r\nB": {"c"}, "": {"d"}}}, 400, "x\n",
			map[string]string{"X": "", "Y": "", "B": ""}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := bufio.NewReader(bytes.NewReader(ws.AppendRefusal(nil, c.refusal)))
			got, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			body, err := io.ReadAll(got.Body)
			if err != nil || got.StatusCode != c.status || string(body) != c.body || in.Buffered() > 0 || !got.Close {
				t.Errorf("status %d, body %q, %v, %d bytes behind, close %v", got.StatusCode, body, err, in.Buffered(), got.Close)
			}
			for name, want := range c.fields {
				if v := strings.Join(got.Header.Values(name), "|"); v != want {
					t.Errorf("%s: %q, want %q", name, v, want)
				}
			}
		})
	}
}

// TestAppendRefusalTo: a Date, one, and no body to HEAD.
func TestAppendRefusalTo(t *testing.T) {
	const date = "Tue, 28 Jan 2025 10:00:00 GMT"
	refusal := &ws.Refusal{Status: 403, Reason: "not you"}
	get := string(ws.AppendRefusalTo([]byte("before"), "GET", date, refusal))
	if strings.Count(get, "\r\nDate: "+date+"\r\n") != 1 || !strings.HasSuffix(get, "\r\n\r\nnot you\n") {
		t.Errorf("%q", get)
	}
	if head := string(ws.AppendRefusalTo([]byte("before"), "HEAD", date, refusal)); head+"not you\n" != get {
		t.Errorf("%q", head)
	}
	if plain := string(ws.AppendRefusal(nil, refusal)); strings.Contains(plain, "Date") || !strings.HasSuffix(plain, "not you\n") {
		t.Errorf("%q", plain)
	}
	refusal.Header = http.Header{"dAte": {"Thu, 01 Jan 1970 00:00:00 GMT"}}
	if own := string(ws.AppendRefusalTo(nil, "GET", date, refusal)); strings.Contains(own, date) || strings.Count(own, "1970") != 1 {
		t.Errorf("%q", own)
	}
}

func TestRefusePlain(t *testing.T) {
	for method, want := range map[string]int{
		"GET": 426, "HEAD": 426, "POST": 426, "PUT": 426, "PATCH": 426, "DELETE": 426, "OPTIONS": 426, "TRACE": 426,
		"BREW": 501, "get": 501,
	} {
		if got := parsed(t, getWith(method+" /chat HTTP/1.1")).RefusePlain().Status; got != want {
			t.Errorf("%s: %d, want %d", method, got, want)
		}
	}
}

func TestRefusalsSayWhatIsAllowed(t *testing.T) {
	refused := func(h string) *ws.Refusal { return parsed(t, h).CheckUpgrade().(*ws.Refusal) }
	if allow := refused(getWith("POST /chat HTTP/1.1")).Header.Get("Allow"); allow != "GET" {
		t.Errorf("405 allows %q", allow)
	}
	answer := string(ws.AppendRefusal(nil, refused(upgrade("Sec-WebSocket-Version: 8"))))
	for _, line := range []string{"Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: close, Upgrade"} {
		if strings.Count(answer, "\r\n"+line+"\r\n") != 1 {
			t.Errorf("426 without %s: %q", line, answer)
		}
	}
	if text := ws.UpgradeRequired().Error(); !strings.HasPrefix(text, "ws: ") || !strings.Contains(text, "426") {
		t.Errorf("error %q", text)
	}
}
