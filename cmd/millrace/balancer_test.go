package main_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestPingsAndBalancer: pings that come too late for the balancer are refused,
// whoever asks for them, and left to themselves they come in time.
func TestPingsAndBalancer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env, args []string
		words     []string
	}{
		{nil, []string{"--ping-interval", "off", "--lb-idle-timeout", "60s"}, []string{"--ping-interval off ", "--lb-idle-timeout 1m0s", "at most 49.8s"}},
		{nil, []string{"--ping-interval", "50s", "--lb-idle-timeout", "60s"}, []string{"--ping-interval 50s is too long", "at most 49.8s"}},
		{nil, []string{"--ping-interval", "25s", "--lb-idle-timeout", "30s"}, []string{"--ping-interval 25s is too long", "at most 24.8s"}},
		{[]string{"MILLRACE_LB_IDLE_TIMEOUT=1s"}, []string{"--ping-interval=601ms"}, []string{"--ping-interval 601ms is too long", "at most 600ms"}},
		{[]string{"MILLRACE_PING_INTERVAL=2s"}, []string{"--lb-idle-timeout=2s"}, []string{"MILLRACE_PING_INTERVAL 2s is too long"}},
	} {
		expectMisuse(t, c.env, append([]string{"serve"}, c.args...), c.words...)
	}
	for _, flags := range [][]string{{"--lb-idle-timeout", "1s"}, {"--lb-idle-timeout", "1s", "--ping-interval", "600ms"}, {"--lb-idle-timeout", "1s", "--ping-interval", "0"}} {
		c := open(t, serve(t, nil, flags...).addr)
		for range 3 {
			c.expect(opPing, "") // the default would be 25 s, and the test out of patience
			c.send(fin|opPong, "")
		}
	}
}

// TestProxyFlags: a client is who the PROXY header, or a trusted proxy, says.
func TestProxyFlags(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--proxy-protocol", "required", "--trusted-proxies", "192.0.2.1", "--trusted-proxies", "127.0.0.0/8, ::1")
	const header = "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"
	c := dial(t, p.addr)
	c.write([]byte(header))
	if status := c.upgrade("/echo", "X-Forwarded-Proto: https", "Origin: https://"+p.addr); status != http.StatusSwitchingProtocols {
		t.Errorf("with a PROXY header: status %d", status)
	}
	c = dial(t, p.addr)
	c.write([]byte("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"))
	c.expectEnd()
	p.signal(syscall.SIGTERM)
	if _, stderr := p.status(); strings.Contains(stderr, "PROXY headers count from anybody") {
		t.Errorf("stderr %q", stderr)
	}
	p = serve(t, nil, "--proxy-protocol", "required")
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "PROXY headers count from anybody")

	p = serve(t, nil, "--trusted-proxies", "192.0.2.0/24")
	if status := dial(t, p.addr).upgrade("/echo", "X-Forwarded-Proto: https", "Origin: https://"+p.addr); status != http.StatusForbidden {
		t.Errorf("from no trusted proxy: status %d", status)
	}
	c = dial(t, p.addr)
	c.write([]byte(header))
	if status := c.upgrade("/echo"); status != http.StatusBadRequest {
		t.Errorf("a PROXY header that nobody asked for: status %d", status)
	}
	p = serve(t, nil, "--proxy-protocol", "required", "--trusted-proxies", "192.0.2.0/24")
	dial(t, p.addr).expectEnd()
}

// expectEnd reads the end of the stream or a reset: not a byte more.
func (c *client) expectEnd() {
	c.t.Helper()
	b, err := c.r.ReadByte()
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("byte %x, error %v, want the end of the connection", b, err)
	}
}
