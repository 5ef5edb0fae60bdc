//go:build unix

package main_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
)

// given is a command that gets the files as descriptors from 3 on.
func given(files []*os.File, args ...string) *exec.Cmd {
	cmd := command(context.Background(), nil, append([]string{"serve"}, args...)...)
	cmd.ExtraFiles = files
	return cmd
}

// fileOf is the descriptor of a listener or connection.
func fileOf(t *testing.T, of interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	file, err := of.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // the child has its own
	return file
}

// TestInheritedSocket: who has a socket that listens gives it to one process after the
// other, and nobody who connects meanwhile is lost.
func TestInheritedSocket(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	sockets := []*os.File{fileOf(t, ln.(*net.TCPListener))}
	pair := newKeyPair(t, "127.0.0.1", inAnHour())
	for _, flags := range [][]string{nil, {"--tls-cert", pair.cert, "--tls-key", pair.key}, nil} {
		waiting, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, given(sockets, append([]string{"--listen", "fd:3"}, flags...)...), nil, flags)
		if p.addr != ln.Addr().String() {
			t.Errorf("it says that it listens on %q, want %v", p.addr, ln.Addr())
		}
		c := newClient(t, waiting)
		if flags != nil {
			_ = c.Close() // that it is accepted the plain ones show
		} else {
			if status := c.upgrade("/echo"); status != http.StatusSwitchingProtocols {
				t.Errorf("status %d, want 101", status)
			}
		}
		p.signal(syscall.SIGTERM)
		p.expectStatus(0, "")
	}
}

// TestInheritedUnixSocket: the operator's address may be given as well; the file of a Unix
// socket is not the process's to remove.
func TestInheritedUnixSocket(t *testing.T) {
	t.Parallel()
	main, admin := socketpath.New(t), socketpath.New(t)
	var sockets []*os.File
	for _, path := range []string{main, admin} {
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		sockets = append(sockets, fileOf(t, ln.(*net.UnixListener)))
	}
	p := start(t, given(sockets, "--listen", "fd:3", "--trusted-proxies", "unix", "--admin", "fd:4"), nil,
		[]string{"--listen", "unix:" + main, "--admin", "unix:" + admin}) // as it says
	expectOnSocket(t, main, "/", http.StatusOK)
	expectOnSocket(t, admin, "/readyz", http.StatusOK)
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "")
	for _, path := range []string{main, admin} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestInheritedNothing: what is no socket that listens is told in one line.
func TestInheritedNothing(t *testing.T) {
	t.Parallel()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // it was only read
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), packets.Close() })
	for name, c := range map[string]struct {
		files []*os.File
		fd    string
		want  string
	}{
		"none":         {nil, "fd:99", "fd:99: there is no such descriptor"},
		"a file":       {[]*os.File{file}, "fd:3", "fd:3: it is no socket"},
		"a connection": {[]*os.File{fileOf(t, conn.(*net.TCPConn))}, "fd:3", "fd:3: the socket does not listen"},
		"datagrams":    {[]*os.File{fileOf(t, packets.(*net.UDPConn))}, "fd:3", "fd:3: the socket does not listen"},
		"the runtime":  {nil, "fd:3", "fd:3: "},
	} {
		for _, option := range []string{"--listen", "--admin"} {
			stdout, stderr, status := finish(t, given(c.files, option, c.fd))
			expectCannotListen(t, stdout, stderr, status, option+" "+c.want, "socket unit of systemd")
			if strings.Contains(stderr, "panic") {
				t.Errorf("%s: %s", name, stderr)
			}
		}
	}
}
