package natstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/millrace/millrace/pubsub/nats"
)

// certificates are an authority's, for a server and a client.
type certificates struct {
	server, client            *tls.Config
	caFile, certFile, keyFile string // of the client
}

// newTLS makes them: the server wants the client's.
func newTLS(t testing.TB) certificates {
	t.Helper()
	caKey, ca := newCertificate(t, nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	pair := func() (tls.Certificate, string, string) {
		key, cert := newCertificate(t, caKey, ca)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		certPEM, keyPEM := pemOf("CERTIFICATE", cert.Raw), pemOf("PRIVATE KEY", der)
		p, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
		if err != nil {
			t.Fatal(err)
		}
		return p, file(t, "cert.pem", certPEM), file(t, "key.pem", keyPEM)
	}
	server, _, _ := pair()
	client, certFile, keyFile := pair()
	return certificates{
		server: &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
		client: &tls.Config{Certificates: []tls.Certificate{client}, RootCAs: pool},
		caFile: file(t, "ca.pem", pemOf("CERTIFICATE", ca.Raw)), certFile: certFile, keyFile: keyFile,
	}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// newCertificate makes one that an authority has signed, or, of nil, an authority's own.
func newCertificate(t testing.TB, signer *ecdsa.PrivateKey, parent *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: parent == nil,
	}
	if parent == nil {
		signer, parent = key, template
		template.KeyUsage = x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newCredentials gives what a server trusts, a file with a user's credentials, and one of a user that another
// operator has let in.
func newCredentials(t testing.TB) (change func(*natsserver.Options), right, wrong string) {
	t.Helper()
	operator := func() (*jwt.OperatorClaims, *natsserver.MemAccResolver, string) {
		operatorKey, accountKey, userKey := must[nkeys.KeyPair](t)(nkeys.CreateOperator()), must[nkeys.KeyPair](t)(nkeys.CreateAccount()), must[nkeys.KeyPair](t)(nkeys.CreateUser())
		public := func(k nkeys.KeyPair) string { return must[string](t)(k.PublicKey()) }
		claims := must[*jwt.OperatorClaims](t)(jwt.DecodeOperatorClaims(must[string](t)(jwt.NewOperatorClaims(public(operatorKey)).Encode(operatorKey))))
		resolver := &natsserver.MemAccResolver{}
		if err := resolver.Store(public(accountKey), must[string](t)(jwt.NewAccountClaims(public(accountKey)).Encode(operatorKey))); err != nil {
			t.Fatal(err)
		}
		user := must[string](t)(jwt.NewUserClaims(public(userKey)).Encode(accountKey))
		creds := must[[]byte](t)(jwt.FormatUserConfig(user, must[[]byte](t)(userKey.Seed())))
		return claims, resolver, file(t, "user.creds", string(creds))
	}
	claims, resolver, right := operator()
	_, _, wrong = operator()
	return func(o *natsserver.Options) {
		o.JetStream, o.TrustedOperators, o.AccountResolver = false, []*jwt.OperatorClaims{claims}, resolver
	}, right, wrong
}

// newNKey gives a user that a server knows, and a file with the seed.
func newNKey(t testing.TB) (*natsserver.NkeyUser, string) {
	t.Helper()
	key := must[nkeys.KeyPair](t)(nkeys.CreateUser())
	return &natsserver.NkeyUser{Nkey: must[string](t)(key.PublicKey())}, file(t, "user.nk", string(must[[]byte](t)(key.Seed())))
}

// TestSecure: a node is known by each way that NATS has, by TLS or without, in the library and by flags; and connects again
// by it.
func TestSecure(t *testing.T) {
	t.Parallel()
	certs := newTLS(t)
	operator, right, wrong := newCredentials(t)
	nkey, seed := newNKey(t)
	_, otherSeed := newNKey(t)
	password, token := file(t, "password", "pass word\n"), file(t, "token", "tok\n")
	for name, tt := range map[string]struct {
		server func(*natsserver.Options)
		right  nats.Options
		wrong  nats.Options
		flags  []string
	}{
		"TLS with certificates": {
			func(o *natsserver.Options) { o.TLS, o.TLSVerify, o.TLSConfig = true, true, certs.server },
			nats.Options{TLS: certs.client}, nats.Options{TLS: &tls.Config{RootCAs: certs.client.RootCAs}},
			[]string{"--nats-ca", certs.caFile, "--nats-cert", certs.certFile, "--nats-key", certs.keyFile},
		},
		"TLS and a password": {
			func(o *natsserver.Options) {
				o.TLS, o.TLSConfig, o.Username, o.Password = true, &tls.Config{Certificates: certs.server.Certificates}, "me", "pass word"
			},
			nats.Options{TLS: certs.client, User: "me", Password: "pass word"}, nats.Options{TLS: certs.client, User: "me", Password: "password"},
			[]string{"--nats-ca", certs.caFile, "--nats-user", "me", "--nats-password-file", password},
		},
		"credentials": {operator, nats.Options{Credentials: right}, nats.Options{Credentials: wrong}, []string{"--nats-creds", right}},
		"an nkey": {
			func(o *natsserver.Options) { o.Nkeys = []*natsserver.NkeyUser{nkey} },
			nats.Options{NKey: seed}, nats.Options{NKey: otherSeed}, []string{"--nats-nkey", seed},
		},
		"a token": {
			func(o *natsserver.Options) { o.Authorization = "tok" },
			nats.Options{Token: "tok"}, nats.Options{Token: "kot"}, []string{"--nats-token-file", token},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, tt.server)
			for _, o := range []*nats.Options{&tt.right, &tt.wrong} {
				o.URLs, o.Prefix, o.Logger = []string{s.url()}, "millrace", quiet()
			}
			expectKnown(t, s, tt.right, tt.flags)
			bad := nats.New(tt.wrong)
			if err := bad.Start(&node{}); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("let in: %v", err)
			}
			if err := bad.Close(); err != nil {
				t.Error(err)
			}
			if got := serveFails(t, "--nats", s.url()+","+s.url(), "--nats-user", "nobody", "--nats-password-file", token); strings.Contains(got, "\n") {
				t.Errorf("%q", got)
			}
		})
	}
}

// expectKnown wants a node of the library and one of the program to be connected, and again behind an end of that.
func expectKnown(t *testing.T, s *natsServer, o nats.Options, flags []string) {
	t.Helper()
	n, m := startNode(t, o), startServe(t, append([]string{"--nats", s.url()}, flags...)...)
	n.want("a")
	publish := "http://" + m.addr + "/topics/a"
	askFor(t, "200 ", "POST", publish, "1")
	n.expect("a", "1")
	s.cut()
	eventually(t, "a new connection", func() bool { return n.Stats().Lost > 0 && n.Stats().Connected })
	n.Position("a")
	askFor(t, `"connections_lost":1`, "GET", "http://"+m.admin+"/debug/nodes", "")
	askFor(t, "200 ", "POST", publish, "2")
	n.expect("a", "1", "2")
}
