package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/millrace/millrace/server"
)

// transport is a client of HTTP/2 for pages behind the door; first stands before all else.
func (d door) transport(t *testing.T, ln net.Listener, first string) *http.Transport {
	t.Helper()
	web := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		plain := d
		plain.secure = false
		conn, err := plain.dialBehind(ln, first)
		if err != nil {
			return nil, err
		}
		config := clientTLS()
		config.NextProtos = []string{"h2", "http/1.1"}
		secure := tls.Client(conn, config)
		return secure, secure.HandshakeContext(ctx)
	}}
	t.Cleanup(web.CloseIdleConnections)
	return web
}

// fetchPage asks for a page, and gives what is in it.
func fetchPage(t *testing.T, web *http.Transport) (resp *http.Response, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = web.RoundTrip(r); err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it is read
	return resp, string(text), err
}

// TestServeListenerHTTP2: pages come over HTTP/2 where that was agreed on. A connection has
// its places until it is closed, and its client is who the PROXY header says.
func TestServeListenerHTTP2(t *testing.T) {
	for _, name := range []string{"TLS", "own TLS", "TLS over"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := doors[name]
			for _, header := range []string{"", headers["version 1"]} {
				srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
					srv.Proxy.Protocol, srv.Limits.HTTPConns, srv.Limits.ConnsPerAddr = header != "", 1, 1
					srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.TLS == nil {
							t.Error("a page without TLS")
						}
						_, _ = io.WriteString(w, r.RemoteAddr) // the client sees
					})
				})
				_, ln := d.open(t, srv)
				for range 2 {
					web := d.transport(t, ln, header)
					for range 2 {
						resp, body, err := fetchPage(t, web)
						if err != nil || resp.ProtoMajor != 2 {
							t.Fatalf("%v, %v, want a page over HTTP/2", resp, err)
						}
						client := netip.MustParseAddrPort(body)
						if header != "" && body != "192.0.2.7:7777" || header == "" && !client.Addr().IsLoopback() {
							t.Errorf("the client is %v", client)
						}
					}
					if _, _, err := fetchPage(t, d.transport(t, ln, header)); err == nil {
						t.Error("there is a place for a second one")
					}
					if p := srv.DrainProgress(); p.HTTP != 1 {
						t.Errorf("net/http has %d", p.HTTP)
					}
					web.CloseIdleConnections()
					eventually(t, "its place is free", func() bool { return srv.DrainProgress().HTTP == 0 && srv.Stats().Open == 0 })
				}
				if s := srv.Stats(); s.TLSHandshakes < 2 || s.HandedToHTTP != 2 {
					t.Errorf("%d handshakes, %d handed to HTTP", s.TLSHandshakes, s.HandedToHTTP)
				}
			}
		})
	}
}

// TestServeListenerHTTP2Unserved: a listener may agree on HTTP/2 where nobody serves it.
func TestServeListenerHTTP2Unserved(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*server.Server){
		"no HTTP": nil, "DisableHTTP2": func(srv *server.Server) { plainHTTP(srv); srv.DisableHTTP2 = true },
	} {
		srv, _ := prepare(t, systemEngine(t), configure)
		_, ln := doors["TLS"].open(t, srv)
		if _, _, err := fetchPage(t, doors["TLS"].transport(t, ln, "")); err == nil {
			t.Errorf("%s: there is a page", name)
		}
		eventually(t, name+": it is refused", func() bool { s := srv.Stats(); return s.Refusals[505] > 0 && s.Open == 0 })
		if name == "no HTTP" {
			continue
		}
		if _, body, err := fetchPage(t, &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return doors["TLS"].dialIt(ln)
		}}); body != "GET / " || err != nil {
			t.Errorf("over HTTP/1.1: %q, %v", body, err)
		}
	}
}

// TestServeListenerTLSFails: what is no TLS, and callbacks that panic, cost their own
// connection.
func TestServeListenerTLSFails(t *testing.T) {
	t.Parallel()
	srv, _ := prepare(t, systemEngine(t), nil)
	ln := tls.NewListener(listenTCP(t), &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		panic("the certificate is a secret")
	}})
	doors["TLS"].serveIt(t, srv, ln)
	plain := dial(t, ln.Addr().String())
	plain.send(get("/"))
	_, _ = io.ReadAll(plain)
	conn, err := doors["TLS"].dialIt(ln)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*tls.Conn).HandshakeContext(t.Context()); err == nil {
		t.Error("there is a certificate")
	}
	_ = conn.Close()
	eventually(t, "all are gone", func() bool { return srv.Stats().Open == 0 })
	if s := srv.Stats(); s.TLSFailed != 2 || s.TLSHandshakes != 0 || s.Panics != 1 {
		t.Errorf("%d failed, %d succeeded, %d panics", s.TLSFailed, s.TLSHandshakes, s.Panics)
	}
}
