package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// onUnixSockets runs a test with clients on Unix sockets: of the server's own port,
// plain and TLS, and of net/http's, whose connections a loop or a bridge gets.
func onUnixSockets(t *testing.T, configure func(*server.Server), test func(t *testing.T, srv *server.Server, connect func() *client, secure bool)) {
	for name, way := range map[string]struct{ mounted, secure bool }{
		"own": {false, false}, "own, TLS": {false, true}, "mounted": {true, false}, "mounted, TLS": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, path := &server.Server{Runtime: server.Runtime{Engine: systemEngine(t)}, Logger: noLog}, socketpath.New(t)
			srv.Addr = "unix:" + path
			withTLS(configure)(srv)
			serve := srv.ListenAndServe
			if way.secure {
				serve = func() error { return srv.ListenAndServeTLS("", "") }
			}
			if way.mounted {
				serve = mountedOn(t, srv, path, way.secure)
			}
			served := make(chan error, 1)
			go func() { served <- serve() }()
			t.Cleanup(func() {
				_ = srv.Close() // always nil
				<-served
			})
			test(t, srv, func() *client { return dialSocket(t, path, way.secure) }, way.secure)
		})
	}
}

// mountedOn serves srv through net/http on a Unix socket, until the function returns
// that ends with srv.
func mountedOn(t *testing.T, srv *server.Server, path string, secure bool) (serve func() error) {
	t.Helper()
	ln, err := poller.ListenUnix(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: srv, TLSConfig: srv.TLSConfig, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	ended := make(chan struct{})
	t.Cleanup(func() { <-ended })
	return func() error {
		defer close(ended)
		go func() {
			<-t.Context().Done() // just before the cleanups
			_ = web.Close()
		}()
		if secure {
			return web.ServeTLS(ln, "", "")
		}
		return web.Serve(ln)
	}
}

// dialSocket is a client, as soon as somebody listens.
func dialSocket(t *testing.T, path string, secure bool) *client {
	t.Helper()
	var conn net.Conn
	eventually(t, "a connection", func() (done bool) {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	})
	if !secure {
		return newClient(t, conn)
	}
	c, _ := secured(t, conn, clientTLS())
	return c
}

// TestTrustUnix: what a peer on a Unix socket says of its client counts if it is
// trusted, and not otherwise.
func TestTrustUnix(t *testing.T) {
	const claim = "X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https"
	for name, trust := range map[string]bool{"trusted": true, "not trusted": false} {
		t.Run(name, func(t *testing.T) {
			onUnixSockets(t, func(s *server.Server) {
				whose(s)
				// No list of networks has a peer without an address.
				s.Proxy.TrustUnix, s.Proxy.Trusted = trust, prefixes("0.0.0.0/0 ::/0")
			}, func(t *testing.T, _ *server.Server, connect func() *client, secure bool) {
				want, wantTLS := netip.AddrPort{}.String(), secure
				if trust {
					want, wantTLS = "192.0.2.66:0", true
				}
				c := connect()
				c.send(upgradeRequest(claim) + frame(opText, "whose?"))
				c.expectClient(want, wantTLS)
				c = connect()
				c.send(upgradeRequest() + frame(opText, "whose?"))
				c.expectClient(netip.AddrPort{}.String(), secure)
			})
		})
	}
}

// TestTrustUnixAlone: without a list of proxies the Unix socket's is trusted all the
// same, and nobody with an address; a bound for each client holds.
func TestTrustUnixAlone(t *testing.T) {
	configure := func(s *server.Server) {
		whose(s)
		s.Proxy.TrustUnix, s.Limits.ConnsPerAddr = true, 1
	}
	onUnixSockets(t, configure, func(t *testing.T, _ *server.Server, connect func() *client, secure bool) {
		for _, from := range []string{"192.0.2.66", "192.0.2.67"} {
			c := connect()
			c.send(upgradeRequest("X-Forwarded-For: "+from) + frame(opText, "whose?"))
			c.expectClient(from+":0", secure)
		}
		if strings.Contains(t.Name(), "own") {
			c := connect()
			c.send(upgradeRequest("X-Forwarded-For: 192.0.2.66"))
			c.expectBusy()
		}
	})
	addr, _ := startServer(t, configure)
	c := dial(t, addr)
	c.send(upgradeRequest("X-Forwarded-For: 192.0.2.66") + frame(opText, "whose?"))
	c.expectClient("", false)
}

// TestTrustUnixAnonymous: behind a PROXY header that names no client the balancer has
// written no other. Nobody but the socket's peers may send one.
func TestTrustUnixAnonymous(t *testing.T) {
	t.Parallel()
	srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: systemEngine(t)}, Addr: "unix:" + socketpath.New(t), Proxy: server.Proxy{Protocol: true, TrustUnix: true}}
	whose(srv)
	ln, err := srv.Listen("unix", strings.TrimPrefix(srv.Addr, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	for _, header := range anonymousHeaders {
		conn, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		c.send(header + upgradeRequest("X-Forwarded-For: 192.0.2.66") + frame(opText, "whose?"))
		c.expectClient(netip.AddrPort{}.String(), false)
	}
	tcp, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	servedTCP := make(chan error, 1)
	go func() { servedTCP <- srv.Serve(tcp) }()
	c := dial(t, tcp.Addr().String())                       // with an address, and no network of Proxy.Trusted has it
	_, _ = io.WriteString(c.Conn, proxyV1+upgradeRequest()) // it may be closed already
	c.expectEnd()
	if err := errors.Join(srv.Close(), <-served, <-servedTCP); !errors.Is(err, server.ErrServerClosed) {
		t.Error(err)
	}
}

// TestMountedWithoutAddress: a middleware that makes nonsense of the client's address
// does not make it trusted.
func TestMountedWithoutAddress(t *testing.T) {
	t.Parallel()
	srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: systemEngine(t)}, Proxy: server.Proxy{TrustUnix: true}}
	whose(srv)
	addr := mount(t, srv, func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "somebody"
		srv.ServeHTTP(w, r)
	})
	c := dial(t, addr)
	c.send(upgradeRequest("X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https"))
	if got := c.expectSwitch().Header.Get("X-TLS"); got != "false" {
		t.Errorf("the request is over TLS: %s", got)
	}
}

// TestUnixNames: where a peer is shown, it is "unix" and no address that is none.
func TestUnixNames(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		book := &logBook{}
		log := book.loggerAt(slog.LevelDebug)
		names := make(chan string, 100)
		t.Run(level.String(), func(t *testing.T) {
			onUnixSockets(t, func(s *server.Server) {
				s.Logger, s.LogRefusals = log, level == slog.LevelInfo
				s.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) {
					names <- c.RemoteName()
					panic("of the test")
				})
			}, func(t *testing.T, srv *server.Server, connect func() *client, _ bool) {
				c := connect().upgraded()
				infos, err := srv.Conns(t.Context(), server.ByAge, 10)
				if err != nil || len(infos) != 1 || infos[0].RemoteName != "unix" {
					t.Errorf("Conns: %+v, %v", infos, err)
				}
				c.send(frame(opText, "whose?"))
				if name := <-names; name != "unix" {
					t.Errorf("the name of the peer is %q", name)
				}
				c.expectClose(1011)
				c = connect()
				c.send(upgradeRequest("Origin: https://elsewhere.example"))
				c.expectRefusal(403)
			})
		})
		text := book.String()
		for line := range strings.Lines(text) {
			if strings.Contains(line, "remote=") && !strings.Contains(line, "remote=unix ") {
				t.Errorf("log: %s", line)
			}
		}
		for _, event := range []string{"handler panicked", "request refused"} {
			if n := strings.Count(text, event); n != 4 {
				t.Errorf("%d times %q in the log, want 4:\n%s", n, event, text)
			}
		}
	}
}

// TestUnixStreams: a stream of HTTP/2 on a Unix socket is one of its peer's, too. The
// request is what net/http would make of it.
func TestUnixStreams(t *testing.T) {
	t.Parallel()
	for _, trust := range []bool{true, false} {
		names := make(chan string, 1)
		srv, _ := prepare(t, systemEngine(t), func(s *server.Server) {
			s.Proxy.TrustUnix = trust
			s.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) { names <- c.RemoteName() })
		})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			for range 2 {
				if conn, err := ln.Accept(); err == nil {
					serveStream(t, conn.(*net.TCPConn), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						r.RemoteAddr = "@"
						socket := &net.UnixAddr{Net: "unix", Name: "/run/web.sock"}
						srv.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, socket)))
					}))
				}
			}
		}()
		for line, want := range map[string]string{"X-Forwarded-For: 192.0.2.66": "192.0.2.66", "X-Other: 1": "unix"} {
			if !trust {
				want = "unix"
			}
			c := dial(t, ln.Addr().String())
			c.send(upgradeRequest(line) + frame(opText, "whose?"))
			c.expectSwitch()
			if name := <-names; name != want {
				t.Errorf("trusted %v, %s: the name is %q, want %q", trust, line, name, want)
			}
			_ = c.Close() // the next may come
		}
		<-served
		_ = ln.Close() // it has done its work
		closeServer(t, srv)
	}
}

// TestUnixMode: the socket's file lets in whom Runtime.SocketMode says, is there once, and
// goes with the server, but not if it is another's by then.
func TestUnixMode(t *testing.T) {
	t.Parallel()
	for mode, want := range map[fs.FileMode]fs.FileMode{0: 0o660, 0o600: 0o600, 0o777: 0o777} {
		path := socketpath.New(t)
		start := func() (*server.Server, chan error, error) {
			srv := &server.Server{Runtime: server.Runtime{Engine: systemEngine(t), SocketMode: mode}, Logger: noLog}
			ln, err := srv.Listen("unix", path)
			served := make(chan error, 1)
			if err == nil {
				go func() { served <- srv.Serve(ln) }()
			}
			return srv, served, err
		}
		srv, served, err := start()
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v: the file is %v, %v", mode, info, err)
		}
		if _, _, err := start(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listening twice: %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		successor, servedNext, err := start()
		if err != nil {
			t.Fatal(err)
		}
		_ = srv.Close() // always nil
		<-served
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		newClient(t, conn).upgraded()
		_ = successor.Close()
		<-servedNext
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is still there: %v", err)
		}
	}
}

// TestUnixInCallback: a TLS callback sees a Unix socket's peer, as net/http's would.
func TestUnixInCallback(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: systemEngine(t)}, Addr: "unix:" + socketpath.New(t)}
	withTLS(nil)(srv)
	srv.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		seen <- hello.Conn.RemoteAddr().Network() + " " + hello.Conn.RemoteAddr().String()
		return nil, nil
	}
	ln, err := srv.Listen("unix", strings.TrimPrefix(srv.Addr, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, "", "") }()
	conn, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	secured(t, conn, clientTLS())
	if got := <-seen; got != "unix @" {
		t.Errorf("the callback's peer is %q", got)
	}
	_ = srv.Close() // always nil
	<-served
}
