package server_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// remoteKey is a key whose signatures somebody else makes.
type remoteKey struct {
	crypto.Signer
	wait func()
}

func (k remoteKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.wait()
	return k.Signer.Sign(rand, digest, opts)
}

// waiting are the configurations that call wait in each handshake, by what does.
var waiting = map[string]func(config *tls.Config, wait func()){
	"GetCertificate": func(config *tls.Config, wait func()) {
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			wait()
			cert := serverCertificate()
			return &cert, nil
		}
		config.Certificates = nil
	},
	"VerifyPeerCertificate": func(config *tls.Config, wait func()) {
		config.ClientAuth = tls.RequireAnyClientCert
		config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { wait(); return nil }
	},
	"VerifyConnection": func(config *tls.Config, wait func()) {
		config.VerifyConnection = func(tls.ConnectionState) error { wait(); return nil }
	},
	"WrapSession": func(config *tls.Config, wait func()) {
		config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
			wait()
			return config.EncryptTicket(state, session)
		}
	},
	"a key": func(config *tls.Config, wait func()) {
		cert := serverCertificate()
		cert.PrivateKey = remoteKey{cert.PrivateKey.(crypto.Signer), wait}
		config.Certificates = []tls.Certificate{cert}
	},
	"a key by GetCertificate": func(config *tls.Config, wait func()) {
		cert := serverCertificate()
		cert.PrivateKey = remoteKey{cert.PrivateKey.(crypto.Signer), wait}
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
		config.Certificates = nil
	},
}

// TestTLSBlockedCallbacks: handshakes that wait for a callback or a key keep no other
// from going on, in the server's configuration and in one that GetConfigForClient
// returns.
func TestTLSBlockedCallbacks(t *testing.T) {
	t.Parallel()
	for name, set := range waiting {
		for _, returned := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", returned"}[returned], func(t *testing.T) {
				t.Parallel()
				expectOthersGoOn(t, set, returned)
			})
		}
	}
}

func expectOthersGoOn(t *testing.T, set func(*tls.Config, func()), returned bool) {
	const slow = 10
	var calls atomic.Int32
	inside, release := make(chan struct{}, slow), make(chan struct{})
	wait := func() {
		if calls.Add(1) <= slow {
			inside <- struct{}{}
			<-release
		}
	}
	n, addr, _ := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
		if !returned {
			set(s.TLSConfig, wait)
			return
		}
		own := s.TLSConfig.Clone()
		set(own, wait)
		s.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }
	})
	connect := func() *client {
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		config := clientTLS()
		config.Certificates = []tls.Certificate{testAuthority().issue("client")}
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		return newClient(t, tls.Client(conn, config))
	}
	var clients []*client
	for range slow {
		c := connect()
		go func() { _, _ = io.WriteString(c, upgradeRequest()) }() // expectSwitch below misses a failure
		clients = append(clients, c)
		select {
		case <-inside:
		case <-time.After(patience):
			t.Fatalf("the handshakes that wait, %d of %d, hold up another", len(clients)-1, slow)
		}
	}
	connect().upgraded()
	close(release)
	for _, c := range clients {
		c.expectSwitch()
	}
}

// TestTLSReturnedConfigs: sessions are resumed across all configurations that
// GetConfigForClient returns, and by the keys that one of them has at the time.
func TestTLSReturnedConfigs(t *testing.T) {
	t.Parallel()
	first, second := [32]byte{1}, [32]byte{2}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		own := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert := serverCertificate()
			return &cert, nil
		}}
		var get atomic.Value
		n, addr, _ := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
			s.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return get.Load().(func() *tls.Config)(), nil }
		})
		config := clientTLS()
		config.MaxVersion = version
		config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
		resumes := func(step string, want bool) {
			t.Helper()
			conn, err := n.Dial(addr)
			if err != nil {
				t.Fatal(err)
			}
			secure := tls.Client(conn, config)
			c := newClient(t, secure).upgraded()
			c.send(frame(opText, step))
			c.expect(opText, step) // the ticket has come as well
			if got := secure.ConnectionState().DidResume; got != want {
				t.Errorf("%s, %s: resumed %v, want %v", tls.VersionName(version), step, got, want)
			}
			_ = c.Close()
		}
		get.Store(func() *tls.Config { return own })
		resumes("one that stays", false)
		resumes("one that stays, again", true)
		get.Store(func() *tls.Config { return own.Clone() })
		resumes("a new one each time", true)
		get.Store(func() *tls.Config { return nil })
		resumes("the server's", true)
		get.Store(func() *tls.Config { return own })
		own.SetSessionTicketKeys([][32]byte{first})
		resumes("keys of its own", false)
		resumes("keys of its own, again", true)
		own.SetSessionTicketKeys([][32]byte{second, first})
		resumes("a new key, the old one still counts", true)
		own.SetSessionTicketKeys([][32]byte{second})
		resumes("the new key", true)
		own.SetSessionTicketKeys([][32]byte{{3}})
		resumes("another key", false)
	}
}

// agreed is what a client that offers both protocols agrees on with a server.
func agreed(t *testing.T, configure func(*server.Server)) string {
	t.Helper()
	n, addr, _ := startTLSSim(t, simnet.Config{}, configure)
	conn, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	config := clientTLS()
	config.NextProtos = []string{"h2", "http/1.1"}
	_, secure := secured(t, conn, config)
	return secure.ConnectionState().NegotiatedProtocol
}

// TestTLSHTTP2Offered: HTTP/2 is agreed on where net/http serves it, and nowhere else.
func TestTLSHTTP2Offered(t *testing.T) {
	t.Parallel()
	returns := func(protos ...string) func(*server.Server) {
		return func(s *server.Server) {
			own := s.TLSConfig.Clone()
			own.NextProtos = protos
			s.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }
		}
	}
	off := func(s *server.Server) { s.DisableHTTP2 = true }
	offers := func(protos ...string) func(*server.Server) {
		return func(s *server.Server) { s.TLSConfig.NextProtos = protos }
	}
	for _, test := range []struct {
		name  string
		setUp []func(*server.Server)
		want  string
	}{
		{"pages", []func(*server.Server){plainHTTP}, "h2"},
		{"no pages", nil, "http/1.1"},
		{"switched off", []func(*server.Server){plainHTTP, off}, "http/1.1"},
		{"asked for and switched off", []func(*server.Server){plainHTTP, offers("h2", "http/1.1"), off}, "http/1.1"},
		{"nothing else, and switched off", []func(*server.Server){plainHTTP, offers("h2"), off}, "http/1.1"},
		{"not asked for", []func(*server.Server){plainHTTP, offers("http/1.1")}, "http/1.1"},
		{"returned", []func(*server.Server){plainHTTP, returns("h2", "http/1.1")}, "h2"},
		{"returned, no pages", []func(*server.Server){returns("h2", "http/1.1")}, "http/1.1"},
		{"returned alone, no pages", []func(*server.Server){returns("h2")}, "http/1.1"},
		{"returned, switched off", []func(*server.Server){plainHTTP, returns("h2", "http/1.1"), off}, "http/1.1"},
	} {
		got := agreed(t, func(s *server.Server) {
			for _, setUp := range test.setUp {
				setUp(s)
			}
		})
		if got != test.want {
			t.Errorf("%s: %q is agreed on, want %q", test.name, got, test.want)
		}
	}
}

// TestTLSHTTP2ByGODEBUG: what keeps net/http from HTTP/2 keeps the server from
// offering it. It changes the environment, so it is not parallel.
func TestTLSHTTP2ByGODEBUG(t *testing.T) {
	for _, setting := range []string{"http2server=0", "http2server=1,http2server=0", "http2server=0,http2server=1"} {
		t.Setenv("GODEBUG", setting)
		addr, _ := startTLS(t, plainHTTP)
		transport := &http.Transport{TLSClientConfig: clientTLS(), ForceAttemptHTTP2: true}
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + addr + "/page")
		if err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
		_ = resp.Body.Close()
		if want := 1 + strings.Count(setting, ",http2server=1"); resp.ProtoMajor != want {
			t.Errorf("%s: a page over %s, want HTTP/%d", setting, resp.Proto, want)
		}
		transport.CloseIdleConnections()
	}
}

// TestTLSHTTP2Refused: a connection over HTTP/2 that is one too many hears why.
func TestTLSHTTP2Refused(t *testing.T) {
	t.Parallel()
	addr, srv := startTLS(t, func(s *server.Server) {
		plainHTTP(s)
		s.Limits.HTTPConns = 1
	})
	get := func() error {
		transport := &http.Transport{TLSClientConfig: clientTLS(), ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + addr + "/page")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	err := get()
	early := err != nil && strings.Contains(err.Error(), "client conn could not be established") // as the client has it if it hears at once
	if err == nil || !early && !strings.Contains(err.Error(), "ENHANCE_YOUR_CALM") {
		t.Errorf("%v, want a GOAWAY", err)
	}
	if got := srv.Stats().Refusals[503]; got == 0 { // the client may have tried twice
		t.Error("no refusal is counted")
	}
}
