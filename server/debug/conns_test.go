package debug_test

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/debug"
)

const patience = 20 * time.Second

// start serves WebSocket and the page until the test ends.
func start(t *testing.T) (addr, page string) {
	t.Helper()
	engine, err := poller.New("")
	if err != nil {
		t.Fatal(err)
	}
	srv := &server.Server{Runtime: server.Runtime{Engine: engine}, Logger: slog.New(slog.DiscardHandler)}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	mux := http.NewServeMux()
	mux.Handle("/debug/conns", debug.Conns(srv))
	pages := httptest.NewServer(mux)
	t.Cleanup(func() {
		pages.Close()
		_ = srv.Close() // always nil
		<-served
	})
	return ln.Addr().String(), pages.URL + "/debug/conns"
}

// open is an open WebSocket.
func open(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	_ = conn.SetDeadline(time.Now().Add(patience))
	const request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	return conn, r
}

// expectClose reads a close frame with the code's two bytes and a reason.
func expectClose(t *testing.T, r *bufio.Reader, code, reason string) {
	t.Helper()
	want := "\x88" + string(rune(2+len(reason))) + code + reason
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

func do(t *testing.T, req *http.Request) (status int, header http.Header, body string) {
	t.Helper()
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func get(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

// post sends a form with these header lines.
func post(t *testing.T, url string, form url.Values, header map[string]string) (status int, got http.Header, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return do(t, req)
}

type report struct {
	By          string
	Total       int
	Connections []struct {
		ID, Remote, State string
		Age               *float64 `json:"age_seconds"`
		RTT               *float64 `json:"rtt_seconds"`
		Backlog           *int     `json:"backlog_bytes"`
		Received          *int     `json:"received_bytes"`
	}
}

func look(t *testing.T, url string) (r report) {
	t.Helper()
	status, header, body := get(t, url)
	if status != 200 || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %v %s", url, status, header, body)
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return r
}

func TestLook(t *testing.T) {
	t.Parallel()
	addr, page := start(t)
	if r := look(t, page+"?format=json"); r.By != "backlog" || r.Total != 0 || r.Connections == nil || len(r.Connections) > 0 {
		t.Errorf("nobody is there: %+v", r)
	}
	if _, _, body := get(t, page); !strings.Contains(body, "No connections.") {
		t.Errorf("nobody is there:\n%s", body)
	}
	var remotes []string
	for range 3 {
		conn, _ := open(t, addr)
		remotes = append(remotes, conn.LocalAddr().String())
	}
	for _, by := range []string{"backlog", "age", "bytes", "rtt"} {
		r := look(t, page+"?format=json&by="+by)
		if r.By != by || r.Total != 3 || len(r.Connections) != 3 {
			t.Fatalf("%+v", r)
		}
		for _, c := range r.Connections {
			if !slices.Contains(remotes, c.Remote) || c.State != "open" || c.ID == "" || c.Age == nil || c.RTT == nil || c.Backlog == nil || *c.Received == 0 {
				t.Errorf("%+v", c)
			}
		}
		if r := look(t, page+"?format=json&n=2&by="+by); len(r.Connections) != 2 {
			t.Errorf("%+v", r)
		}
		status, header, body := get(t, page+"?by="+by)
		if status != 200 || header.Get("Cache-Control") != "no-store" || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%d %v", status, header)
		}
		for _, remote := range remotes {
			if !strings.Contains(body, "<td>"+remote+"</td>") {
				t.Errorf("the page by %s lacks %s:\n%s", by, remote, body)
			}
		}
	}
	for query, want := range map[string]string{
		"by=size": "by: want one of backlog, age, bytes, inbound, rtt", "n=0": "n: want a whole number from 1 to 1000", "n=1001": "n: ", "n=x": "n: ",
	} {
		if status, _, body := get(t, page+"?"+query); status != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q, want 400 and %q", query, status, body, want)
		}
	}
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

// TestClose: who has the page's token or sets the header closes a connection, with
// a code and a reason.
func TestClose(t *testing.T) {
	t.Parallel()
	addr, page := start(t)
	_, r := open(t, addr)
	only := look(t, page+"?format=json").Connections[0].ID
	_, _, body := get(t, page)
	token := tokenField.FindStringSubmatch(body)[1]
	status, header, _ := post(t, page+"?by=age&n=10", url.Values{"token": {token}, "id": {only}, "code": {"4000"}, "reason": {"why <not>"}},
		map[string]string{"Sec-Fetch-Site": "same-origin"})
	if where := "?by=age&closed=" + only + "&n=10"; status != http.StatusSeeOther || header.Get("Location") != where {
		t.Errorf("status %d, %v, want a redirect to %s", status, header, where)
	}
	expectClose(t, r, "\x0f\xa0", "why <not>")
	if _, _, body := get(t, page+"?closed="+only); !strings.Contains(body, only+" is being closed.") {
		t.Errorf("the page does not tell:\n%s", body)
	}

	conn, r := open(t, addr)
	for _, c := range look(t, page+"?format=json").Connections {
		if c.Remote == conn.LocalAddr().String() {
			only = c.ID
		}
	}
	status, _, body = post(t, page, url.Values{"id": {only}}, map[string]string{debug.ActionHeader: "close"})
	if status != 200 || strings.TrimSpace(body) != `{"closed":"`+only+`"}` {
		t.Errorf("%d %s", status, body)
	}
	expectClose(t, r, "\x03\xe9", "")
}

// TestCloseRefused: no form of another page, no guess, and no nonsense closes
// anything.
func TestCloseRefused(t *testing.T) {
	t.Parallel()
	addr, page := start(t)
	open(t, addr)
	id := look(t, page+"?format=json").Connections[0].ID
	_, _, body := get(t, page)
	token := tokenField.FindStringSubmatch(body)[1]
	asked := map[string]string{debug.ActionHeader: "1"}
	for _, tt := range []struct {
		name   string
		form   url.Values
		header map[string]string
		status int
		text   string
	}{
		{"neither token nor header", url.Values{"id": {id}}, nil, 403, "needs the page's token"},
		{"a guess", url.Values{"id": {id}, "token": {strings.Repeat("A", 26)}}, nil, 403, "needs"},
		{"another site's form with the token", url.Values{"id": {id}, "token": {token}}, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, "needs"},
		{"another origin's", url.Values{"id": {id}, "token": {token}}, map[string]string{"Origin": "https://elsewhere.example"}, 403, "needs"},
		{"another origin's script", url.Values{"id": {id}}, map[string]string{"Origin": "https://elsewhere.example", debug.ActionHeader: "1"}, 403, "needs"},
		{"no id", url.Values{}, asked, 400, "no connection id"},
		{"a bad id", url.Values{"id": {"1.2"}}, asked, 400, "no connection id"},
		{"an id of nobody", url.Values{"id": {"0123456789abcdef.0.77.5"}}, asked, 404, "no such connection"},
		{"a code that may not be sent", url.Values{"id": {id}, "code": {"1006"}}, asked, 400, "may not be sent"},
		{"no code", url.Values{"id": {id}, "code": {"x"}}, asked, 400, "want a close code"},
		{"too much", url.Values{"id": {id}, "reason": {strings.Repeat("x", 5000)}}, asked, 400, "4 KiB"},
	} {
		if status, _, body := post(t, page, tt.form, tt.header); status != tt.status || !strings.Contains(body, tt.text) {
			t.Errorf("%s: %d %q, want %d and %q", tt.name, status, body, tt.status, tt.text)
		}
	}
	req, err := http.NewRequest(http.MethodDelete, page, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, header, _ := do(t, req); status != 405 || header.Get("Allow") == "" {
		t.Errorf("DELETE: %d %v", status, header)
	}
	if r := look(t, page+"?format=json"); len(r.Connections) != 1 || r.Connections[0].State != "open" {
		t.Errorf("after all that: %+v", r)
	}
}
