package main_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
)

// dialSocket is a client on a Unix socket.
func dialSocket(t *testing.T, path string) *client {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

// expectOnSocket is expectPage by way of a Unix socket.
func expectOnSocket(t *testing.T, path, page string, status int) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	resp, err := client.Get("http://localhost" + page)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // only the status counts
	if resp.StatusCode != status {
		t.Errorf("%s: %s, want %d", page, resp.Status, status)
	}
}

// TestUnixSocketServes: both addresses may be Unix sockets, with the modes that are
// asked for, and their files go with the process.
func TestUnixSocketServes(t *testing.T) {
	t.Parallel()
	main, admin := socketpath.New(t), socketpath.New(t)
	for _, c := range []struct {
		flags                []string
		mainMode, infoMode   fs.FileMode
		metricsHere, metrics int
	}{
		{nil, 0o660, 0o600, 404, 200},
		{[]string{"--listen-mode", "0666", "--admin-mode", "660", "--metrics", "public"}, 0o666, 0o660, 200, 200},
	} {
		p := serve(t, nil, append([]string{"--listen", "unix:" + main, "--admin", "unix:" + admin, "--access-log"}, c.flags...)...)
		if p.addr != main || p.admin != admin {
			t.Errorf("it says that it listens on %q and %q", p.addr, p.admin)
		}
		for path, want := range map[string]fs.FileMode{main: c.mainMode, admin: c.infoMode} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want %v", path, info, err, want)
			}
		}
		expectOnSocket(t, main, "/healthz", 200)
		expectOnSocket(t, main, "/metrics", c.metricsHere)
		expectOnSocket(t, admin, "/readyz", 200)
		expectOnSocket(t, admin, "/metrics", c.metrics)
		expectOnSocket(t, admin, "/debug/conns", 200)
		socket := dialSocket(t, main)
		if status := socket.upgrade("/echo"); status != http.StatusSwitchingProtocols {
			t.Fatalf("status %d", status)
		}
		socket.send(fin|opText, "over a Unix socket")
		socket.expect(opText, "over a Unix socket")
		if status := dialSocket(t, main).upgrade("/echo", "Origin: https://elsewhere.example"); status != http.StatusForbidden {
			t.Errorf("from elsewhere: status %d", status)
		}
		p.signal(syscall.SIGTERM)
		socket.expectClose(1001)
		socket.Close()
		p.expectStatus(0, `msg="connection opened" remote=unix `)
		for line := range strings.Lines(p.stderr.String()) {
			if strings.Contains(line, "remote=") && !strings.Contains(line, "remote=unix ") {
				t.Errorf("log: %s", line)
			}
		}
		for _, path := range []string{main, admin} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is still there: %v", path, err)
			}
		}
	}
}

// TestUnixSocketCurl: curl --unix-socket, as people try it.
func TestUnixSocketCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl: install Debian's package curl")
	}
	path := socketpath.New(t)
	serve(t, nil, "--listen", "unix:"+path)
	out, err := exec.CommandContext(t.Context(), curl, "-sS", "--max-time", "20", "--unix-socket", path, "http://localhost/healthz").CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("curl: %q, %v", out, err)
	}
}

// TestUnixSocketTaken: a socket that somebody listens on, and a file that is none, are
// left alone; what a killed process has left is replaced.
func TestUnixSocketTaken(t *testing.T) {
	t.Parallel()
	path := socketpath.New(t)
	p := serve(t, nil, "--listen", "unix:"+path)
	for _, flags := range [][]string{{"--listen", "unix:" + path}, {"--listen", "127.0.0.1:0", "--admin", "unix:" + path}} {
		stdout, stderr, status := runToEnd(t, nil, append([]string{"serve"}, flags...)...)
		expectCannotListen(t, stdout, stderr, status, "unix:"+path+": another process listens there")
	}
	expectOnSocket(t, path, "/healthz", 200)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	p = serve(t, nil, "--listen", "unix:"+path)
	expectOnSocket(t, path, "/healthz", 200)
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "")

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := runToEnd(t, nil, "serve", "--listen", "unix:"+path)
	expectCannotListen(t, stdout, stderr, status, "unix:"+path+": the file there is no socket")
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file has %q, %v", text, err)
	}
	stdout, stderr, status = runToEnd(t, nil, "serve", "--listen", "unix:"+filepath.Join(path, "s"))
	expectCannotListen(t, stdout, stderr, status, "there is no such folder")
	stdout, stderr, status = runToEnd(t, nil, "serve", "--listen", "unix:/"+strings.Repeat("long", 50))
	expectCannotListen(t, stdout, stderr, status, "too long for a socket")
}

// TestUnixSocketSuccessor: who has bound the path after the file was removed keeps it.
func TestUnixSocketSuccessor(t *testing.T) {
	t.Parallel()
	path, admin := socketpath.New(t), socketpath.New(t)
	flags := []string{"--listen", "unix:" + path, "--admin", "unix:" + admin}
	p := serve(t, nil, flags...)
	for _, file := range []string{path, admin} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, nil, flags...)
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "drain over")
	expectOnSocket(t, path, "/healthz", 200)
	expectOnSocket(t, admin, "/healthz", 200)
}

// TestUnixSocketTrusted: what the balancer on the socket says of its client counts with
// --trusted-proxies unix, and only then.
func TestUnixSocketTrusted(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]int{"unix": http.StatusSwitchingProtocols, "10.0.0.0/8, unix": http.StatusSwitchingProtocols,
		"0.0.0.0/0,::/0": http.StatusForbidden, "10.0.0.0/8": http.StatusForbidden} {
		path := socketpath.New(t)
		p := serve(t, nil, "--listen", "unix:"+path, "--trusted-proxies", flag, "--access-log")
		c := dialSocket(t, path)
		status := c.upgrade("/echo", "X-Forwarded-For: 192.0.2.66", "X-Forwarded-Proto: https", "Origin: https://localhost")
		_ = c.Close() // or the end waits for its close frame
		if status != want {
			t.Errorf("--trusted-proxies %q: status %d, want %d", flag, status, want)
		}
		p.signal(syscall.SIGTERM)
		told := "remote=unix "
		if want == http.StatusSwitchingProtocols {
			told = "remote=192.0.2.66 "
		}
		if _, stderr := p.status(); !strings.Contains(stderr, told) {
			t.Errorf("--trusted-proxies %q: the log lacks %s:\n%s", flag, told, stderr)
		}
	}
}

// TestUnixSocketTLS: TLS works over it as over TCP.
func TestUnixSocketTLS(t *testing.T) {
	t.Parallel()
	path := socketpath.New(t)
	k := newKeyPair(t, "socket", inAnHour())
	serve(t, nil, "--listen", "unix:"+path, "--tls-cert", k.cert, "--tls-key", k.key)
	plain := dialSocket(t, path)
	secure := tls.Client(plain.Conn, &tls.Config{RootCAs: k.pool, ServerName: "127.0.0.1"})
	c := newClient(t, secure)
	if status := c.upgrade("/echo", "Origin: https://localhost"); status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", status)
	}
	c.echoes("over TLS")
}
