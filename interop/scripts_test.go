package interop_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
)

// python is Debian's own, which has Debian's packages.
const python = "/usr/bin/python3"

func needPython(t *testing.T) {
	t.Helper()
	if exec.Command(python, "-c", "import websockets").Run() != nil {
		t.Skipf("no %s with websockets: install Debian's package python3-websockets", python)
	}
}

// script runs a client that is not in Go and gives what it prints.
func script(t *testing.T, command ...string) (printed string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // for hundreds of cases without a core to itself
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, out, stderr.String())
	}
	return string(out)
}

// expectCases compares how many cases a script says that it has run.
func expectCases(t *testing.T, printed string, want int) {
	t.Helper()
	if got := strings.Count(printed, "ok "); got != want {
		t.Errorf("%d cases, want %d:\n%s", got, want, printed)
	}
}

func TestPython(t *testing.T) {
	needPython(t)
	onPeers(t, func(t *testing.T, p *peer) {
		expectCases(t, script(t, python, "python/client.py", p.url), 9)
		p.expectEnd(t, 3000, "bye from Python")
		p.expectEnd(t, 4999, "bye from Python")
	})
}

// onPeers runs a test on a server's own port, plain and with TLS, and on one
// mounted in net/http with TLS. OpenSSL and Node.js are told to trust the
// certificates.
func onPeers(t *testing.T, test func(t *testing.T, p *peer)) {
	secure := func(p *peer, certificate string) func(*testing.T) {
		return func(t *testing.T) {
			t.Setenv("SSL_CERT_FILE", certificate)
			t.Setenv("NODE_EXTRA_CA_CERTS", certificate)
			test(t, p)
		}
	}
	t.Run("plain", func(t *testing.T) { test(t, startPeer(t)) })
	t.Run("TLS", secure(startSecurePeer(t, nil)))
	t.Run("TLS by net/http", secure(startTLSPeer(t)))
}

func TestNode(t *testing.T) {
	node := needNode(t)
	onPeers(t, func(t *testing.T, p *peer) {
		expectCases(t, script(t, node, "node/client.js", p.url), 9)
		p.expectEnd(t, 3000, "bye from Node")
		p.expectEnd(t, 4999, "bye from Node")
	})
}

// TestTornadoWalkThrough is the first steps with Tornado's WebSocketHandler, with
// a client in Python.
func TestTornadoWalkThrough(t *testing.T) {
	needPython(t)
	p := startPeer(t)
	if got := script(t, python, "python/tornado.py", p.url); got != "Message received: Hello Chetan\n" {
		t.Errorf("the client printed %q", got)
	}
	for _, want := range []string{"Socket opened", "Socket closed"} {
		if got := <-p.said; got != want {
			t.Errorf("the server said %q, want %q", got, want)
		}
	}
}
