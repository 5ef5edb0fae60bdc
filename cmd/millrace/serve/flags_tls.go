package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

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

func (t *tlsOptions) options() []option {
	versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	return []option{
		{"tls-cert", "FILE", "speak TLS with this certificate, a PEM file with its chain behind it; read again on\n" +
			"SIGHUP and when it changes", "", flags.Text(&t.certFile)},
		{"tls-key", "FILE", "the certificate's key, a PEM file", "", flags.Text(&t.keyFile)},
		{"tls-client-ca", "FILE", "want a certificate of each client, signed by one of those in this PEM file; read\nagain as --tls-cert", "", flags.Text(&t.clientCA)},
		{"tls-min-version", "VERSION", "least version of TLS: 1.2 or 1.3", "1.2", flags.Choice(&t.minVersion, versions, "1.2", "1.3")},
		{"http2", "WHEN", "offer HTTP/2 for pages: on or off", "on", flags.Choice(&t.http2, map[string]bool{"on": true, "off": false}, "on", "off")},
		{"max-tls-handshakes", "N", "TLS handshakes that run at once; the others wait for their turn, the address with the\nfewest first", "1024", flags.Whole(&t.maxHandshakes, 0, noMost)},
	}
}

func (t *tlsOptions) apply(s *server.Server) (err error) {
	s.Limits.TLSHandshakes, s.DisableHTTP2 = t.maxHandshakes, !t.http2
	switch {
	case t.certFile == "" && t.keyFile == "" && t.clientCA == "":
		return nil
	case t.certFile == "" || t.keyFile == "":
		return errors.New("--tls-cert, --tls-key: TLS needs both files")
	}
	if t.pair, err = cert.Load(t.certFile, t.keyFile); err != nil {
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
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

// serve serves ln as configured.
func (t *tlsOptions) serve(s *server.Server, ln poller.Listener) error {
	if t.pair == nil {
		return s.Serve(ln)
	}
	return s.ServeTLS(ln, "", "")
}

// scheme is that of the pages.
func (t *tlsOptions) scheme() string {
	if t.pair == nil {
		return "http"
	}
	return "https"
}

// certPeriod is how often the files are looked at.
const certPeriod = 5 * time.Second

// reloaded is what is read again.
type reloaded interface {
	Reload() error
	Watch(ctx context.Context, period time.Duration, tell func(error))
}

// renew reads the certificate, and the authorities of clients, again on SIGHUP and when
// their files change, and what can not be read until it can, until ctx is done. Without
// a certificate SIGHUP changes nothing.
func (t *tlsOptions) renew(ctx context.Context, hangups <-chan os.Signal, log *slog.Logger) {
	tells := map[reloaded]func(error){}
	if t.pair != nil {
		tells[t.pair] = func(err error) { t.tellPair(log, err) }
	}
	if t.clientCAs != nil {
		tells[t.clientCAs] = func(err error) { t.tellClientCAs(log, err) }
	}
	for files, tell := range tells {
		go files.Watch(ctx, certPeriod, tell)
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			if len(tells) == 0 {
				log.Info("nothing to reload", "why", "no --tls-cert")
			}
			for files, tell := range tells {
				tell(files.Reload())
			}
		}
	}()
}

func (t *tlsOptions) tellPair(log *slog.Logger, err error) {
	if err != nil {
		log.Error("certificate not reloaded, the old one stays", "err", err, "again", "until it can be read")
		return
	}
	log.Info("certificate reloaded", "file", t.certFile, "valid_until", t.pair.Certificate().Leaf.NotAfter)
}

func (t *tlsOptions) tellClientCAs(log *slog.Logger, err error) {
	if err != nil {
		log.Error("client CAs not reloaded, the old ones stay", "err", err, "again", "until they can be read")
		return
	}
	log.Info("client CAs reloaded", "file", t.clientCA)
}
