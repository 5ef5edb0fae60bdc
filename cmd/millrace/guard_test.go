package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/server/debug"
)

const secret = "correct-horse-battery-staple"

func basic(t *testing.T, user, password string) string {
	t.Helper()
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return "Authorization: " + r.Header.Get("Authorization")
}

// TestAdminToken: what tells of the server, or does something to it, is for who knows
// the token; whether it is well, for everybody.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--admin", "127.0.0.1:0", "--admin-token-file", tempFile(t, "token", "\n"+secret+"\n"), "--log-level", "debug")
	admin := "http://" + p.admin
	for _, path := range []string{"/metrics", "/debug/conns", "/debug/conns?format=json"} {
		for _, right := range []string{"Authorization: Bearer " + secret, "Authorization: bearer  " + secret, basic(t, "me", secret), basic(t, "", secret)} {
			if status, _, body := asking(t, "GET", admin+path, "", right); status != 200 {
				t.Errorf("%s with %q: %d %s", path, right, status, body)
			}
		}
		for _, wrong := range []string{"Accept: */*", "Authorization: " + secret, "Authorization: Bearer " + secret[1:], "Authorization: Bearer " + secret + "x",
			"Authorization: Bearer ", "Authorization: Digest " + secret, basic(t, secret, ""), basic(t, "me", "wrong"), "X-Token: " + secret} {
			status, header, body := asking(t, "GET", admin+path, "", wrong)
			if challenges := strings.Join(header.Values("WWW-Authenticate"), ", "); status != 401 || !strings.Contains(body, "--admin-token-file") ||
				!strings.Contains(challenges, "Basic realm=") || !strings.Contains(challenges, "Bearer realm=") {
				t.Errorf("%s with %q: %d %v %s", path, wrong, status, header, body)
			}
		}
	}
	if status, _, body := asking(t, "POST", admin+"/debug/conns?id=0.0.1", "", debug.ActionHeader+": close"); status != 401 {
		t.Errorf("closing without the token: %d %s", status, body)
	}
	expectPage(t, admin+"/healthz", 200, "ok")
	expectPage(t, admin+"/readyz", 200, "ready")
	p.signal(syscall.SIGTERM)
	if _, stderr := p.status(); strings.Contains(stderr, secret) || strings.Contains(stderr, secret[1:]) {
		t.Errorf("the token is in the log:\n%s", stderr)
	}
}

// TestAdminTokenChanges: another token in the file is the one that counts soon; as long as
// there is none, it is the one before.
func TestAdminTokenChanges(t *testing.T) {
	t.Parallel()
	file := tempFile(t, "token", secret)
	p := serve(t, []string{"MILLRACE_ADMIN_TOKEN_FILE=" + file}, "--admin", "127.0.0.1:0")
	knows := func(token string) bool {
		status, _, _ := asking(t, "GET", "http://"+p.admin+"/metrics", "", "Authorization: Bearer "+token)
		return status == 200
	}
	await := func(token string) {
		t.Helper()
		for end := time.Now().Add(patience); !knows(token); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s is not the token", token)
			}
		}
	}
	await(secret)
	const next = "another-token-of-some-length"
	writeFile(t, file, []byte(next))
	await(next)
	if knows(secret) {
		t.Error("the token before is still good")
	}
	writeFile(t, file, []byte("short"))
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !knows(next) { // also when the file has been looked at, once a second
			t.Fatal("the token is lost with its file")
		}
	}
	if knows("short") || knows("") {
		t.Error("a token that is none is good")
	}
	writeFile(t, file, []byte(secret))
	await(secret)
	p.signal(syscall.SIGTERM)
	_, stderr := p.status()
	for _, text := range []string{secret, next, "short"} {
		if strings.Contains(stderr, text) {
			t.Errorf("%s is in the log:\n%s", text, stderr)
		}
	}
	if n := strings.Count(stderr, "admin token not reloaded"); n != 1 {
		t.Errorf("%d times in the log that it is not reloaded, want once:\n%s", n, stderr)
	}
}

// TestAdminTokenRefused: a file without a token that could keep anybody out is refused at
// the start, and the error tells nothing of it.
func TestAdminTokenRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                             "16 characters or more",
		"   \n":                        "16 characters or more",
		"fifteen-letters":              "16 characters or more",
		"with a space in its middle":   "without space",
		"with-an-umlaut-\u00fc-in-it":  "without space",
		strings.Repeat("secret", 1000): "longer than 4096 bytes",
	} {
		file := tempFile(t, "token", text)
		stdout, stderr, status := runToEnd(t, nil, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--admin-token-file", file)
		expectCannotListen(t, stdout, stderr, status, "--admin-token-file: ", want)
		if token := strings.TrimSpace(text); token != "" && strings.Contains(stderr, token) {
			t.Errorf("the error tells the token: %s", stderr)
		}
	}
	// The token itself in place of the file's name.
	stdout, stderr, status := runToEnd(t, nil, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--admin-token-file", secret)
	expectCannotListen(t, stdout, stderr, status, "--admin-token-file: the file can't be read: ")
	if strings.Contains(stderr, secret) {
		t.Errorf("the error tells the token: %s", stderr)
	}
}

// TestAdminHost: pages that tell something are for addresses and for names that are
// allowed; metrics for private names too, on either address; health for all.
func TestAdminHost(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--admin", "127.0.0.1:0", "--metrics", "public", "--admin-host", "Admin.Example", "--admin-host", "b.example, c.example")
	conns, metrics, public := "http://"+p.admin+"/debug/conns", "http://"+p.admin+"/metrics", "http://"+p.addr+"/metrics"
	for _, c := range []struct {
		host                  string
		conns, metrics, alive int
	}{
		{"127.0.0.1:9090", 200, 200, 200}, {"[::1]", 200, 200, 200}, {"localhost:1", 200, 200, 200},
		{"admin.example", 200, 200, 200}, {"b.example:9090", 200, 200, 200}, {"c.example", 200, 200, 200},
		{"attacker.example", 421, 421, 200}, {"attacker.example:9090", 421, 421, 200}, {"admin.example.attacker.example", 421, 421, 200},
		{"millrace", 421, 200, 200}, {"millrace:9090", 421, 200, 200}, {"millrace.prod.svc.cluster.local:9090", 421, 200, 200},
		{"millrace.prod.svc", 421, 200, 200}, {"node7.internal", 421, 200, 200}, {"attacker.local.example", 421, 421, 200},
	} {
		host := "Host: " + c.host
		for page, want := range map[string]int{conns: c.conns, metrics: c.metrics, public: c.metrics,
			"http://" + p.admin + "/healthz": c.alive, "http://" + p.admin + "/readyz": c.alive, "http://" + p.addr + "/healthz": c.alive} {
			status, _, body := asking(t, "GET", page, "", host)
			if status != want || want == 421 && !strings.Contains(body, "--admin-host") {
				t.Errorf("%s with %s: %d %.200s, want %d", page, host, status, body, want)
			}
		}
	}
	expectMisuse(t, nil, []string{"serve", "--admin-host", "https://admin.example"}, "--admin-host: ", "without a scheme")
}

// TestMetricsWhere: on which address metrics are.
func TestMetricsWhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags        []string
		public, info int
	}{
		{nil, 200, 0},
		{[]string{"--metrics", "off"}, 404, 0},
		{[]string{"--metrics", "public"}, 200, 0},
		{[]string{"--admin", "127.0.0.1:0"}, 404, 200},
		{[]string{"--admin", "127.0.0.1:0", "--metrics", "public"}, 200, 200},
		{[]string{"--admin", "127.0.0.1:0", "--metrics", "off"}, 404, 404},
	} {
		p := serve(t, nil, c.flags...)
		expectPage(t, "http://"+p.addr+"/metrics", c.public, "")
		if c.info != 0 {
			expectPage(t, "http://"+p.admin+"/metrics", c.info, "")
		}
	}
}

// TestAdminCrowd: peers that send nothing, half a request, or many without reading the
// answers keep nobody from asking, and are bounded.
func TestAdminCrowd(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--admin", "127.0.0.1:0")
	for range 50 {
		open(t, p.addr)
	}
	var crowd []net.Conn
	for i := range 150 {
		conn, err := net.Dial("tcp", p.admin)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		crowd = append(crowd, conn)
		text := []string{"", "GET /debug/conns HTTP/1.1\r\nHo", strings.Repeat("GET /debug/conns?n=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
			strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
			"POST /debug/conns HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"}[i%5]
		// The one that is cut while it sends has been too many, as is right.
		if _, err := io.WriteString(conn, text); err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
	}
	for range 20 {
		expectPage(t, "http://"+p.admin+"/healthz", 200, "ok")
		expectPage(t, "http://"+p.admin+"/readyz", 200, "ready")
		expectPage(t, "http://"+p.admin+"/debug/conns?n=1000&format=json", 200, `"total":50`)
		expectPage(t, "http://"+p.admin+"/metrics", 200, "millrace_loops")
	}
	left := 0
	for _, conn := range crowd {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			left++
		}
	}
	if left > 64 {
		t.Errorf("%d connections are left, want 64 at most", left)
	}
}

// TestAdminWarning: who opens the admin address to others is told.
func TestAdminWarning(t *testing.T) {
	t.Parallel()
	const warning = "the admin address is open to whoever reaches it"
	for _, c := range []struct {
		flags []string
		warns bool
	}{
		{[]string{"--admin", ":0"}, true},
		{[]string{"--admin", "127.0.0.1:0"}, false},
		{[]string{"--admin", "[::1]:0"}, false},
		{[]string{"--admin", ":0", "--admin-token-file", tempFile(t, "token", secret)}, false},
		{[]string{"--admin", "unix:" + socketpath.New(t)}, false},
	} {
		if strings.Contains(fmt.Sprint(c.flags), "::1") && !hasIPv6(t) {
			continue
		}
		p := serve(t, nil, c.flags...)
		p.signal(syscall.SIGTERM)
		if status, stderr := p.status(); status != 0 || strings.Contains(stderr, warning) != c.warns {
			t.Errorf("%v: status %d, stderr %q; a warning: %v", c.flags, status, stderr, c.warns)
		}
	}
}

func hasIPv6(t *testing.T) bool {
	t.Helper()
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	_ = ln.Close()
	return true
}

// TestTokenInBrowser: a browser that is asked for a password sees the connections and
// closes one.
func TestTokenInBrowser(t *testing.T) {
	b := startBrowser(t)
	p := serve(t, nil, "--admin", "127.0.0.1:0", "--admin-token-file", tempFile(t, "token", secret))
	c := open(t, p.addr)
	page := url.URL{Scheme: "http", Host: p.admin, Path: "/debug/conns", User: url.UserPassword("operator", secret)}
	b.navigate(page.String())
	b.waitForText("tbody tr:first-child", c.LocalAddr().String(), "open")
	b.click("tbody tr:first-child button")
	b.waitForText(".note", "is being closed.")
	c.expectClose(1001)
}
