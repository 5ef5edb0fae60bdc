package cert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server/cert"
)

// TestRetried: what can not be read, or is not valid yet, is tried again without a
// change of the files, and the old one stays meanwhile.
func TestRetried(t *testing.T) {
	f := newFiles(t)
	f.renew("first")
	p, err := cert.Load(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step, name string, reloaded bool, is error) {
		t.Helper()
		got, err := p.ReloadIfChanged()
		if got != reloaded || !errors.Is(err, is) || nameOf(t, p) != name {
			t.Errorf("%s: reloaded %v, %v, %s; want %v, %v, %s", step, got, err, nameOf(t, p), reloaded, is, name)
		}
	}

	f.renew("second")
	content, err := os.ReadFile(f.key)
	if err != nil {
		t.Fatal(err)
	}
	stamp := f.clock
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	expect("no key", "first", false, fs.ErrNotExist)
	expect("still none", "first", false, fs.ErrNotExist)
	f.write(f.key, content)
	if err := os.Chtimes(f.key, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	expect("the key is there", "second", true, nil)
	expect("unchanged", "second", false, nil)

	certPEM, keyPEM := pairAt(t, "early", time.Now().Add(1500*time.Millisecond), time.Now().Add(time.Hour))
	f.write(f.cert, certPEM)
	f.write(f.key, keyPEM)
	expect("not valid yet", "second", false, cert.ErrNotYet)
	expect("not valid yet, again", "second", false, cert.ErrNotYet)
	for deadline := time.Now().Add(20 * time.Second); nameOf(t, p) == "second" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_, _ = p.ReloadIfChanged() // as expected above
	}
	if nameOf(t, p) != "early" {
		t.Error("it is valid now, and not taken")
	}
}

// TestWatchTellsOnce: a failure that lasts is told once, and again when the files are
// others; then that all is well.
func TestWatchTellsOnce(t *testing.T) {
	f := newFiles(t)
	f.renew("first")
	p, err := cert.Load(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan error, 1000)
	go p.Watch(ctx, time.Millisecond, func(err error) { told <- err })
	quiet := func() {
		t.Helper()
		for range 20 { // it looks meanwhile
			if _, err := p.ReloadIfChanged(); err == nil {
				t.Error("it is well")
			}
			time.Sleep(2 * time.Millisecond)
		}
		if len(told) > 0 {
			t.Errorf("told more than once: %v", <-told)
		}
	}
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("told %v", err)
	}
	quiet()
	f.write(f.cert, []byte("no PEM"))
	if err := <-told; err == nil {
		t.Error("told that it is well")
	}
	f.renew("second")
	for err := <-told; err != nil; err = <-told { // one file after the other
	}
	if nameOf(t, p) != "second" {
		t.Error(nameOf(t, p))
	}
}

// TestPool: authorities follow their file, and stay as they were while it is wrong.
func TestPool(t *testing.T) {
	f := newFiles(t)
	first, _ := pair(t, "first", -1, 1)
	second, _ := pair(t, "second", -1, 1)
	f.write(f.cert, first)
	p, err := cert.LoadPool(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	has := func(certPEM []byte) bool {
		block, _ := pem.Decode(certPEM)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Verify(x509.VerifyOptions{Roots: p.CertPool()})
		return err == nil
	}
	for _, step := range []struct {
		name, content string
		complains     string
		first, second bool
	}{
		{"two", "# ours\n" + string(first) + "# theirs\n" + string(second), "", true, true},
		{"cut off", string(first) + string(second[:len(second)/2]), "cut off", true, true},
		{"nothing", "", "no PEM certificate", true, true},
		{"garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x509", true, true},
		{"one", string(second), "", false, true},
	} {
		f.write(f.cert, []byte(step.content))
		_, err := p.ReloadIfChanged()
		if (err != nil) != (step.complains != "") || err != nil && !strings.Contains(err.Error(), step.complains) {
			t.Errorf("%s: %v, want %q", step.name, err, step.complains)
		}
		if got1, got2 := has(first), has(second); got1 != step.first || got2 != step.second {
			t.Errorf("%s: the first counts %v, the second %v", step.name, got1, got2)
		}
	}
	if _, err := cert.LoadPool(f.cert + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestMutual: a session is resumed as long as its client's authority counts, whatever
// is read anew meanwhile, and the client does not get in any more when it is out.
func TestMutual(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := newFiles(t)
		f.renew("server")
		p, err := cert.Load(f.cert, f.key)
		if err != nil {
			t.Fatal(err)
		}
		clientPEM, clientKey := pair(t, "client", -1, 1)
		otherPEM, _ := pair(t, "other", -1, 1)
		authorities := f.cert + ".clients"
		f.write(authorities, clientPEM)
		pool, err := cert.LoadPool(authorities)
		if err != nil {
			t.Fatal(err)
		}
		asking := &tls.Config{GetConfigForClient: cert.NewMutual(&tls.Config{MaxVersion: version}, p, pool).GetConfigForClient}
		own, err := tls.X509KeyPair(clientPEM, clientKey)
		if err != nil {
			t.Fatal(err)
		}
		client := &tls.Config{
			InsecureSkipVerify: true, Certificates: []tls.Certificate{own}, ServerName: "server",
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		expect := func(step string, in, resumed bool) {
			t.Helper()
			state, err := connect(asking, client)
			if (err == nil) != in || err == nil && state.DidResume != resumed {
				t.Errorf("%s, %s: %v, resumed %v; want in %v, resumed %v", tls.VersionName(version), step, err, state.DidResume, in, resumed)
			}
		}
		expect("first", true, false)
		expect("again", true, true)
		f.write(authorities, append(otherPEM, clientPEM...))
		if err := pool.Reload(); err != nil {
			t.Fatal(err)
		}
		expect("one more authority", true, true)
		f.renew("renewed")
		if err := p.Reload(); err != nil {
			t.Fatal(err)
		}
		expect("another certificate", true, true)
		f.write(authorities, otherPEM)
		if err := pool.Reload(); err != nil {
			t.Fatal(err)
		}
		expect("its authority is out", false, false)
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
