package cert_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/server/cert"
)

// pair is a new self-signed certificate for name, valid for the hours from and to
// from now on, and its key, as PEM.
func pair(t *testing.T, name string, from, to int) (certPEM, keyPEM []byte) {
	t.Helper()
	now := time.Now()
	return pairAt(t, name, now.Add(time.Duration(from)*time.Hour), now.Add(time.Duration(to)*time.Hour))
}

func pairAt(t *testing.T, name string, from, to time.Time) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// files are the two of a pair in a folder of the test's.
type files struct {
	t         *testing.T
	cert, key string
	clock     time.Time
}

func newFiles(t *testing.T) *files {
	dir := t.TempDir()
	return &files{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), clock: time.Now().Add(-time.Hour)}
}

// write replaces a file; each time it is newer, also where the clock is coarse.
func (f *files) write(name string, content []byte) {
	f.t.Helper()
	f.clock = f.clock.Add(time.Second)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(name, f.clock, f.clock); err != nil {
		f.t.Fatal(err)
	}
}

// renew writes both files.
func (f *files) renew(name string) {
	f.t.Helper()
	certPEM, keyPEM := pair(f.t, name, -1, 1)
	f.write(f.cert, certPEM)
	f.write(f.key, keyPEM)
}

func nameOf(t *testing.T, p *cert.Pair) string {
	t.Helper()
	c, err := p.GetCertificate(nil)
	if err != nil || c != p.Certificate() {
		t.Fatal(c, err)
	}
	return c.Leaf.Subject.CommonName
}

// loaded is a pair that is called "first", with its files.
func loaded(t *testing.T) (*files, *cert.Pair) {
	t.Helper()
	f := newFiles(t)
	f.renew("first")
	p, err := cert.Load(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	return f, p
}

var errAny = errors.New("any error")

// expectLook looks whether the files have changed: after it the certificate has this name. is
// may be errAny.
func expectLook(t *testing.T, p *cert.Pair, step, name string, reloaded bool, is error) {
	t.Helper()
	got, err := p.ReloadIfChanged()
	right := errors.Is(err, is) || is == errAny && err != nil
	if got != reloaded || !right || nameOf(t, p) != name {
		t.Errorf("%s: reloaded %v, %v, %s; want %v, %v, %s", step, got, err, nameOf(t, p), reloaded, is, name)
	}
}

// connect has a client send a byte to a server and read one back.
func connect(server, client *tls.Config) (tls.ConnectionState, error) {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return // the client sees it
		}
		defer conn.Close()
		_, _ = io.CopyN(conn, conn, 1) // likewise
	}()
	conn, err := (&net.Dialer{Timeout: 20 * time.Second}).Dial("tcp", ln.Addr().String())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	secure := tls.Client(conn, client)
	if _, err = secure.Write([]byte("x")); err == nil {
		_, err = io.ReadFull(secure, make([]byte, 1))
	}
	return secure.ConnectionState(), err
}
