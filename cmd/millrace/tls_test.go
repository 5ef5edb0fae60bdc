package main_test

import (
	"context"
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
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keyPair is a certificate in files, and its own authority.
type keyPair struct {
	cert, key string // names of the files
	pool      *x509.CertPool
	pair      tls.Certificate
}

// newKeyPair is a certificate for 127.0.0.1 that is over at the given time.
func newKeyPair(t *testing.T, name string, until time.Time) *keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	k := &keyPair{pool: x509.NewCertPool(), pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	dir := t.TempDir()
	k.cert = writeFile(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	k.key = writeFile(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	k.pool.AddCert(cert)
	return k
}

// moveTo replaces the files of another pair.
func (k *keyPair) moveTo(t *testing.T, other *keyPair) {
	t.Helper()
	for from, to := range map[string]string{k.cert: other.cert, k.key: other.key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// openTLS opens /echo with what the client's config says.
func openTLS(t *testing.T, addr string, config *tls.Config) *client {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	if status := c.upgrade("/echo"); status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d, want 101", status)
	}
	return c
}

func (c *client) echoes(text string) {
	c.t.Helper()
	c.send(fin|opText, text)
	c.expect(opText, text)
}

// TestTLS: pages over both versions of HTTP and the echo, on one port; a plain
// client is told.
func TestTLS(t *testing.T) {
	t.Parallel()
	k := newKeyPair(t, "millrace", inAnHour())
	p := serve(t, nil, "--tls-cert", k.cert, "--tls-key", k.key)
	openTLS(t, p.addr, &tls.Config{RootCAs: k.pool}).echoes(strings.Repeat("Grüße ", 30_000))
	for _, http2 := range []bool{false, true} {
		client := http.Client{Timeout: patience, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: k.pool}, ForceAttemptHTTP2: http2, DisableKeepAlives: true,
		}}
		for path, want := range map[string]string{"/": "<title>millrace</title>", "/readyz": "ready", "/metrics": "millrace_connections"} {
			resp, err := client.Get("https://" + p.addr + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if resp.Body.Close(); err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), want) || (resp.ProtoMajor == 2) != http2 {
				t.Errorf("%s: %s %s, %v, %.80q, want %q", path, resp.Proto, resp.Status, err, body, want)
			}
		}
	}
	if resp, body := fetch(t, "GET", "http://"+p.addr+"/"); resp.StatusCode != 400 || !strings.Contains(body, "HTTPS") {
		t.Errorf("plain HTTP: %s, %q", resp.Status, body)
	}
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, `msg="drain over"`)
}

// TestRenewedCertificate: new connections get the new certificate on SIGHUP, and
// by itself when the files change; a bad one is logged and changes nothing, and
// open connections go on.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	k := newKeyPair(t, "first", inAnHour())
	var log spoken
	p := serveTo(t, &log, nil, "--tls-cert", k.cert, "--tls-key", k.key)
	c := openTLS(t, p.addr, &tls.Config{RootCAs: k.pool})

	second := newKeyPair(t, "second", inAnHour())
	second.moveTo(t, k)
	p.signal(syscall.SIGHUP)
	p.expectCertificate("second")

	writeFile(t, k.cert, []byte("no PEM"))
	p.signal(syscall.SIGHUP)
	log.expect(t, "certificate not reloaded, the old one stays")
	third := newKeyPair(t, "third", inAnHour())
	p.expectCertificate("second")
	third.moveTo(t, k)
	p.expectCertificate("third") // looked at every 5 s

	c.echoes("still here")
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "")
}

// expectCertificate waits until a handshake shows the certificate of that name.
func (p *process) expectCertificate(name string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", p.addr)
		if err != nil {
			p.t.Fatalf("certificate %s does not come: %v", name, err)
		}
		got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
		if err := conn.Close(); err != nil {
			p.t.Fatal(err)
		}
		if got == name {
			return
		}
	}
}

// TestClientCertificates: with --tls-client-ca only those get in who have one of
// its certificates.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	k, client := newKeyPair(t, "server", inAnHour()), newKeyPair(t, "client", inAnHour())
	p := serve(t, nil, "--tls-cert", k.cert, "--tls-key", k.key, "--tls-client-ca", client.cert, "--tls-min-version", "1.3")
	openTLS(t, p.addr, &tls.Config{RootCAs: k.pool, Certificates: []tls.Certificate{client.pair}}).echoes("hello")
	show := func(pair tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	for alert, config := range map[string]*tls.Config{
		"certificate required":  {RootCAs: k.pool},
		"certificate authority": {RootCAs: k.pool, GetClientCertificate: show(k.pair)},
		"protocol version":      {RootCAs: k.pool, GetClientCertificate: show(client.pair), MaxVersion: tls.VersionTLS12},
	} {
		conn, err := tls.Dial("tcp", p.addr, config)
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // TLS 1.3: the server's judgement comes after
			_ = conn.Close()                    // by the server already
		}
		if err == nil || !strings.Contains(err.Error(), alert) {
			t.Errorf("want the alert %q, got %v", alert, err)
		}
	}
}

// TestTLSErrors: one line on stderr names the flag, the file and what is wrong.
func TestTLSErrors(t *testing.T) {
	t.Parallel()
	k, other := newKeyPair(t, "millrace", inAnHour()), newKeyPair(t, "other", inAnHour())
	expired := newKeyPair(t, "expired", time.Now().Add(-time.Hour))
	garbage := writeFile(t, filepath.Join(t.TempDir(), "garbage.pem"), []byte("no PEM"))
	for _, test := range []struct {
		flags []string
		words []string
	}{
		{[]string{"--tls-cert", k.cert + "x", "--tls-key", k.key}, []string{"--tls-cert " + k.cert + "x: no such file"}},
		{[]string{"--tls-cert", k.cert, "--tls-key", k.key + "x"}, []string{"--tls-key " + k.key + "x: no such file"}},
		{[]string{"--tls-cert", k.cert, "--tls-key", garbage}, []string{"--tls-cert", garbage, "PEM"}},
		{[]string{"--tls-cert", k.cert, "--tls-key", other.key}, []string{"--tls-key", "does not match"}},
		{[]string{"--tls-cert", expired.cert, "--tls-key", expired.key}, []string{expired.cert, "expired on "}},
		{[]string{"--tls-cert", k.cert, "--tls-key", k.key, "--tls-client-ca", garbage}, []string{"--tls-client-ca", garbage, "no PEM certificate"}},
	} {
		stdout, stderr, status := runToEnd(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0"}, test.flags...)...)
		expectCannotListen(t, stdout, stderr, status, test.words...)
	}
}

// TestBrowserTLS: Chromium gets the page over HTTP/2 and its WebSocket over TLS.
func TestBrowserTLS(t *testing.T) {
	b := startBrowser(t)
	k := newKeyPair(t, "millrace", inAnHour())
	p := serve(t, nil, "--tls-cert", k.cert, "--tls-key", k.key, "--deflate", "takeover")
	b.navigate("https://" + p.addr + "/")
	b.click("#connect")
	b.waitForText("#log", "connected to wss://"+p.addr+"/echo")
	for _, text := range []string{"Grüße", strings.Repeat("aus der Mühle ", 30)} {
		b.typeInto("#message", text+enter)
		b.waitForText("#log .received:last-child", strings.TrimSpace(text))
	}
	shoot(b, "4-tls.png")
	p.signal(syscall.SIGTERM)
	b.waitForText("#log .closed", "code 1001 server shutting down after ")
	p.expectStatus(0, `msg="drain over"`)
}

// TestTLSHTTP2Flag: HTTP/2 is not offered where it is switched off, by flag or for all
// of the process, and pages come over HTTP/1.1.
func TestTLSHTTP2Flag(t *testing.T) {
	t.Parallel()
	k := newKeyPair(t, "millrace", inAnHour())
	for name, test := range map[string]struct{ env, flags []string }{
		"flag":    {flags: []string{"--http2", "off"}},
		"GODEBUG": {env: []string{"GODEBUG=http2server=0"}},
	} {
		p := serve(t, test.env, append(test.flags, "--tls-cert", k.cert, "--tls-key", k.key)...)
		client := http.Client{Timeout: patience, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: k.pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		}}
		resp, err := client.Get("https://" + p.addr + "/readyz")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if resp.Body.Close(); resp.StatusCode != 200 || resp.ProtoMajor != 1 {
			t.Errorf("%s: %s over %s", name, resp.Status, resp.Proto)
		}
	}
}

// TestUnreadableKey: a pair that can not be read on SIGHUP, and then can, is taken
// without a further signal, and what happened is logged once each.
func TestUnreadableKey(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: a file is read again after five seconds")
	}
	t.Parallel()
	k := newKeyPair(t, "first", inAnHour())
	log := &spoken{}
	p := serveTo(t, log, nil, "--tls-cert", k.cert, "--tls-key", k.key)
	second := newKeyPair(t, "second", inAnHour())
	hidden := k.key + ".hidden"
	if err := errors.Join(os.Rename(second.cert, k.cert), os.Rename(second.key, hidden), os.Remove(k.key), os.Mkdir(k.key, 0o700)); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	const failed = "certificate not reloaded, the old one stays"
	log.expect(t, failed)
	p.expectCertificate("first")
	time.Sleep(6 * time.Second) // it is tried every 5 s
	if err := errors.Join(os.Remove(k.key), os.Rename(hidden, k.key)); err != nil {
		t.Fatal(err)
	}
	p.expectCertificate("second")
	log.expect(t, "certificate reloaded")
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "")
	if got := strings.Count(log.said(), failed); got != 1 {
		t.Errorf("the failure is logged %d times, want once", got)
	}
}

// TestRenewedClientCAs: the authorities of clients are read again on SIGHUP and when
// the file changes; one that is wrong changes nothing; who is out does not get in with
// an old session, and who is in stays.
func TestRenewedClientCAs(t *testing.T) {
	t.Parallel()
	k := newKeyPair(t, "server", inAnHour())
	old, other := newKeyPair(t, "old", inAnHour()), newKeyPair(t, "other", inAnHour())
	authorities := filepath.Join(t.TempDir(), "clients.pem")
	content := func(pairs ...*keyPair) (all []byte) {
		for _, pair := range pairs {
			one, err := os.ReadFile(pair.cert)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, one...)
		}
		return all
	}
	writeFile(t, authorities, content(old))
	log := &spoken{}
	p := serveTo(t, log, nil, "--tls-cert", k.cert, "--tls-key", k.key, "--tls-client-ca", authorities)
	config := func(pair *keyPair) *tls.Config {
		return &tls.Config{
			RootCAs: k.pool, Certificates: []tls.Certificate{pair.pair}, ServerName: "127.0.0.1",
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
	}
	before, after := config(old), config(other)
	open := openTLS(t, p.addr, before)
	resumed := openTLS(t, p.addr, before)
	if !resumed.Conn.(*tls.Conn).ConnectionState().DidResume {
		t.Error("a session was not resumed")
	}
	getsIn := func(config *tls.Config) bool {
		conn, err := tls.Dial("tcp", p.addr, config)
		if err == nil {
			_, err = conn.Write([]byte("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
			if err == nil {
				_, err = io.ReadAll(conn)
			}
			_ = conn.Close() // by the server already
		}
		return err == nil
	}
	if getsIn(after) {
		t.Error("a stranger gets in")
	}
	writeFile(t, authorities, []byte("no PEM"))
	p.signal(syscall.SIGHUP)
	const failed = "client CAs not reloaded, the old ones stay"
	log.expect(t, failed)
	if !getsIn(before) {
		t.Error("a wrong file keeps a client out")
	}
	writeFile(t, authorities, content(other))
	log.expect(t, "client CAs reloaded")
	if !getsIn(after) {
		t.Error("the new authority does not count")
	}
	if getsIn(before) {
		t.Error("a session of one whose authority is out is resumed")
	}
	open.echoes("still here")
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "")
}
