package server_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// Bridges carry connections of net/http that have no descriptor to take: the
// tests get them by wrapping what net/http accepts, or by TLS.

// wrapped is a connection that no engine can take apart, with all the methods of
// one of TCP.
type wrapped struct{ *net.TCPConn }

func wrapTCP(conn net.Conn) net.Conn { return wrapped{conn.(*net.TCPConn)} }

// wrappingListener gives its connections wrapped.
type wrappingListener struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l wrappingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}

// startMounted is start for a server without a listener: it is mounted in one of
// net/http, whose connections are wrapped.
func startMounted(t testing.TB, engine poller.Engine, wrap func(net.Conn) net.Conn, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	srv, l := prepare(t, engine, configure)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: srv, ErrorLog: log.New(io.Discard, "", 0)}
	var served sync.WaitGroup
	served.Go(func() { _ = web.Serve(wrappingListener{ln, wrap}) }) // ends with ErrServerClosed
	t.Cleanup(func() {
		_ = web.Close() // what its connections say is of no interest
		served.Wait()
		closeServer(t, srv)
		eventually(t, "a Close for every Open", func() bool { return l.balanced() })
		if s := srv.Stats(); s.Bridged != 0 {
			t.Errorf("%d connections are bridged after Close", s.Bridged)
		}
	})
	return ln.Addr().String(), srv
}

func startBridge(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	return startMounted(t, systemEngine(t), wrapTCP, configure)
}

func startTLSBridge(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	asServer, asClient := tlsConfigs(t)
	wrap := func(conn net.Conn) net.Conn { return tls.Server(conn, asServer) }
	addr, srv = startMounted(t, systemEngine(t), wrap, configure)
	dialers.Store(addr, func(addr string) (net.Conn, error) { return tls.Dial("tcp", addr, asClient) })
	t.Cleanup(func() { dialers.Delete(addr) })
	return addr, srv
}

// tlsConfigs are those of two sides that trust each other.
func tlsConfigs(t testing.TB) (asServer, asClient *tls.Config) {
	t.Helper()
	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	asClient = web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	asClient.ServerName = "example.com"
	return &tls.Config{Certificates: web.TLS.Certificates}, asClient
}

// serving starts a server on one transport, as startServer does.
type serving func(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server)

// onTransports runs a test of what happens once a connection is open, or of an upgrade that
// net/http sees as we do, on each transport: to a handler and to a peer, a connection over a
// bridge is one like any other.
func onTransports(t *testing.T, test func(t *testing.T, serve serving)) {
	for name, serve := range map[string]serving{
		"sockets": startServer, "bridge": startBridge, "bridge to TLS": startTLSBridge, "stream": startStreams,
		"wrapped listener": startDoor("wrapped"), "TLS listener": startDoor("TLS"),
	} {
		t.Run(name, func(t *testing.T) { test(t, serve) })
	}
}

// overTransports is onTransports as a part of a test.
func overTransports(test func(t *testing.T, serve serving)) func(*testing.T) {
	return func(t *testing.T) { onTransports(t, test) }
}
