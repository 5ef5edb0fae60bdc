package cert_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
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

// TestReload: the certificate follows its files, and stays as it was while they
// are wrong, halfway renewed or gone.
func TestReload(t *testing.T) {
	f := newFiles(t)
	f.renew("first")
	p, err := cert.Load(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step, name string, reloaded, failed bool) {
		t.Helper()
		got, err := p.ReloadIfChanged()
		if got != reloaded || (err != nil) != failed || nameOf(t, p) != name {
			t.Errorf("%s: reloaded %v, %v, %s; want %v, failed %v, %s", step, got, err, nameOf(t, p), reloaded, failed, name)
		}
	}
	expect("unchanged", "first", false, false)
	f.renew("second")
	expect("renewed", "second", true, false)
	certPEM, keyPEM := pair(t, "third", -1, 1)
	f.write(f.cert, certPEM)
	expect("only the certificate is new", "second", false, true)
	expect("and is tried again", "second", false, true)
	f.write(f.key, keyPEM)
	expect("the key as well", "third", true, false)
	f.write(f.cert, []byte("no PEM"))
	expect("garbage", "third", false, true)
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	expect("no key", "third", false, true)
	if err := p.Reload(); !errors.Is(err, fs.ErrNotExist) || nameOf(t, p) != "third" {
		t.Errorf("Reload: %v, %s", err, nameOf(t, p))
	}
	f.renew("fourth")
	if err := p.Reload(); err != nil || nameOf(t, p) != "fourth" {
		t.Errorf("Reload: %v, %s", err, nameOf(t, p))
	}
}

// TestLink: secrets that are mounted change by a symbolic link that leads
// elsewhere.
func TestLink(t *testing.T) {
	f := newFiles(t)
	dir := filepath.Dir(f.cert)
	link := filepath.Join(dir, "current")
	at := func(name string) {
		t.Helper()
		folder := filepath.Join(dir, name)
		certPEM, keyPEM := pair(t, name, -1, 1)
		if err := errors.Join(os.Mkdir(folder, 0o700), os.RemoveAll(link), os.Symlink(folder, link)); err != nil {
			t.Fatal(err)
		}
		f.write(filepath.Join(folder, "tls.crt"), certPEM)
		f.write(filepath.Join(folder, "tls.key"), keyPEM)
	}
	at("old")
	p, err := cert.Load(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	at("new")
	if reloaded, err := p.ReloadIfChanged(); !reloaded || err != nil || nameOf(t, p) != "new" {
		t.Errorf("reloaded %v, %v, %s", reloaded, err, nameOf(t, p))
	}
}

func TestWatch(t *testing.T) {
	f := newFiles(t)
	f.renew("first")
	p, err := cert.Load(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told, over := make(chan error), make(chan struct{})
	go func() {
		p.Watch(ctx, time.Millisecond, func(err error) { told <- err })
		close(over)
	}()
	f.write(f.cert, []byte("no PEM"))
	if err := <-told; err == nil {
		t.Error("garbage was not told")
	}
	f.renew("second")
	for err := <-told; err != nil; err = <-told { // the certificate without its key, perhaps
	}
	if nameOf(t, p) != "second" {
		t.Error(nameOf(t, p))
	}
	cancel()
	<-over
}

func TestLoadErrors(t *testing.T) {
	good, goodKey := pair(t, "good", -1, 1)
	expired, expiredKey := pair(t, "expired", -2, -1)
	early, earlyKey := pair(t, "early", 1, 2)
	_, otherKey := pair(t, "other", -1, 1)
	for _, test := range []struct {
		name              string
		certPEM, keyPEM   []byte
		is                error
		want              string
		noCertificateFile bool
	}{
		{name: "no file", certPEM: good, keyPEM: goodKey, noCertificateFile: true, is: fs.ErrNotExist, want: "cert.pem"},
		{name: "no PEM", certPEM: []byte("x"), keyPEM: goodKey, want: "cert.pem"},
		{name: "the key of another", certPEM: good, keyPEM: otherKey, want: "does not match"},
		{name: "swapped", certPEM: goodKey, keyPEM: good, want: "switched"},
		{name: "expired", certPEM: expired, keyPEM: expiredKey, is: cert.ErrExpired, want: "expired on "},
		{name: "not yet", certPEM: early, keyPEM: earlyKey, is: cert.ErrNotYet, want: "not valid yet before "},
	} {
		f := newFiles(t)
		f.write(f.cert, test.certPEM)
		f.write(f.key, test.keyPEM)
		if test.noCertificateFile {
			if err := os.Remove(f.cert); err != nil {
				t.Fatal(err)
			}
		}
		p, err := cert.Load(f.cert, f.key)
		if p != nil || err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; want %v with %q", test.name, p, err, test.is, test.want)
		}
	}
}
