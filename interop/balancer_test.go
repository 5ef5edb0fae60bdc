package interop_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// What is needed of all balancers: each is started by the test, in the foreground, with
// a configuration in a temporary folder. HAProxy and nginx get their listening socket
// from the test, so that the port is known and open before they run.

// clientHost is where the clients come from: the balancers come from 127.0.0.1.
const clientHost = "127.0.0.2"

// backend is a server behind a balancer.
type backend struct {
	*server.Server
	addr  string
	ready atomic.Bool // what /readyz says
}

// startBackend serves until the test ends: it tells a WebSocket's client who it is
// taken for in the 101, and on asking; /readyz is for health checks.
func startBackend(t *testing.T, configure func(*server.Server)) *backend {
	t.Helper()
	return serveBackend(t, configure, (*server.Server).Serve)
}

// startSecureBackend is the same over TLS.
func startSecureBackend(t *testing.T, configure func(*server.Server)) *backend {
	t.Helper()
	pem := filepath.Join(t.TempDir(), "server.pem")
	writeFile(t, pem, certificate(t))
	return serveBackend(t, configure, func(s *server.Server, ln poller.Listener) error { return s.ServeTLS(ln, pem, pem) })
}

func serveBackend(t *testing.T, configure func(*server.Server), serve func(*server.Server, poller.Listener) error) *backend {
	t.Helper()
	engine, err := poller.New(os.Getenv("MILLRACE_POLLER"))
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{}
	b.ready.Store(true)
	b.Server = &server.Server{
		Runtime: server.Runtime{Engine: engine}, Handler: whose{}, Logger: slog.New(slog.DiscardHandler), Keepalive: server.Keepalive{Interval: -1},
		Upgrade: func(r *ws.Request) (server.Accept, error) {
			return server.Accept{Header: http.Header{"X-Client": {r.RemoteAddr.String()}, "X-TLS": {fmt.Sprint(r.TLS)}}}, nil
		},
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Client", r.RemoteAddr)
			if !b.ready.Load() {
				http.Error(w, "shutting down", http.StatusServiceUnavailable)
			}
		}),
	}
	configure(b.Server)
	network, addr := "tcp", "127.0.0.1:0"
	if path, ok := strings.CutPrefix(b.Addr, "unix:"); ok {
		network, addr = "unix", path
	}
	ln, err := b.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- serve(b.Server, ln) }()
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), <-served); !errors.Is(err, server.ErrServerClosed) {
			t.Errorf("Serve: %v, want ErrServerClosed", err)
		}
	})
	return b
}

// whose echoes messages, and answers "whose?" with the client's address.
type whose struct{}

func (whose) Open(*server.Conn) {}

func (whose) Message(c *server.Conn, m ws.Message) {
	if string(m.Payload) == "whose?" {
		_ = c.SendText(c.RemoteAddr().String()) // closing: the test sees
		return
	}
	_ = c.Send(m.Opcode, m.Payload)
}

func (whose) Close(*server.Conn, error) {}

// trusting is a server for which 127.0.0.1 may speak for others.
func trusting(s *server.Server) {
	s.Proxy.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
}

// proxied is one that requires PROXY headers, from there.
func proxied(s *server.Server) {
	trusting(s)
	s.Proxy.Protocol = true
}

// balancer is a balancer's process.
type balancer struct {
	t    *testing.T
	addr string // where it listens
	dir  string
}

// needBalancer gives the path of a program that Debian keeps where only root
// looks.
func needBalancer(t *testing.T, name, debianPackage string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skipf("%s is not a local address everywhere", clientHost)
	}
	for _, candidate := range []string{name, filepath.Join("/usr/sbin", name)} {
		if program, err := exec.LookPath(candidate); err == nil {
			return program
		}
	}
	t.Skipf("no %s: install Debian's package %s", name, debianPackage)
	return ""
}

// startBalancer runs a balancer until the test ends. In its configuration {{.Addr}}
// is where it listens, {{.Dir}} its folder, and the rest what the test gives; arg
// and env name the file and the listening socket in its own way.
func startBalancer(t *testing.T, config string, values map[string]string, command func(file string) *exec.Cmd) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // the balancer has a duplicate
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	b := &balancer{t: t, addr: ln.Addr().String(), dir: shortDir(t)}
	values["Addr"], values["Dir"] = b.addr, b.dir
	var text bytes.Buffer
	if err := template.Must(template.New("").Option("missingkey=error").Parse(config)).Execute(&text, values); err != nil {
		t.Fatal(err)
	}
	file := b.file("config", text.Bytes())
	cmd := command(file)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &output, &output, []*os.File{socket}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have exited, and then the test has failed
		select {
		case <-exited: // nginx has ended its worker before
		case <-time.After(patience):
			_ = cmd.Process.Kill() // as above
			t.Errorf("%s does not end", cmd.Path)
		}
		if t.Failed() {
			t.Logf("%v:\n%s\n%s", cmd.Args, text.String(), output.String())
		}
	})
	return b
}

// startOnPort runs a balancer that knows no inherited socket, until the test ends: on a
// port that was free a moment before. prepare writes its files and gives its command.
func startOnPort(t *testing.T, prepare func(b *balancer, port int) *exec.Cmd) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := ln.Addr().(*net.TCPAddr)
	_ = ln.Close() // the balancer takes the port
	b := &balancer{t: t, addr: front.String(), dir: shortDir(t)}
	cmd := prepare(b, front.Port)
	output := filepath.Join(b.dir, "output") // a file, since children may outlive the balancer
	log, err := os.Create(output)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the balancer has a duplicate
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have exited, and then the test has failed
		_ = cmd.Wait()                                      // it was killed
		if t.Failed() {
			text, _ := os.ReadFile(output)
			t.Logf("%v:\n%s", cmd.Args, text)
		}
	})
	eventually(t, cmd.Path+" listens", func() bool {
		conn, err := net.DialTimeout("tcp", b.addr, time.Second)
		if err == nil {
			_ = conn.Close() // with TLS it is none
		}
		return err == nil
	})
	return b
}

// shortDir is a folder with a path that fits into a Unix socket's address, and
// without what HAProxy takes for a separator.
func shortDir(t *testing.T) string {
	t.Helper()
	return filepath.Dir(socketpath.New(t))
}

// file writes a file into the balancer's folder.
func (b *balancer) file(name string, content []byte) (path string) {
	b.t.Helper()
	path = filepath.Join(b.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// fromClientHost dials from there.
var fromClientHost = net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientHost)}, Timeout: patience}

// anyCertificate is a client's: who signed the test's own is of no interest.
func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// dial connects through the balancer from clientHost.
func (b *balancer) dial(scheme string, header http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{
		NetDialContext: fromClientHost.DialContext, HandshakeTimeout: patience, TLSClientConfig: anyCertificate(),
	}
	return d.Dial(scheme+"://"+b.addr+"/", header)
}

// connect is dial that must succeed.
func (b *balancer) connect(scheme string, header http.Header) (*websocket.Conn, *http.Response) {
	b.t.Helper()
	conn, resp, err := b.dial(scheme, header)
	if err != nil {
		b.t.Fatalf("dial: %v, %+v", err, resp)
	}
	b.t.Cleanup(func() { _ = conn.Close() }) // some tests have closed it
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		b.t.Fatal(err)
	}
	return conn, resp
}

// ask sends a text and gives the answer.
func (b *balancer) ask(conn *websocket.Conn, text string) string {
	b.t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		b.t.Fatal(err)
	}
	_, answer, err := conn.ReadMessage()
	if err != nil {
		b.t.Fatal(err)
	}
	return string(answer)
}

// expectClient connects and finds out who the server takes the client for: its
// address, and the very port unless that is not passed on.
func (b *balancer) expectClient(scheme, host string, port bool, secure bool, header http.Header) {
	b.t.Helper()
	conn, resp := b.connect(scheme, header)
	want := conn.LocalAddr().String()
	if host != clientHost || !port {
		want = host + ":0"
	}
	got := resp.Header.Get("X-Client")
	if host == "127.0.0.1" { // the balancer's own, from any port
		got = strings.Split(got, ":")[0] + ":0"
	}
	if gotTLS := resp.Header.Get("X-TLS"); got != want || gotTLS != fmt.Sprint(secure) {
		b.t.Errorf("the request is from %s, TLS %s, want %s, %v", got, gotTLS, want, secure)
	}
	if got := b.ask(conn, "whose?"); got != resp.Header.Get("X-Client") {
		b.t.Errorf("the connection is from %s, its request from %s", got, resp.Header.Get("X-Client"))
	}
	long := strings.Repeat("through ", 20_000)
	if got := b.ask(conn, long); got != long {
		b.t.Errorf("an echo of %d bytes, want %d", len(got), len(long))
	}
}

// expectRefusal connects and must be refused.
func (b *balancer) expectRefusal(scheme string, status int, header http.Header) {
	b.t.Helper()
	if _, resp, err := b.dial(scheme, header); err == nil || resp == nil || resp.StatusCode != status {
		b.t.Errorf("%v, %+v, want status %d", err, resp, status)
	}
}

// expectKept gets so many pings, 0.8 s apart or more, that a balancer with an
// idle timeout of 2 s would have cut the connection, if it could.
func (b *balancer) expectKept() {
	b.t.Helper()
	conn, _ := b.connect("ws", nil)
	pings, answer := 0, conn.PingHandler()
	conn.SetPingHandler(func(payload string) error {
		if pings++; pings == 3 {
			if err := conn.WriteMessage(websocket.TextMessage, []byte("still here")); err != nil {
				return err
			}
		}
		return answer(payload)
	})
	if _, text, err := conn.ReadMessage(); err != nil || string(text) != "still here" {
		b.t.Errorf("after %d pings: %q, %v", pings, text, err)
	}
}

// expectCut connects and says nothing, until the balancer has had enough.
func (b *balancer) expectCut() {
	b.t.Helper()
	conn, _ := b.connect("ws", nil)
	_, text, err := conn.ReadMessage()
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		b.t.Errorf("%q, %v, want the end of the connection", text, err)
	}
}

// eventually waits until what is true, or fails the test.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for: %s", patience, what)
		}
	}
}

// certificate is a self-signed one with its key, in one file.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "balancer.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func orElse(text, byDefault string) string {
	if text == "" {
		return byDefault
	}
	return text
}
