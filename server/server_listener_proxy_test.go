package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// headers are PROXY headers of one client, of both versions.
var headers = map[string]string{
	"version 1": "PROXY TCP4 192.0.2.7 192.0.2.1 7777 443\r\n",
	"version 2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0f\xc0\x00\x02\x07\xc0\x00\x02\x01\x1e\x61\x01\xbb" + "\x04\x00\x00",
}

// dialBehind is d.dialIt with something before all else, TLS included.
func (d door) dialBehind(ln net.Listener, first string) (conn net.Conn, err error) {
	plain := d
	plain.secure = false
	if conn, err = plain.dialIt(ln); err != nil {
		return nil, err
	}
	for _, b := range []byte(first) {
		if _, err := conn.Write([]byte{b}); err != nil {
			return nil, err
		}
	}
	if d.secure {
		conn = tls.Client(conn, clientTLS())
	}
	return conn, nil
}

// TestServeListenerProxied: the PROXY header is the first of a connection, below TLS, and
// says who the client is: to hooks, to pages, and for its limit.
func TestServeListenerProxied(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		client := netip.MustParseAddrPort("192.0.2.7:7777")
		srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
			srv.Proxy.Protocol, srv.Limits.ConnsPerAddr = true, 1
			srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.RemoteAddr) // the client sees
			})
			srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
				if r.RemoteAddr != client {
					t.Errorf("RemoteAddr = %v", r.RemoteAddr)
				}
				return server.Accept{}, nil
			}
		})
		_, ln := d.open(t, srv)
		for name, header := range headers {
			conn, err := d.dialBehind(ln, header)
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, conn)
			c.send(get("/"))
			c.expectPlain("192.0.2.7:7777")
			if conn, err = d.dialBehind(ln, header); err != nil {
				t.Fatal(err)
			}
			second := newClient(t, conn)
			if d.secure && !d.bridged {
				_, _ = second.Write(nil) // the handshake, without which there is nothing to read
				second.expectEnd()
			} else {
				second.send(get("/"))
				second.expectRefusal(503)
			}
			c.send(upgradeRequest() + frame(opText, name))
			c.expectSwitch()
			c.expect(opText, name)
			_, _ = c.Close(), second.Close()
			eventually(t, "all are gone", func() bool { return srv.Stats().Open == 0 })
		}
		for _, wrong := range []string{"PROXY TCP9 x\r\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcd"} {
			plain := d
			plain.secure = false
			conn, err := plain.dialIt(ln)
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, conn)
			go func() { _, _ = io.WriteString(conn, wrong) }() // the server may have closed it
			c.expectEnd()
		}
		if s := srv.Stats(); s.ProxyRefused != 3 {
			t.Errorf("%d are refused for their header, want 3", s.ProxyRefused)
		}
	})
}

// TestServeListenerUntrustedProxy: a header counts from who is trusted only.
func TestServeListenerUntrustedProxy(t *testing.T) {
	for _, name := range []string{"TCP", "wrapper", "wrapped", "TLS", "TLS over"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
				srv.Proxy.Protocol, srv.Proxy.Trusted = true, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			})
			d := doors[name]
			d.secure = false
			connect, _ := d.open(t, srv)
			c := connect()
			_, _ = io.WriteString(c.Conn, headers["version 1"]) // it may be closed already
			c.expectEnd()
			eventually(t, "it is counted", func() bool { return srv.Stats().ProxyRefused == 1 && srv.Stats().Open == 0 })
		})
	}
}
