package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// expectBody sends a request with net/http and compares the answer.
func expectBody(t *testing.T, p *program.Program, method, path, body string, status int, want string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+p.Addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || string(got) != want {
		t.Errorf("%s %s: %s, %q, %v; want %d, %q", method, path, resp.Status, got, err, status, want)
	}
}

func TestNotices(t *testing.T) {
	p := program.Start(t)
	expectBody(t, p, "GET", "/", "", http.StatusOK, "0 are listening at /ws\n")
	one, two := p.Dial("/ws", nil), p.Dial("/ws", nil)
	one.Expect("welcome")
	two.Expect("welcome")
	expectBody(t, p, "GET", "/", "", http.StatusOK, "2 are listening at /ws\n")
	expectBody(t, p, "POST", "/notices", "tea is ready", http.StatusOK, "told 2\n")
	one.Expect("tea is ready")
	two.Expect("tea is ready")

	expectBody(t, p, "POST", "/notices", strings.Repeat("a", 4097), http.StatusBadRequest, "at most 4096 bytes, please\n")
	expectBody(t, p, "GET", "/ws", "", http.StatusUpgradeRequired, "this is a WebSocket, connect with the WebSocket protocol\n")
	p.ExpectRefusal("/ws", http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden)
	p.ExpectRefusal("/elsewhere", nil, http.StatusNotFound)

	p.Signal()
	one.ExpectClose(websocket.CloseGoingAway)
	two.ExpectClose(websocket.CloseGoingAway)
	p.ExpectEnd()
}
