package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// authority makes certificates for the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

var testAuthority = sync.OnceValue(func() *authority {
	a := &authority{pool: x509.NewCertPool()}
	a.cert, a.key = sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	a.pool.AddCert(a.cert)
	return a
})

// sign completes the template and signs it with by, nil: itself.
func sign(template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, parentKey := template, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
}

// issue is a certificate for the names, for servers and clients.
func (a *authority) issue(names ...string) tls.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, key := sign(template, a)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

var serverCertificate = sync.OnceValue(func() tls.Certificate {
	return testAuthority().issue("example.com")
})

// withTLS has a server speak TLS on the listener that start opens, and does what
// configure says besides.
func withTLS(configure func(*server.Server)) func(*server.Server) {
	return func(s *server.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{serverCertificate()}}
		if configure != nil {
			configure(s)
		}
	}
}

// clientTLS is a client's configuration that trusts the tests' authority. Under the
// race detector it has no post-quantum key share: with P-256, whose assembly the detector
// does not watch, handshakes take half the CPU time.
func clientTLS() *tls.Config {
	config := &tls.Config{RootCAs: testAuthority().pool, ServerName: "example.com"}
	if slowedDown() {
		config.CurvePreferences = []tls.CurveID{tls.CurveP256}
	}
	return config
}

// startTLS is startServer with TLS, startTLSSim startSim.
func startTLS(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	return startServer(t, withTLS(configure))
}

func startTLSSim(t *testing.T, config simnet.Config, configure func(*server.Server)) (*simnet.Network, string, *server.Server) {
	t.Helper()
	return startSim(t, config, withTLS(configure))
}

// secured is a client over conn, after its handshake.
func secured(t testing.TB, conn net.Conn, config *tls.Config) (*client, *tls.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		_ = conn.Close()
		t.Fatalf("handshake: %v", err)
	}
	return newClient(t, secure), secure
}

// dialTLS connects to a server on real sockets; the first read or write does the
// handshake.
func dialTLS(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, tls.Client(conn, clientTLS()))
}

// dialTLSSim is dialTLS on a network in memory.
func dialTLSSim(t testing.TB, n *simnet.Network, addr string) *client {
	t.Helper()
	conn, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, tls.Client(conn, clientTLS()))
}

func onTLSSimnet(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
	n, addr, srv := startTLSSim(t, simnet.Config{}, configure)
	return func() *client { return dialTLSSim(t, n, addr) }, srv
}

func onTLSSockets(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
	addr, srv := startTLS(t, configure)
	return func() *client { return dialTLS(t, addr) }, srv
}

// serve serves ln, with TLS if the server has a configuration for it.
func serve(srv *server.Server, ln poller.Listener) error {
	if srv.TLSConfig != nil {
		return srv.ServeTLS(ln, "", "")
	}
	return srv.Serve(ln)
}
