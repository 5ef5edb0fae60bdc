package interop_test

import (
	"context"
	"encoding/csv"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// haproxyConfig is one frontend, on the inherited socket, and one server.
const haproxyConfig = `
global
	stats socket {{.Dir}}/stats.sock mode 600 level admin
	maxconn 100
defaults
	mode {{.Mode}}
	timeout connect 10s
	timeout client {{.Idle}}
	timeout server {{.Idle}}
	timeout tunnel {{.Idle}}
frontend in
	bind fd@3 {{.Bind}}
{{.Frontend}}
	default_backend out
backend out
{{.Backend}}
	server millrace {{.Server}}
`

// haproxy is what varies; empty is the default.
type haproxy struct {
	mode, idle        string // "http", "60s"
	bind              string // options of the frontend's socket
	frontend, backend string // lines
	server            string // options behind its address
}

// start runs HAProxy in front of the server at addr.
func (h haproxy) start(t *testing.T, addr string) *balancer {
	t.Helper()
	program := needBalancer(t, "haproxy", "haproxy")
	pem := filepath.Join(t.TempDir(), "balancer.pem")
	writeFile(t, pem, certificate(t))
	values := map[string]string{
		"Mode": orElse(h.mode, "http"), "Idle": orElse(h.idle, "60s"), "Bind": strings.ReplaceAll(h.bind, "PEM", pem),
		"Frontend": h.frontend, "Backend": h.backend, "Server": addr + " " + h.server,
	}
	return startBalancer(t, haproxyConfig, values, func(file string) *exec.Cmd { return exec.Command(program, "-db", "-f", file) })
}

func TestHAProxy(t *testing.T) {
	const (
		forwarded = "\thttp-request set-header Forwarded for=\"%[src]:%[src_port]\";proto=https\n\thttp-request del-header X-Forwarded-For"
		proto     = "\thttp-request set-header X-Forwarded-Proto https if { ssl_fc }"
		all       = "proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
	)
	spoofed := http.Header{"X-Forwarded-For": {"198.51.100.66", "198.51.100.67"}, "X-Forwarded-Proto": {"http"}}
	for name, test := range map[string]struct {
		proxy    haproxy
		server   func(*server.Server)
		scheme   string
		host     string // whom the server sees
		port     bool   // and whether it knows the port
		secure   bool
		spoofing bool // the client lies in X-Forwarded-For
	}{
		"tcp":                          {haproxy{mode: "tcp"}, trusting, "ws", "127.0.0.1", false, false, false},
		"http":                         {haproxy{}, trusting, "ws", "127.0.0.1", false, false, false},
		"forwardfor":                   {haproxy{backend: "\toption forwardfor"}, trusting, "ws", clientHost, false, false, true},
		"forwardfor, not trusted":      {haproxy{backend: "\toption forwardfor"}, func(*server.Server) {}, "ws", "127.0.0.1", false, false, true},
		"forwardfor and proto, TLS":    {haproxy{bind: "ssl crt PEM", backend: "\toption forwardfor\n" + proto}, trusting, "wss", clientHost, false, true, true},
		"Forwarded":                    {haproxy{frontend: forwarded}, trusting, "ws", clientHost, true, true, false},
		"send-proxy":                   {haproxy{server: "send-proxy"}, proxied, "ws", clientHost, true, false, true},
		"send-proxy, tcp":              {haproxy{mode: "tcp", server: "send-proxy"}, proxied, "ws", clientHost, true, false, true},
		"send-proxy-v2":                {haproxy{server: "send-proxy-v2"}, proxied, "ws", clientHost, true, false, true},
		"send-proxy-v2, tcp":           {haproxy{mode: "tcp", server: "send-proxy-v2"}, proxied, "ws", clientHost, true, false, true},
		"send-proxy-v2, crc32c":        {haproxy{server: "send-proxy-v2 proxy-v2-options crc32c"}, proxied, "ws", clientHost, true, false, true},
		"send-proxy-v2-ssl, plain":     {haproxy{server: "send-proxy-v2-ssl"}, proxied, "ws", clientHost, true, false, true},
		"send-proxy-v2-ssl, TLS":       {haproxy{bind: "ssl crt PEM", server: "send-proxy-v2-ssl"}, proxied, "wss", clientHost, true, true, true},
		"send-proxy-v2-ssl-cn, TLS":    {haproxy{mode: "tcp", bind: "ssl crt PEM", server: "send-proxy-v2-ssl-cn"}, proxied, "wss", clientHost, true, true, true},
		"send-proxy-v2, all, TLS":      {haproxy{bind: "ssl crt PEM", frontend: "\tunique-id-format %{+X}o-%pid-%ts-%rt", server: "send-proxy-v2 " + all}, proxied, "wss", clientHost, true, true, true},
		"send-proxy-v2, TLS not told":  {haproxy{bind: "ssl crt PEM", server: "send-proxy-v2"}, proxied, "wss", clientHost, true, false, true},
		"send-proxy-v2 and forwardfor": {haproxy{server: "send-proxy-v2", backend: "\toption forwardfor"}, proxied, "ws", clientHost, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			if test.spoofing && test.scheme == "ws" {
				header = spoofed
			}
			back := startBackend(t, test.server)
			b := test.proxy.start(t, back.addr)
			b.expectClient(test.scheme, test.host, test.port, test.secure, header)
			if test.secure {
				b.expectClient(test.scheme, test.host, test.port, true, http.Header{"Origin": {"https://" + b.addr}})
				b.expectRefusal(test.scheme, http.StatusForbidden, http.Header{"Origin": {"http://" + b.addr}})
			}
			if refused := back.Stats().ProxyRefused; refused > 0 {
				t.Errorf("%d PROXY headers were refused", refused)
			}
		})
	}
}

// TestHAProxyMismatch: a server and a balancer that do not agree on the header do
// not serve anybody under a wrong name.
func TestHAProxyMismatch(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"send-proxy", "send-proxy-v2"} {
		b := haproxy{server: options}.start(t, startBackend(t, trusting).addr)
		b.expectRefusal("ws", http.StatusBadRequest, nil)
	}
	back := startBackend(t, proxied)
	haproxy{}.start(t, back.addr).expectRefusal("ws", http.StatusBadGateway, nil)
	if back.Stats().ProxyRefused == 0 {
		t.Error("it was not counted")
	}
}

// TestHAProxyPassesTLS: HAProxy passes TLS on as it is, behind a PROXY header of
// its own, and checks the server's health through TLS.
func TestHAProxyPassesTLS(t *testing.T) {
	for _, options := range []string{"send-proxy", "send-proxy-v2 proxy-v2-options crc32c"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			back := startSecureBackend(t, proxied)
			b := haproxy{
				mode:    "tcp",
				backend: "\toption httpchk GET /readyz",
				server:  "check inter 50ms check-ssl verify none check-send-proxy " + options,
			}.start(t, back.addr)
			eventually(t, "the server to have passed a check", func() bool { return back.Stats().HandedToHTTP > 1 && b.status() == "UP" })
			b.expectClient("wss", clientHost, true, true, http.Header{"Origin": {"https://" + b.addr}})
			expectHTTPClient(t, b)
			if refused := back.Stats().ProxyRefused; refused > 0 {
				t.Errorf("%d PROXY headers were refused", refused)
			}
		})
	}
}

// expectHTTPClient asks over HTTP/1.1 and over HTTP/2: net/http knows the client,
// too.
func expectHTTPClient(t *testing.T, b *balancer) {
	t.Helper()
	for _, major := range []int{1, 2} {
		var conn net.Conn
		transport := &http.Transport{
			TLSClientConfig: anyCertificate(), ForceAttemptHTTP2: major == 2,
			DialContext: func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
				conn, err = fromClientHost.DialContext(ctx, network, addr)
				return conn, err
			},
		}
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + b.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("X-Client"); got != conn.LocalAddr().String() || resp.ProtoMajor != major {
			t.Errorf("over %s the client is %s, want %s over HTTP/%d", resp.Proto, got, conn.LocalAddr(), major)
		}
		_ = resp.Body.Close() // it is empty
		transport.CloseIdleConnections()
	}
}

// status is HAProxy's own view of the server: "UP", "DOWN", ...
func (b *balancer) status() string {
	b.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(b.dir, "stats.sock"))
	if err != nil {
		return err.Error() // not yet
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat out 4 -1\n"); err != nil {
		b.t.Fatal(err)
	}
	r := csv.NewReader(conn)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		b.t.Fatal(err)
	}
	if len(rows) < 2 {
		return "not yet"
	}
	for i, name := range rows[0] {
		if name == "status" {
			return rows[1][i]
		}
	}
	b.t.Fatalf("no status in %q", rows)
	return ""
}

// TestHAProxyHealth: HAProxy asks /readyz, with a PROXY header of its own (LOCAL
// in version 2) where it sends such, takes the server out as readiness fails, and
// the connections it has stay.
func TestHAProxyHealth(t *testing.T) {
	for name, test := range map[string]struct {
		server  func(*server.Server)
		options string
	}{
		"plain":         {trusting, ""},
		"send-proxy":    {proxied, "send-proxy check-send-proxy"},
		"send-proxy-v2": {proxied, "send-proxy-v2 check-send-proxy"},
		"crc32c":        {proxied, "send-proxy-v2 proxy-v2-options crc32c check-send-proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back := startBackend(t, test.server)
			b := haproxy{
				backend: "\toption httpchk GET /readyz\n\thttp-check expect status 200",
				server:  "check inter 50ms rise 1 fall 2 " + test.options,
			}.start(t, back.addr)
			eventually(t, "the server to have passed a check", func() bool { return back.Stats().HandedToHTTP > 1 && b.status() == "UP" })
			conn, _ := b.connect("ws", nil)
			b.ask(conn, "whose?")

			back.ready.Store(false)
			eventually(t, "the server to be taken out", func() bool { return b.status() == "DOWN" })
			b.expectRefusal("ws", http.StatusServiceUnavailable, nil)
			if got := b.ask(conn, "still here"); got != "still here" {
				t.Errorf("an open connection answers %q", got)
			}
			back.ready.Store(true)
			eventually(t, "the server to be taken in again", func() bool { return b.status() == "UP" })
			b.connect("ws", nil)
			if refused := back.Stats().ProxyRefused; refused > 0 {
				t.Errorf("%d PROXY headers were refused", refused)
			}
		})
	}
}

// TestHAProxyIdle: a timeout that HAProxy enforces is never reached by a
// connection whose server knows of it.
func TestHAProxyIdle(t *testing.T) {
	for _, mode := range []string{"http", "tcp"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			proxy := haproxy{mode: mode, idle: "2s"}
			proxy.start(t, startBackend(t, trusting).addr).expectCut()
			proxy.start(t, startBackend(t, pinging).addr).expectKept()
		})
	}
}

// pinging is a server that knows of a balancer's idle timeout of two seconds.
func pinging(s *server.Server) { s.Keepalive.Interval, s.Keepalive.BalancerIdle = 0, 2*time.Second }

// TestHAProxyDrain: the binary, checked on its admin address, is taken out by
// HAProxy as it is told to stop, before any connection is closed.
func TestHAProxyDrain(t *testing.T) {
	t.Parallel()
	needBalancer(t, "haproxy", "haproxy")
	m := startMillrace(t, "--admin", "127.0.0.1:0", "--proxy-protocol", "required", "--trusted-proxies", "127.0.0.1",
		"--lb-idle-timeout", "60s", "--drain-delay", "1h")
	_, adminPort, err := net.SplitHostPort(m.admin)
	if err != nil {
		t.Fatal(err)
	}
	b := haproxy{
		frontend: "\thttp-request set-path /echo",
		backend:  "\toption httpchk GET /readyz\n\thttp-check expect status 200",
		server:   "send-proxy-v2 check inter 50ms fall 2 port " + adminPort,
	}.start(t, m.addr)
	eventually(t, "the server to be up", func() bool { return b.status() == "UP" })
	conn, _ := b.connect("ws", nil)
	b.ask(conn, "before")
	if err := m.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server to be taken out", func() bool { return b.status() == "DOWN" })
	b.expectRefusal("ws", http.StatusServiceUnavailable, nil)
	if got := b.ask(conn, "still here"); got != "still here" {
		t.Errorf("an open connection answers %q", got)
	}
}
