package interop_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

const (
	patience   = 60 * time.Second // how long a test waits for what must come
	maxMessage = 1 << 20          // the server's default
)

// sizes of messages: each form of the length, and its edges.
var sizes = []int{0, 1, 125, 126, 127, 65535, 65536, maxMessage}

// peer is a server to test clients with.
type peer struct {
	url   string // ws://host:port
	srv   *server.Server
	ended chan ws.CloseError
	said  chan string // what the Tornado handler prints
}

// newPeer has at /echo what tester does, at /tornado what the walk-through does.
func newPeer(t *testing.T) *peer {
	t.Helper()
	engine, err := poller.New(os.Getenv("MILLRACE_POLLER"))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{ended: make(chan ws.CloseError, 1000), said: make(chan string, 100)}
	var mux server.Mux
	mux.Handle("/echo", tester{p.ended})
	mux.Handle("/tornado", tornado{p.said})
	p.srv = &server.Server{
		Runtime: server.Runtime{Engine: engine}, Upgrade: mux.Upgrade, Subprotocols: []string{"chat.v2", "chat.v1"},
		Keepalive: server.Keepalive{Interval: -1}, Logger: slog.New(slog.DiscardHandler),
	}
	return p
}

// startPeer serves until the test ends. deflate is at most one.
func startPeer(t *testing.T, deflate ...*server.Deflate) *peer {
	t.Helper()
	p := newPeer(t)
	for _, d := range deflate {
		p.srv.Deflate = d
	}
	p.serve(t, "ws", p.srv.Serve)
	return p
}

// serve listens, and has how serve until the test ends.
func (p *peer) serve(t *testing.T, scheme string, how func(poller.Listener) error) {
	t.Helper()
	ln, err := p.srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = scheme + "://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- how(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(p.srv.Close(), <-served); !errors.Is(err, server.ErrServerClosed) {
			t.Errorf("Serve: %v, want ErrServerClosed", err)
		}
	})
}

// startSecurePeer is startPeer with TLS on the loops. configure may change its
// configuration. certificate is the file of its certificate.
func startSecurePeer(t *testing.T, configure func(*server.Server)) (p *peer, certificate string) {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	p = newPeer(t)
	p.srv.TLSConfig = &tls.Config{Certificates: web.TLS.Certificates}
	if configure != nil {
		configure(p.srv)
	}
	p.serve(t, "wss", func(ln poller.Listener) error { return p.srv.ServeTLS(ln, "", "") })
	return p, writePEM(t, "CERTIFICATE", web.Certificate().Raw)
}

func writePEM(t *testing.T, kind string, der []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "der.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// unverified is for clients of the tests' own servers.
var unverified = &tls.Config{InsecureSkipVerify: true}

// startTLSPeer is startPeer mounted in net/http with TLS: goroutines of their own
// carry the connections. certificate is the file of its certificate.
func startTLSPeer(t *testing.T) (p *peer, certificate string) {
	t.Helper()
	p = newPeer(t)
	web := httptest.NewTLSServer(p.srv)
	p.url = "ws" + strings.TrimPrefix(web.URL, "http")
	t.Cleanup(func() {
		web.Close()
		if err := p.srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if s := p.srv.Stats(); s.Bridged != 0 {
			t.Errorf("%d connections are left after Close", s.Bridged)
		}
	})
	return p, writePEM(t, "CERTIFICATE", web.Certificate().Raw)
}

// expectEnd waits until a connection has ended as the client closed it.
func (p *peer) expectEnd(t *testing.T, code ws.Code, reason string) {
	t.Helper()
	want := ws.CloseError{Code: code, Reason: reason, Remote: true}
	for deadline := time.After(patience); ; {
		select {
		case got := <-p.ended:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("no connection ended with %v", &want)
		}
	}
}

// tester echoes messages, but for those that ask for something: "close:4000:why"
// closes, "ping:x" sends a ping, whose pong it answers with "pong:x".
type tester struct{ ended chan<- ws.CloseError }

func (tester) Open(*server.Conn) {}

func (tester) Message(c *server.Conn, m ws.Message) {
	command, rest, _ := strings.Cut(string(m.Payload[:min(len(m.Payload), 100)]), ":")
	switch command {
	case "close":
		number, reason, _ := strings.Cut(rest, ":")
		code, _ := strconv.Atoi(number) // 0 is refused by Close, and the test fails
		_ = c.Close(ws.Code(code), reason)
	case "ping":
		_ = c.Ping([]byte(rest))
	default:
		_ = c.Send(m.Opcode, m.Payload)
	}
}

func (tester) Pong(c *server.Conn, payload []byte) { _ = c.SendText("pong:" + string(payload)) }

func (h tester) Close(_ *server.Conn, err error) {
	var end *ws.CloseError
	if errors.As(err, &end) {
		h.ended <- *end
	}
}

// tornado is the handler of Tornado's walk-through.
type tornado struct{ said chan<- string }

func (h tornado) Open(*server.Conn) { h.said <- "Socket opened" }

func (h tornado) Message(c *server.Conn, m ws.Message) {
	_ = c.SendText("Message received: " + string(m.Payload))
	_ = c.Close(ws.CodeNormal, "")
}

func (h tornado) Close(*server.Conn, error) { h.said <- "Socket closed" }
