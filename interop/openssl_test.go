package interop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// openssl is an s_client under way: what is typed goes to the server, but for
// its commands, each a line of its own.
type openssl struct {
	t     *testing.T
	stdin io.WriteCloser
	done  chan struct{} // closed when it has ended

	mu      sync.Mutex
	printed strings.Builder
}

// Write implements io.Writer for what s_client prints.
func (o *openssl) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.printed.Write(p)
}

func (o *openssl) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.printed.String()
}

// startOpenSSL connects to a server. -msg has it print each handshake message.
func startOpenSSL(t *testing.T, p *peer, flags ...string) *openssl {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl: install Debian's package openssl")
	}
	flags = append([]string{"s_client", "-connect", strings.TrimPrefix(p.url, "wss://"), "-msg", "-verify_return_error"}, flags...)
	cmd := exec.Command("openssl", flags...)
	o := &openssl{t: t, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = o, o
	var err error
	if o.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // what went wrong it has printed
		close(o.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-o.done
	})
	return o
}

// expect waits until s_client has printed text so many times.
func (o *openssl) expect(text string, times int) {
	o.t.Helper()
	for end := time.Now().Add(patience); strings.Count(o.text(), text) < times; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			o.t.Fatalf("waited in vain for %q %d times; printed:\n%s", text, times, o.text())
		}
	}
}

// command types text in one write, or what is to be sent.
func (o *openssl) command(text string) {
	o.t.Helper()
	if _, err := io.WriteString(o.stdin, text); err != nil {
		o.t.Fatalf("%v; printed:\n%s", err, o.text())
	}
}

// upgrade waits for the handshake and makes the connection a WebSocket.
func (o *openssl) upgrade() {
	o.t.Helper()
	o.expect("Verify return code: 0 (ok)", 1)
	o.command("GET /echo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	o.expect("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1)
}

// echo has the server send back a word, which s_client prints.
func (o *openssl) echo(word string) {
	o.t.Helper()
	o.command("\x81" + string([]byte{0x80 | byte(len(word)), 0, 0, 0, 0}) + word)
	o.expect(word, 1)
}

func TestOpenSSLVersions(t *testing.T) {
	p, certificate := startSecurePeer(t, nil)
	for flag, version := range map[string]string{"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"} {
		o := startOpenSSL(t, p, "-CAfile", certificate, flag, "-servername", "example.com", "-alpn", "spdy,http/1.1")
		o.upgrade()
		o.echo("echoed")
		for _, want := range []string{"New, " + version, "ALPN protocol: http/1.1"} {
			o.expect(want, 1)
		}
		o.command("Q\n") // close_notify
		<-o.done
	}
	o := startOpenSSL(t, p, "-tls1_1", "-cipher", "ALL@SECLEVEL=0")
	<-o.done
	o.expect("alert protocol version", 1)
}

// TestOpenSSLKeyUpdate: either side's keys change in the midst of messages.
func TestOpenSSLKeyUpdate(t *testing.T) {
	p, certificate := startSecurePeer(t, nil)
	o := startOpenSSL(t, p, "-CAfile", certificate, "-tls1_3")
	o.upgrade()
	for i, command := range []string{"k\n", "K\n", "K\n", "k\n"} {
		o.command(command)
		o.expect("KEYUPDATE", i+1)
		o.echo("message" + string(rune('A'+i)))
	}
	if got := strings.Count(o.text(), "<<< TLS 1.3, Handshake [length 0005], KeyUpdate"); got != 2 {
		t.Errorf("the server changed its keys %d times, want 2; printed:\n%s", got, o.text())
	}
}

// TestOpenSSLRenegotiation: it is refused, which ends the connection.
func TestOpenSSLRenegotiation(t *testing.T) {
	p, certificate := startSecurePeer(t, nil)
	o := startOpenSSL(t, p, "-CAfile", certificate, "-tls1_2")
	o.upgrade()
	o.command("R\n")
	<-o.done
	o.expect("RENEGOTIATING", 1)
	o.expect("alert unexpected message", 1)
}

// TestOpenSSLResumption: sessions are resumed in both versions.
func TestOpenSSLResumption(t *testing.T) {
	p, certificate := startSecurePeer(t, nil)
	for _, flag := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(t.TempDir(), "session.pem")
		o := startOpenSSL(t, p, "-CAfile", certificate, flag, "-sess_out", session)
		o.upgrade()
		o.echo("first")
		o.command("Q\n")
		<-o.done
		o = startOpenSSL(t, p, "-CAfile", certificate, flag, "-sess_in", session)
		o.upgrade()
		o.echo("second")
		o.expect("Reused, TLSv1", 1)
	}
}

// newClientCertificate is a client's certificate, its own authority, and its key
// in files.
func newClientCertificate(t *testing.T, name string) (cert *x509.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", pkcs8)
}

// TestOpenSSLClientCertificate: the application knows the client by its
// certificate; who has none is refused.
func TestOpenSSLClientCertificate(t *testing.T) {
	client, certFile, keyFile := newClientCertificate(t, "client 7")
	names := make(chan string, 10)
	p, certificate := startSecurePeer(t, func(srv *server.Server) {
		srv.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
		srv.TLSConfig.ClientCAs = x509.NewCertPool()
		srv.TLSConfig.ClientCAs.AddCert(client)
		next := srv.Upgrade
		srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
			names <- r.TLSState.PeerCertificates[0].Subject.CommonName
			return next(r)
		}
	})
	for flag, alert := range map[string]string{"-tls1_2": "alert handshake failure", "-tls1_3": "alert certificate required"} {
		o := startOpenSSL(t, p, "-CAfile", certificate, flag, "-cert", certFile, "-key", keyFile)
		o.upgrade()
		o.echo("known")
		if got := <-names; got != "client 7" {
			t.Errorf("the client is %q", got)
		}
		o = startOpenSSL(t, p, "-CAfile", certificate, flag)
		<-o.done
		o.expect(alert, 1)
	}
}
