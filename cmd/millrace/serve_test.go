package main_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller"
)

// fetch sends a plain request, on a connection of its own.
func fetch(t *testing.T, method, url string) (resp *http.Response, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	client := http.Client{Timeout: patience}
	resp, err = client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestPlainRequests(t *testing.T) {
	t.Parallel()
	p := serve(t, nil)
	for _, c := range []struct {
		method, path string
		status       int
		contentType  string
		body         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "<title>millrace</title>"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", ""},
		{"POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok"},
		{"GET", "/readyz", 200, "text/plain; charset=utf-8", "ready"},
		{"GET", "/echo", 426, "text/plain; charset=utf-8", "WebSocket"},
		{"GET", "/nowhere", 404, "text/plain; charset=utf-8", "not found"},
	} {
		resp, body := fetch(t, c.method, "http://"+p.addr+c.path)
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.contentType || !strings.Contains(body, c.body) {
			t.Errorf("%s %s: %s, %q, want %d, %s, %q", c.method, c.path, resp.Status, body, c.status, c.contentType, c.body)
		}
		if c.status == 426 && (resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Version") != "13") {
			t.Errorf("%s: header %v", c.path, resp.Header)
		}
	}
	for _, path := range []string{"/", "/echo/", "/nowhere"} {
		if status := dial(t, p.addr).upgrade(path); status != 404 {
			t.Errorf("upgrade at %s: status %d, want 404", path, status)
		}
	}
}

// TestHealthWithoutHost: monitors may ask without the name of a host.
func TestHealthWithoutHost(t *testing.T) {
	t.Parallel()
	p := serve(t, nil)
	for _, path := range []string{"/healthz", "/readyz"} {
		for _, rest := range []string{" HTTP/1.0\r\n\r\n", " HTTP/1.0\r\nHost:\r\n\r\n", " HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"} {
			c := dial(t, p.addr)
			c.write([]byte("GET " + path + rest))
			if resp, err := http.ReadResponse(c.r, nil); err != nil || resp.StatusCode != 200 {
				t.Errorf("%s%q: %v, %v", path, rest, resp, err)
			}
		}
	}
}

// TestBodyThatNeverComes: a plain request holds its connection no longer than a head
// may take, whatever body it announces.
func TestBodyThatNeverComes(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--body-timeout", "300ms")
	for _, body := range []string{"Content-Length: 5\r\n\r\nfour", "Transfer-Encoding: chunked\r\n\r\n5\r\nfour"} {
		for _, line := range []string{"GET /", "POST /", "POST /healthz", "GET /metrics", "PUT /nowhere"} {
			c := dial(t, p.addr)
			c.write([]byte(line + " HTTP/1.1\r\nHost: a\r\n" + body))
			if _, err := io.Copy(io.Discard, c.r); err != nil {
				t.Errorf("%s, %q: %v, want the end of the connection", line, body, err)
			}
		}
	}
}

// TestPage: the page needs nothing from elsewhere, and says so to the browser.
func TestPage(t *testing.T) {
	t.Parallel()
	p := serve(t, nil)
	resp, page := fetch(t, "GET", "http://"+p.addr+"/")
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("Content-Security-Policy %q", policy)
	}
	files := map[string]string{"/": page}
	for _, own := range regexp.MustCompile(`(?:src|href)="([a-z_]+\.(?:js|css))"`).FindAllStringSubmatch(page, -1) {
		page = strings.Replace(page, own[0], "", 1)
		resp, files[own[1]] = fetch(t, "GET", "http://"+p.addr+"/"+own[1])
		if resp.StatusCode != 200 || resp.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/") {
			t.Errorf("%s: %s, %v", own[1], resp.Status, resp.Header)
		}
	}
	if files["/"] = page; len(files) < 5 {
		t.Errorf("the page has only %d files", len(files))
	}
	for name, text := range files {
		for _, namespace := range []string{"xmlns='http://www.w3.org/2000/svg'", `createElementNS("http://www.w3.org/2000/svg"`} { // names, never loaded
			text = strings.ReplaceAll(text, namespace, "")
		}
		for _, outside := range regexp.MustCompile(`https?://[^$]|(src|href)="[^d#]|url\(|@import`).FindAllString(text, -1) {
			t.Errorf("%s of the page has %q", name, outside)
		}
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	for _, engine := range poller.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := open(t, serve(t, nil, "--poller", engine).addr)
			for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
				payload := strings.Repeat("å", size/2) + strings.Repeat("b", size%2)
				c.send(fin|opText, payload)
				c.expect(opText, payload)
				c.send(fin|opBinary, payload)
				c.expect(opBinary, payload)
			}
			c.send(opText, "in ")
			c.send(fin|opPing, "are you there?")
			c.send(fin|opContinuation, "two frames")
			c.expect(opPong, "are you there?")
			c.expect(opText, "in two frames")
			c.sendClose(4711, "bye")
			c.expectClose(4711)
			c.expectEOF()
		})
	}
}

func TestEchoTooBigForQueue(t *testing.T) {
	t.Parallel()
	c := open(t, serve(t, nil, "--max-queue", "1k").addr)
	c.send(fin|opBinary, strings.Repeat("x", 2<<10))
	if reason := c.expectClose(1009); !strings.Contains(reason, "outbound queue") {
		t.Errorf("reason %q", reason)
	}
}

// TestMaxMessageAlone: whoever raises only --max-message gets the echo of such a
// message: the bound of the queue follows.
func TestMaxMessageAlone(t *testing.T) {
	t.Parallel()
	c := open(t, serve(t, nil, "--max-message", "16m").addr)
	payload := strings.Repeat("0123", 1<<20)
	go c.send(fin|opBinary, payload)
	c.expect(opBinary, payload)
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	p := serve(t, []string{"MILLRACE_ORIGIN=https://unused.example"},
		"--origin", "https://a.example, https://b.example:444", "--origin", "http://c.example")
	for origin, want := range map[string]int{
		"http://" + p.addr:       101,
		"https://a.example":      101,
		"https://b.example:444":  101,
		"http://c.example":       101,
		"https://b.example":      403,
		"https://unused.example": 403,
		"null":                   403,
	} {
		if status := dial(t, p.addr).upgrade("/echo", "Origin: "+origin); status != want {
			t.Errorf("%s: status %d, want %d", origin, status, want)
		}
	}
	if status := dial(t, serve(t, nil, "--origin=*").addr).upgrade("/echo", "Origin: https://any.example"); status != 101 {
		t.Errorf("with --origin=*: status %d", status)
	}
}

// TestTimes: each of the times ends what it says, long before the test would.
func TestTimes(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--handshake-timeout", "300ms", "--ping-interval", "200ms", "--idle-timeout", "300ms", "--close-timeout", "100ms")
	silent := dial(t, p.addr)
	silent.expectEOF()
	c := open(t, p.addr)
	c.expect(opPing, "")
	c.send(fin|opPong, "")
	for {
		op, payload := c.read()
		if op == opClose {
			if payload[:2] != "\x03\xe9" { // 1001
				t.Errorf("close frame %q, want 1001", payload)
			}
			break
		}
		c.send(fin|opPong, payload)
	}
	c.expectEOF()
}
