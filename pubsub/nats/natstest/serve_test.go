package natstest

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestServeFails: what can't work is said in one line, and ends the program, waiting or not.
func TestServeFails(t *testing.T) {
	t.Parallel()
	down := fmt.Sprintf("nats://me:secret@127.0.0.1:%d", freePort(t))
	locked := startServer(t, func(o *natsserver.Options) { o.Username, o.Password = "me", "right" })
	dry := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
	secure := startServer(t, func(o *natsserver.Options) { o.TLS, o.TLSConfig = true, newTLS(t).server })
	wrong := file(t, "password", "secret\n")
	for _, tt := range []struct{ flags, want string }{
		{"--nats " + down, "no servers available"},
		{"--nats " + locked.url() + " --nats-user me --nats-password-file " + wrong, "Authorization Violation"},
		{"--nats " + locked.url() + " --nats-wait --nats-token-file " + wrong, "Authorization Violation"},
		{"--nats " + locked.url() + " --nats-user me --nats-password-file /missing", "--nats-password-file: open /missing"},
		{"--nats " + locked.url() + " --nats-creds /missing", "--nats-creds: open /missing"},
		{"--nats " + locked.url() + " --nats-nkey " + wrong, "Options.NKey"},
		{"--nats " + locked.url() + " --nats-ca " + wrong, "--nats-ca: " + wrong + " has no certificate"},
		{"--nats " + locked.url() + " --nats-cert " + wrong + " --nats-key " + wrong, "--nats-cert, --nats-key: "},
		{"--nats " + secure.url() + " --nats-wait", "certificate signed by unknown authority"},
		{"--nats " + dry.url() + " --nats-stream", "the stream ROOMS: JetStream is not enabled"},
	} {
		flags := strings.Fields(tt.flags)
		if strings.HasSuffix(tt.flags, "--nats-stream") {
			flags = append(flags, "ROOMS rooms/#")
		}
		got := serveFails(t, flags...)
		if !strings.HasPrefix(got, "millrace serve: ") || !strings.Contains(got, tt.want) || strings.Contains(got, "secret") || strings.Contains(got, "\n") {
			t.Errorf("%s: %q, want %q", tt.flags, got, tt.want)
		}
	}
}

// TestServeWaits: with --nats-wait it starts without NATS and says so, with --nats-ready its readiness follows, and
// all else works when there is one.
func TestServeWaits(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *natsserver.Options) { o.MaxPayload = 2000 })
	s.stop()
	m := startServe(t, "--nats", s.url(), "--nats-wait", "--nats-ready")
	other := startServe(t, "--nats", s.url(), "--nats-wait")
	url := "http://" + m.addr
	for _, at := range []string{m.addr, m.admin} {
		if got := ask(t, "GET", "http://"+at+"/readyz", ""); got != "503 no connection to NATS\n" {
			t.Errorf("%q", got)
		}
	}
	ask(t, "GET", "http://"+other.addr+"/readyz", "")
	if got := ask(t, "POST", url+"/topics/a", "x"); !strings.HasPrefix(got, `503 {"error":"no_room"`) {
		t.Errorf("%q", got)
	}
	if got := nodesOf(t, m); got.NATS.Connected || !strings.Contains(got.NATS.Error, "no servers available") || !got.Partial {
		t.Errorf("%+v", got)
	}
	askFor(t, "millrace_nats_connected 0", "GET", "http://"+m.admin+"/metrics", "")
	told := func() int { return strings.Count(m.log.String(), "no connection to NATS") }
	eventually(t, "it to say so", func() bool { return told() > 0 })
	if told() != 1 {
		t.Errorf("told %d times:\n%s", told(), m.log.String())
	}
	s.start()
	askFor(t, "200 ready", "GET", url+"/readyz", "")
	askFor(t, `"connected":true`, "GET", "http://"+other.admin+"/debug/nodes", "")
	c, _, err := websocket.Dial(t.Context(), "ws://"+other.addr+"/topics/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	ask(t, "GET", "http://"+other.addr+"/history/a", "") // the subscription is there
	askFor(t, "200 ", "POST", url+"/topics/a", "hello")
	if _, data, err := c.Read(t.Context()); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	if got := ask(t, "POST", url+"/topics/a", strings.Repeat("x", 2001)); !strings.HasPrefix(got, `413 {"error":"too_big"`) || !strings.Contains(got, "NATS takes 2000 bytes") {
		t.Errorf("too large: %q", got)
	}
	third := startServe(t, "--nats", s.url())
	eventually(t, "it to say that NATS takes less", func() bool {
		return strings.Contains(third.log.String(), `msg="NATS takes smaller messages than this server" max_payload=2000 max_message=1048576`)
	})
	s.stop()
	askFor(t, "503 no connection to NATS", "GET", url+"/readyz", "")
	s.start()
	askFor(t, "200 ready", "GET", url+"/readyz", "")
}

// TestServeNodes: nodes know each other, and a user's connections can be ended on all of them.
func TestServeNodes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keys := file(t, "keys.yaml", fmt.Sprintf("keys:\n- {name: ann, user: ann, sha256: %x, subscribe: [\"#\"], publish: [\"#\"], presence: [\"#\"]}\n", sha256.Sum256([]byte("ann's"))))
	flags := []string{"--nats", s.url(), "--topics-keys", keys, "--topics-rule", "# presence", "--nats-stream", "ALL # messages=100 memory"}
	a, b := startServe(t, flags...), startServe(t, flags...)
	const key = "Authorization: Bearer ann's"
	c, _, err := websocket.Dial(t.Context(), "ws://"+b.addr+"/topics/rooms/hall?envelope=1&token=ann's", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	askFor(t, `"count":1`, "GET", "http://"+a.addr+"/presence/rooms/hall", "", key)
	eventually(t, "both nodes, with their load", func() bool {
		r := nodesOf(t, a)
		return len(r.Nodes) == 2 && r.Nodes[1].Connections > 0 && !r.Partial && r.NATS.Connected
	})
	askFor(t, `millrace_nodes{state="live"} 2`, "GET", "http://"+a.admin+"/metrics", "")
	askFor(t, "millrace_nats_connected 1", "GET", "http://"+a.admin+"/metrics", "")
	users := "http://" + a.admin + "/debug/users"
	const form, action = "Content-Type: application/x-www-form-urlencoded", "X-Millrace-Action: close"
	for _, tt := range []struct{ body, header, want string }{
		{"user=ann", "X-Other: 1", "403 "}, {"user=", action, "400 "}, {"user=ann&code=1006", action, "400 "}, {"user=ann&unsubscribe=a%23", action, "400 "},
		{"user=" + strings.Repeat("x", 5000), action, "400 "}, {"user=bob", action, `200 {"here":0,"partial":false}`},
	} {
		if got := ask(t, "POST", users, tt.body, form, tt.header); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%.50s: %q, want %q", tt.body, got, tt.want)
		}
	}
	ask(t, "POST", users, "user=ann&unsubscribe=rooms/hall", form, action)
	askFor(t, `"count":0`, "GET", "http://"+a.addr+"/presence/rooms/hall", "", key)
	ask(t, "POST", users, "user=ann&code=4000&reason=enough", form, action)
	for {
		if _, _, err = c.Read(t.Context()); err != nil {
			break
		}
	}
	if websocket.CloseStatus(err) != 4000 {
		t.Errorf("%v", err)
	}
	if got := ask(t, "POST", "http://"+a.admin+"/debug/nodes", ""); !strings.HasPrefix(got, "405 ") {
		t.Errorf("%q", got)
	}
}

// TestServeKilled: the members of a node that is killed are gone within 14 s, with the usual heartbeat.
func TestServeKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	flags := []string{"--nats", s.url(), "--topics-rule", "# presence"}
	a, b := startServe(t, flags...), startServe(t, flags...)
	c, _, err := websocket.Dial(t.Context(), "ws://"+b.addr+"/topics/rooms/hall", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	presence := "http://" + a.addr + "/presence/rooms/hall"
	askFor(t, `"count":1`, "GET", presence, "")
	b.end(os.Kill)
	killed := time.Now()
	askFor(t, `"count":0`, "GET", presence, "")
	if took := time.Since(killed); took > 14*time.Second {
		t.Errorf("gone after %v, want 14 s", took)
	} else {
		t.Logf("gone after %v", took)
	}
	if r := nodesOf(t, a); !r.Partial || len(r.Nodes) != 2 || !r.Nodes[1].Gone {
		t.Errorf("%+v", r)
	}
}

// TestServeOld: an old nats-server will do without a stream, and with one it is said in one line what it lacks.
func TestServeOld(t *testing.T) {
	t.Parallel()
	program := "/usr/sbin/nats-server" // Debian's
	version, err := exec.Command(program, "--version").Output()
	if err != nil || !strings.Contains(string(version), "v2.9") {
		t.Skip("no nats-server 2.9: install Debian's package")
	}
	port := freePort(t)
	old := exec.Command(program, "-js", "-sd", t.TempDir(), "-a", "127.0.0.1", "-p", fmt.Sprint(port))
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = old.Process.Kill() // it may have ended
		_ = old.Wait()
	})
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	eventually(t, "the old server", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if got := serveFails(t, "--nats", url, "--nats-wait", "--nats-stream", "ROOMS rooms/#"); !strings.Contains(got, "it has version 2.9") || !strings.Contains(got, "needs 2.11 or later") || strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
	a, b := startServe(t, "--nats", url), startServe(t, "--nats", url)
	c, _, err := websocket.Dial(t.Context(), "ws://"+b.addr+"/topics/a/%2B?envelope=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	if _, _, err := c.Read(t.Context()); err != nil { // it is subscribed
		t.Fatal(err)
	}
	if got := ask(t, "POST", "http://"+a.addr+"/topics/a/b", "hello"); !strings.HasPrefix(got, "200 ") {
		t.Fatal(got)
	}
	if _, data, err := c.Read(t.Context()); err != nil || !strings.Contains(string(data), `"data":"hello"`) {
		t.Errorf("%s, %v", data, err)
	}
}
