package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/millrace/millrace/poller"
)

// ListenAndServeTLS is ListenAndServe for TLS connections; for the files see
// ServeTLS. Without Addr it listens on ":8443".
func (s *Server) ListenAndServeTLS(certFile, keyFile string) error {
	if err := s.start(); err != nil {
		return err
	}
	ln, err := s.listenAt(cmp.Or(s.Addr, ":8443"))
	if err != nil {
		return err
	}
	return s.ServeTLS(ln, certFile, keyFile)
}

// ServeTLS is Serve for connections that speak TLS from their first byte, with
// TLSConfig. The files hold the certificate, with its chain behind it, and its
// key, as PEM; "" if TLSConfig has Certificates, GetCertificate or
// GetConfigForClient. They are read once: package server/cert reads them again
// when they change.
//
// A connection that is not upgraded goes to HTTP, as on a plain listener; one that
// has agreed on "h2" does so at once.
func (s *Server) ServeTLS(ln poller.Listener, certFile, keyFile string) error {
	config, _, err := s.tlsConfigs(certFile, keyFile)
	if err != nil {
		return closeUnserved(ln, err)
	}
	return s.serve(ln, config)
}

// tlsConfigs are copies of TLSConfig with what is missing filled in: for connections
// whose handshake goes on beside a loop, and for those that goroutines carry.
func (s *Server) tlsConfigs(certFile, keyFile string) (onLoops, elsewhere *tls.Config, err error) {
	config := s.TLSConfig.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	configured := len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil
	if !configured || certFile != "" || keyFile != "" {
		if certFile == "" || keyFile == "" {
			return nil, nil, errNoCertificate
		}
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("server: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if s.HTTP == nil && !s.EventStreams && slices.Contains(config.NextProtos, protoHTTP2) {
		return nil, nil, errNoHTTP2
	}
	h2 := s.servesHTTP2()
	if len(config.NextProtos) == 0 {
		config.NextProtos = []string{protoHTTP2, protoHTTP1}
	}
	elsewhere = config.Clone()
	elsewhere.NextProtos = offered(config.NextProtos, h2)
	s.adaptTLS(config, h2)
	return config, elsewhere, nil
}

// What ALPN calls them (RFC 7301 section 6, RFC 9113 section 3.2).
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

var errNoHTTP2 = errors.New(`server: TLSConfig.NextProtos has "h2", which only Server.HTTP and Server.EventStreams serve, and neither is set`)

// servesHTTP2 says whether a connection that agrees on HTTP/2 finds somebody who
// speaks it.
func (s *Server) servesHTTP2() bool {
	return (s.HTTP != nil || s.EventStreams) && !s.DisableHTTP2 && netHTTPServesHTTP2()
}

// netHTTPServesHTTP2 asks net/http itself: GODEBUG=http2server=0 or a build tag
// keep it from serving HTTP/2.
func netHTTPServesHTTP2() bool {
	probe := &http.Server{}
	_ = probe.Serve(noListener{}) // what it speaks is settled before it fails
	return probe.TLSNextProto[protoHTTP2] != nil
}

var errNoCertificate = errors.New("server: TLS needs two files, a certificate and its key, or TLSConfig with a certificate")
