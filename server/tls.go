package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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
	config, err := s.tlsConfig(certFile, keyFile)
	if err != nil {
		return closeUnserved(ln, err)
	}
	return s.serve(&acceptor{ln: ln, tls: config})
}

// tlsConfig is a copy of TLSConfig with what is missing filled in.
func (s *Server) tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	config := s.TLSConfig.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	configured := len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil
	if !configured || certFile != "" || keyFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if len(config.NextProtos) == 0 {
		config.NextProtos = []string{"http/1.1"}
		if s.HTTP != nil {
			config.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	if s.HTTP == nil && slices.Contains(config.NextProtos, "h2") {
		return nil, errNoHTTP2
	}
	pauseInCallbacks(config)
	return config, nil
}

var errNoHTTP2 = errors.New(`server: TLSConfig.NextProtos has "h2", which only Server.HTTP serves, and that is nil`)

// pauseInCallbacks lets other handshakes compute while a callback runs, which may
// ask somebody else.
func pauseInCallbacks(config *tls.Config) {
	if get := config.GetCertificate; get != nil {
		config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			h := handshakesOf(hello.Conn)
			h.pause()
			defer h.compute()
			return get(hello)
		}
	}
	if get := config.GetConfigForClient; get != nil {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			h := handshakesOf(hello.Conn)
			h.pause()
			defer h.compute()
			return get(hello)
		}
	}
}

func handshakesOf(conn net.Conn) *handshakes {
	return &(*secure)(conn.(*transport)).server().handshakes
}

// detach hands the stream, which is established, to net/http: it goes on with
// conn, a blocking one, and may come back if it is given whole records. The caller
// holds Conn.mu.
func (s *secure) detach(conn net.Conn, whole bool) *tls.Conn {
	s.state = secureGone
	s.blocking = &blockingEnd{Conn: conn, whole: whole, raw: s.raw}
	if s.held() > 0 {
		s.blocking.held = slices.Clone(s.sealed.B[s.sent:])
	}
	s.raw = nil
	s.dropSealed()
	return s.tls
}
