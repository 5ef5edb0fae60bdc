package main_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// recipe is a section of docs/gateway.md: its blocks by language, in order.
type recipe map[string][]string

var pageBlock = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// recipeOf reads the section with a heading.
func recipeOf(t *testing.T, heading string) recipe {
	t.Helper()
	page, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/gateway.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	r := recipe{}
	for _, b := range pageBlock.FindAllStringSubmatch(section, -1) {
		r[b[1]] = append(r[b[1]], b[2])
	}
	return r
}

// start runs the commands of a block in a folder, and the server with its flags, but for its addresses.
func (r recipe) start(t *testing.T, dir string) *process {
	t.Helper()
	for line := range strings.Lines(r["sh"][0]) {
		flags, isServer := strings.CutPrefix(strings.TrimSpace(line), "millrace serve ")
		if !isServer {
			r.sh(t, dir, line)
			continue
		}
		flags = regexp.MustCompile(`--(listen|admin) \S+`).ReplaceAllString(flags, "--$1 127.0.0.1:0")
		flags = strings.ReplaceAll(flags, "10.0.0.2", "127.0.0.1")
		var args []string
		for _, word := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(flags, -1) {
			args = append(args, strings.Trim(word, "'"))
		}
		for i, arg := range args {
			if _, err := os.Stat(filepath.Join(dir, arg)); err == nil {
				args[i] = filepath.Join(dir, arg)
			}
		}
		return serve(t, nil, args...)
	}
	t.Fatal("no server")
	return nil
}

func (r recipe) sh(t *testing.T, dir, command string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 28 { // curl's, of --max-time
		t.Fatalf("%s: %v\n%s%s", command, err, out, errs.String())
	}
	return string(out)
}

var changing = regexp.MustCompile(`[A-Z0-9]{8}-\d+|\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// try runs the commands of a block, and wants what stands there.
func (r recipe) try(t *testing.T, dir, from, to string) {
	t.Helper()
	for _, part := range strings.Split("\n"+r["console"][0], "\n$ ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		got := r.sh(t, dir, strings.ReplaceAll(command, from, to))
		if changing.ReplaceAllString(strings.TrimSpace(got), "X") != changing.ReplaceAllString(strings.TrimSpace(want), "X") {
			t.Errorf("%s\n%s\nwant\n%s", command, got, want)
		}
	}
}

// TestDocsGateway runs the commands of docs/gateway.md, and wants the answers that stand there.
func TestDocsGateway(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	first := recipeOf(t, "The first five minutes")
	first.try(t, t.TempDir(), "http://127.0.0.1:8080", "http://"+first.start(t, t.TempDir()).addr)

	chat, dir := recipeOf(t, "A chat with JWTs"), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "make_token.py"), []byte(chat["text"][0]), 0o600); err != nil {
		t.Fatal(err)
	}
	chat.try(t, dir, "http://127.0.0.1:8080", "http://"+chat.start(t, dir).addr)
}

// TestDocsKeys: the file of keys in docs/gateway.md works with hashes in it, and as it stands there it is refused.
func TestDocsKeys(t *testing.T) {
	t.Parallel()
	text := recipeOf(t, "Who may")["yaml"][0]
	_, stderr, status := runToEnd(t, nil, "serve", "--topics", "--listen", "127.0.0.1:0", "--topics-keys", tempFile(t, "keys.yaml", text))
	if want := "sha256 is the hash of the key, 64 hexadecimal digits, as from: printf %s KEY | sha256sum\n"; status != 1 || !strings.HasSuffix(stderr, want) {
		t.Errorf("status %d, %q, want %q", status, stderr, want)
	}
	for placeholder, key := range map[string]string{"HASH-OF-THE-FIRST-KEY": "key of builds", "HASH-OF-THE-SECOND-KEY": "key of the desk"} {
		text = strings.Replace(text, placeholder, fmt.Sprintf("%x", sha256.Sum256([]byte(key))), 1)
	}
	p := serve(t, nil, "--topics", "--topics-keys", tempFile(t, "keys.yaml", text))
	expectAnswer(t, `"members":0`, "POST", "http://"+p.addr+"/topics/builds/1", "done", "Authorization: Bearer key of builds")
}

// TestDocsFeed runs the public feed of docs/gateway.md, through nginx.
func TestDocsFeed(t *testing.T) {
	t.Parallel()
	for _, need := range []string{"nginx", "curl"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skip(need + " is not installed")
		}
	}
	feed, dir := recipeOf(t, "A public feed behind nginx"), t.TempDir()
	addr := startNginx(t, dir, feed["nginx"][1], strings.ReplaceAll(feed["nginx"][0], "10.0.0.5:8080", feed.start(t, dir).addr))
	feed.try(t, dir, "https://example.com", "http://"+addr)
	c := dial(t, addr)
	if status := c.upgrade("/topics/news/today?last=1", "Origin: http://"+addr); status != 101 {
		t.Fatalf("status %d", status)
	}
	c.expect(opText, "Nothing happened")
	if status := dial(t, addr).upgrade("/topics?topic=news/today", "Origin: http://"+addr); status != 101 {
		t.Errorf("without a name in the path: status %d", status)
	}
	for path, want := range map[string]string{"/topicsa": "404", "/presence/news/today": "404", "/stats/news/today": "404"} {
		expectAnswer(t, want+" ", "GET", "http://"+addr+path, "")
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/topics/news/today?last=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if lines.Text() == "data: Nothing happened" {
			return
		}
	}
	t.Errorf("no message: %v", resp)
}

// startNginx runs nginx with lines of its http section, and of a server in it.
func startNginx(t *testing.T, dir, inHTTP, inServer string) (addr string) {
	t.Helper()
	addr = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	config := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log stderr warn; events { worker_connections 100; }\n"+
		"http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n%[2]s\n"+
		"server { listen %[3]s;\n%[4]s } }\n", dir, inHTTP, addr, inServer)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", file)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(errs.String())
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatal("nginx does not listen")
		}
	}
}
