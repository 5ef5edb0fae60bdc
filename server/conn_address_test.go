package server_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/server"
)

// TestLocalAddr: whatever carries a connection, it knows which address its peer has
// reached, and none once it is closed.
func TestLocalAddr(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns, closed := make(chan *server.Conn, 1), make(chan struct{})
		connect, _ := start(t, func(srv *server.Server) {
			srv.Handler = handler{
				open:  func(c *server.Conn) { conns <- c },
				close: func(*server.Conn, error) { close(closed) },
			}
		})
		peer := connect().upgraded()
		c := <-conns
		want := netip.MustParseAddrPort(peer.RemoteAddr().String())
		if got := c.LocalAddr(); got != want {
			t.Errorf("LocalAddr = %v, want %v", got, want)
		}
		peer.send(frame(opClose, ""))
		peer.expectClose(1005)
		<-closed
		eventually(t, "no address once it is closed", func() bool { return !c.LocalAddr().IsValid() })
	})
}

// TestLocalAddrOfWildcard: a listener on all addresses has connections on one each.
func TestLocalAddrOfWildcard(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }}
	})
	ln, err := srv.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }() // ends with the test
	t.Cleanup(func() { closeServer(t, srv) })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	dial(t, "127.0.0.1:"+port).upgraded()
	if got := (<-conns).LocalAddr(); got.String() != "127.0.0.1:"+port {
		t.Errorf("LocalAddr = %v, want 127.0.0.1:%s", got, port)
	}
}

// TestLocalAddrOfUnixSocket: there is none.
func TestLocalAddrOfUnixSocket(t *testing.T) {
	t.Parallel()
	path := socketpath.New(t)
	conns := make(chan *server.Conn, 1)
	srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }}
	})
	ln, err := srv.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }() // ends with the test
	t.Cleanup(func() { closeServer(t, srv) })
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	newClient(t, conn).upgraded()
	if got := (<-conns).LocalAddr(); got.IsValid() {
		t.Errorf("LocalAddr = %v, want none", got)
	}
}
