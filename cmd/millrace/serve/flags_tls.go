package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/cert"
)

// tlsOptions have the server speak TLS on its port.
type tlsOptions struct {
	certFile, keyFile, clientCA string
	minVersion                  uint16
	maxHandshakes               int
	http2                       bool

	pair      *cert.Pair // nil: plain
	clientCAs *cert.Pool // nil: clients need no certificate
}

func (t *tlsOptions) options() []flags.Option {
	versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	return []flags.Option{
		flags.New("tls-cert", "FILE", "speak TLS with this certificate, a PEM file with its chain behind it; read again on\n"+
			"SIGHUP and when it changes", "", flags.Text(&t.certFile)).Once(),
		flags.New("tls-key", "FILE", "the certificate's key, a PEM file", "", flags.Text(&t.keyFile)).Once(),
		flags.New("tls-client-ca", "FILE", "want a certificate of each client, signed by one of those in this PEM file; read\nagain as --tls-cert", "", flags.Text(&t.clientCA)).Once(),
		flags.New("tls-min-version", "VERSION", "least version of TLS: 1.2 or 1.3", "1.2", flags.Choice(&t.minVersion, versions, "1.2", "1.3")),
		flags.New("http2", "MODE", "offer HTTP/2 for pages: on or off", "on", flags.Choice(&t.http2, modes, "on", "off")),
		flags.New("max-tls-handshakes", "N", "TLS handshakes that run at once; the others wait for their turn, the address with the\nfewest first", "1024", flags.Whole(&t.maxHandshakes, 0, noMost)).Sets("Limits.TLSHandshakes"),
	}
}

func (t *tlsOptions) check(v flags.Values) error {
	switch {
	case t.clientCA != "" && t.certFile == "" && t.keyFile == "":
		return fmt.Errorf("%s says nothing without TLS: want --tls-cert and --tls-key too", v["tls-client-ca"].Source)
	case t.certFile != "" && t.keyFile == "":
		return fmt.Errorf("%s without --tls-key: TLS needs both files", v["tls-cert"].Source)
	case t.certFile == "" && t.keyFile != "":
		return fmt.Errorf("%s without --tls-cert: TLS needs both files", v["tls-key"].Source)
	}
	return nil
}

func (t *tlsOptions) apply(s *server.Server) (err error) {
	s.Limits.TLSHandshakes, s.DisableHTTP2 = t.maxHandshakes, !t.http2
	if t.certFile == "" {
		return nil
	}
	if t.pair, err = cert.Load(t.certFile, t.keyFile); err != nil {
		return t.pairError(err)
	}
	s.TLSConfig = &tls.Config{MinVersion: t.minVersion, GetCertificate: t.pair.GetCertificate}
	if t.clientCA == "" {
		return nil
	}
	if t.clientCAs, err = cert.LoadPool(t.clientCA); err != nil {
		return fmt.Errorf("--tls-client-ca: %w", err)
	}
	base := &tls.Config{MinVersion: t.minVersion, NextProtos: []string{"http/1.1"}}
	if t.http2 {
		base.NextProtos = []string{"h2", "http/1.1"}
	}
	s.TLSConfig.GetConfigForClient = cert.NewMutual(base, t.pair, t.clientCAs).GetConfigForClient
	return nil
}

// pairError says which file can't be read, or what is wrong with both.
func (t *tlsOptions) pairError(err error) error {
	var unread *fs.PathError
	switch {
	case !errors.As(err, &unread):
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
	case unread.Path == t.keyFile:
		return fmt.Errorf("--tls-key %s: %w", t.keyFile, unread.Err)
	}
	return fmt.Errorf("--tls-cert %s: %w", unread.Path, unread.Err)
}

// serve serves ln as configured.
func (t *tlsOptions) serve(s *server.Server, ln poller.Listener) error {
	if t.pair == nil {
		return s.Serve(ln)
	}
	return s.ServeTLS(ln, "", "")
}

// serveInherited is serve for a listener of net's.
func (t *tlsOptions) serveInherited(s *server.Server, ln net.Listener) error {
	if t.pair == nil {
		return s.ServeListener(ln)
	}
	return s.ServeListenerTLS(ln, "", "")
}

// scheme is that of the pages.
func (t *tlsOptions) scheme() string {
	if t.pair == nil {
		return "http"
	}
	return "https"
}
