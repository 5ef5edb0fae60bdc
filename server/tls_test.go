package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestTLSEcho: messages of all sizes over both versions, and a close that ends
// with close_notify.
func TestTLSEcho(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, start := range map[string]starter{"simnet": onTLSSimnet, "sockets": onTLSSockets} {
			t.Run(tls.VersionName(version)+" on "+name, func(t *testing.T) {
				t.Parallel()
				connect, srv := start(t, func(s *server.Server) { s.TLSConfig.MaxVersion = version })
				c := connect().upgraded()
				for i, size := range append(sizes, 64<<10, 1<<20) {
					text := pattern(i, size)
					go func() { _, _ = io.WriteString(c.Conn, frame(opText, text)) }() // a failure is missed below
					c.expect(opText, text)
				}
				c.send(frame(opClose, closePayload(1000, "")))
				c.expectClose(1000)
				if s := srv.Stats(); s.TLSHandshakes != 1 || s.TLSFailed != 0 {
					t.Errorf("%d handshakes, %d failed; want one", s.TLSHandshakes, s.TLSFailed)
				}
			})
		}
	}
}

// TestTLSIdenticalStream is TestIdenticalStream over TLS: kernels that take and
// give bytes as it suits them change nothing.
func TestTLSIdenticalStream(t *testing.T) {
	for name, config := range scripts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, addr, _ := startTLSSim(t, config, func(srv *server.Server) {
				srv.Handler = onlyMessage(sendAllSizes)
			})
			c := dialTLSSim(t, n, addr).upgraded()
			for round := range rounds(config) {
				c.send(frame(opText, string(rune('0'+round))))
				for i, size := range sizes {
					c.expect(opBinary, pattern(round*100+i, size))
					c.expect(opText, pattern(round*100+50+i, size))
					c.expect(opPing, string([]byte{byte('0' + round), ' ', byte('0' + i)}))
				}
			}
			c.send(frame(opClose, closePayload(1000, "")))
			c.expectClose(1000)
		})
	}
}

// byteByByte writes each byte alone.
type byteByByte struct{ net.Conn }

func (c byteByByte) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestTLSByteByByte: handshake, request and messages of both versions with each
// byte in a packet of its own.
func TestTLSByteByByte(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		n, addr, _ := startTLSSim(t, simnet.Config{}, nil)
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		config := clientTLS()
		config.MaxVersion = version
		c := newClient(t, tls.Client(byteByByte{conn}, config)).upgraded()
		for i, size := range []int{0, 1, 125, 126, 5000, 20_000} {
			c.send(frame(opBinary, pattern(i, size)))
			c.expect(opBinary, pattern(i, size))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTLSConcurrentSenders is TestConcurrentSenders over TLS.
func TestTLSConcurrentSenders(t *testing.T) {
	t.Parallel()
	const senders, each = 8, 20
	addr, _ := startTLS(t, func(srv *server.Server) {
		srv.Queue.Max = 16 << 20
		srv.Handler = handler{open: func(c *server.Conn) {
			for s := range senders {
				go sendInOrder(c, s, each)
			}
		}, message: func(c *server.Conn, _ ws.Message) { sendInOrder(c, senders, each) }}
	})
	c := dialTLS(t, addr).upgraded()
	c.send(frame(opText, "go"))
	expectInOrder(c, senders+1, each)
}

// tlsFacts sends what a request's hook has seen of its TLS state.
type tlsFacts struct{ echo }

func (tlsFacts) Open(c *server.Conn) {
	state := c.Request().TLSState
	name := "nobody"
	if len(state.PeerCertificates) > 0 {
		name = state.PeerCertificates[0].Subject.CommonName
	}
	_ = c.SendText(strings.Join([]string{ // the client sees
		tls.VersionName(state.Version), state.ServerName, state.NegotiatedProtocol, name,
	}, " "))
}

// TestTLSState: the handshake's outcome is on the request, within the hooks and
// after.
func TestTLSState(t *testing.T) {
	t.Parallel()
	seen := make(chan *tls.ConnectionState, 100)
	addr, _ := startTLS(t, func(s *server.Server) {
		s.TLSConfig.ClientAuth = tls.VerifyClientCertIfGiven
		s.TLSConfig.ClientCAs = testAuthority().pool
		s.TLSConfig.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.Conn.RemoteAddr() == nil || hello.Conn.LocalAddr() == nil {
				t.Error("hello without addresses")
			}
			cert := testAuthority().issue(hello.ServerName)
			return &cert, nil
		}
		s.TLSConfig.Certificates = nil
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if !r.TLS {
				t.Error("a request without TLS")
			}
			seen <- r.Clone().TLSState
			return server.Accept{Handler: tlsFacts{}}, nil
		}
	})
	for _, test := range []struct {
		change func(*tls.Config)
		want   string
	}{
		{func(*tls.Config) {}, "TLS 1.3 example.com  nobody"},
		{func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "TLS 1.2 example.com  nobody"},
		{func(c *tls.Config) { c.ServerName = "other.example" }, "TLS 1.3 other.example  nobody"},
		{func(c *tls.Config) { c.NextProtos = []string{"spdy", "http/1.1"} }, "TLS 1.3 example.com http/1.1 nobody"},
		{func(c *tls.Config) {
			c.Certificates = []tls.Certificate{testAuthority().issue("client 7")}
		}, "TLS 1.3 example.com  client 7"},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		config := clientTLS()
		test.change(config)
		newClient(t, tls.Client(conn, config)).upgraded().expect(opText, test.want)
		if state := <-seen; state == nil || state.ServerName != config.ServerName {
			t.Errorf("the hook saw %+v", state)
		}
	}
}

// TestTLSHandshakeRefused: what the server's configuration does not allow ends
// with an alert that the client gets to read.
func TestTLSHandshakeRefused(t *testing.T) {
	t.Parallel()
	addr, srv := startTLS(t, func(s *server.Server) {
		s.TLSConfig.MinVersion = tls.VersionTLS13
		s.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
		s.TLSConfig.ClientCAs = testAuthority().pool
	})
	for alert, change := range map[string]func(*tls.Config){
		"protocol version":     func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"certificate required": func(*tls.Config) {},
		"application protocol": func(c *tls.Config) { c.NextProtos = []string{"mqtt"} },
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		config := clientTLS()
		change(config)
		c := newClient(t, tls.Client(conn, config))
		_, _ = io.WriteString(c.Conn, upgradeRequest()) // it fails here or below
		if _, err := c.r.ReadByte(); err == nil || !strings.Contains(err.Error(), alert) {
			t.Errorf("%v, want the alert %q", err, alert)
		}
	}
	eventually(t, "three failures", func() bool { return srv.Stats().TLSFailed == 3 })
}

// TestTLSResumption: a session ticket shortens the next handshake.
func TestTLSResumption(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		addr, _ := startTLS(t, nil)
		config := clientTLS()
		config.MaxVersion = version
		config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
		for i := range 3 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			secure := tls.Client(conn, config)
			c := newClient(t, secure).upgraded()
			c.send(frame(opText, "hello"))
			c.expect(opText, "hello")
			if got := secure.ConnectionState().DidResume; got != (i > 0) {
				t.Errorf("%s, handshake %d: resumed %v", tls.VersionName(version), i, got)
			}
			_ = c.Close()
		}
	}
}

// TestTLSBesidePlain: one server, two listeners.
func TestTLSBesidePlain(t *testing.T) {
	t.Parallel()
	addr, srv := startTLS(t, func(s *server.Server) {
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.TLS != (r.TLSState != nil) {
				t.Errorf("TLS is %v, its state %v", r.TLS, r.TLSState)
			}
			return server.Accept{}, nil
		}
	})
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- srv.Serve(ln) }()
	for range 20 {
		for _, c := range []*client{dial(t, ln.Addr().String()), dialTLS(t, addr)} {
			c.upgraded().send(frame(opText, "both"))
			c.expect(opText, "both")
		}
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, server.ErrServerClosed) {
		t.Error(err)
	}
}

// TestServeTLSErrors: what can not be served is refused before it listens.
func TestServeTLSErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config     *tls.Config
		cert, key  string
		complains  string
		isNotExist bool
	}{
		"no certificate":     {complains: "two files"},
		"no such file":       {cert: "/nowhere/cert.pem", key: "/nowhere/key.pem", complains: "/nowhere/cert.pem"},
		"h2 without handler": {config: &tls.Config{Certificates: []tls.Certificate{serverCertificate()}, NextProtos: []string{"h2"}}, complains: "Server.HTTP"},
	} {
		srv := &server.Server{Runtime: server.Runtime{Engine: simnet.New(simnet.Config{})}, TLSConfig: test.config}
		ln, err := srv.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.ServeTLS(ln, test.cert, test.key); err == nil || !strings.Contains(err.Error(), test.complains) {
			t.Errorf("%s: %v, want %q", name, err, test.complains)
		}
		_ = srv.Close() // always nil
	}
}

// TestTLSComesAndGoes: nothing is left of connections that came and went in all
// ways.
func TestTLSComesAndGoes(t *testing.T) {
	addr, srv := startTLS(t, nil)
	goroutines := runtime.NumGoroutine()
	config := clientTLS()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	for i := range scaled(3000) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c := &client{Conn: tls.Client(conn, config), t: t}
		switch i % 5 {
		case 0: // said nothing
		case 1:
			_, _ = conn.Write([]byte{22, 3, 1, 2, 0, 1})
		case 2:
			_ = c.Conn.(*tls.Conn).Handshake() // a close without a word
		case 3:
			c.send(upgradeRequest())
		case 4:
			c.send(upgradeRequest())
			c.reset()
		}
		_ = conn.Close()
	}
	eventually(t, "all are gone", func() bool { return srv.Stats().Open == 0 })
	const standby = 10 // workers that had a slow turn to replace may stay
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines+standby })
}

// TestTLSPages: requests that are no upgrades are net/http's, with their TLS state.
func TestTLSPages(t *testing.T) {
	t.Parallel()
	addr, srv := startTLS(t, func(s *server.Server) {
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || r.TLS.ServerName != "example.com" {
				t.Errorf("%s over TLS, whose state is %+v", r.Proto, r.TLS)
			}
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, r.Proto+" "+r.Method+" "+string(body)) // the client sees
		})
	})
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{TLSClientConfig: clientTLS(), ForceAttemptHTTP2: proto == "HTTP/2.0"}
		browser := http.Client{Transport: transport, Timeout: patience}
		for _, size := range []int{0, 1000, 200_000} {
			body := strings.Repeat("b", size)
			resp, err := browser.Post("https://"+addr+"/page", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if want := proto + " POST " + body; err != nil || string(got) != want {
				t.Errorf("%.40q, %v, want %.40q", got, err, want)
			}
			_ = resp.Body.Close()
		}
		transport.CloseIdleConnections()
	}
	if got := srv.Stats().HandedToHTTP; got != 2 {
		t.Errorf("%d connections handed over, want 2: they are kept alive", got)
	}
}

// TestTLSUnknownClient: a client that does not trust the certificate says so.
func TestTLSUnknownClient(t *testing.T) {
	t.Parallel()
	addr, srv := startTLS(t, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stranger := tls.Client(conn, &tls.Config{ServerName: "example.com", RootCAs: x509.NewCertPool()})
	if err := stranger.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Handshake(); err == nil {
		t.Error("the handshake succeeded")
	}
	eventually(t, "a failure", func() bool { return srv.Stats().TLSFailed == 1 && srv.Stats().Open == 0 })
}

// TestTLSUpgradeAfterPages: a connection that net/http has had may still become a
// WebSocket.
func TestTLSUpgradeAfterPages(t *testing.T) {
	t.Parallel()
	addr, _ := startTLS(t, plainHTTP)
	c := dialTLS(t, addr)
	for range 3 {
		c.send(get("/page"))
		c.expectPlain("GET /page ")
	}
	c.send(get("/last") + upgradeRequest() + frame(opText, "at once"))
	c.expectPlain("GET /last ")
	c.expectSwitch()
	c.expect(opText, "at once")
	c.send(frame(opText, "later"))
	c.expect(opText, "later")
	c.send(frame(opClose, closePayload(1000, "")))
	c.expectClose(1000)
}
