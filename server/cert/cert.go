// Package cert keeps a TLS certificate, and the authorities of clients' certificates,
// that are read again from their files when these change, so that a renewal needs no
// restart. New handshakes get the new ones; connections that are open are not touched.
// What can not be read, or does not hold yet, is tried again until it does, and the old
// one stays meanwhile.
package cert

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/millrace/millrace/internal/reload"
)

// Pair is a certificate and its key in two PEM files, as they were when they were
// last read without an error. Its methods may be called from any goroutine.
type Pair struct{ files[tls.Certificate] }

// Load reads a certificate, with its chain behind it, and its key. An error says
// which file is wrong; a certificate whose time is over, or has not begun, is one.
func Load(certFile, keyFile string) (*Pair, error) {
	f, err := reload.Read([]string{certFile, keyFile}, func() (*tls.Certificate, error) { return load(certFile, keyFile) })
	if err != nil {
		return nil, err
	}
	return &Pair{files[tls.Certificate]{f}}, nil
}

// GetCertificate is for tls.Config.GetCertificate: it answers the last certificate
// that was read, whatever the client asks for.
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.from.Current(), nil
}

// Certificate is the last one that was read.
func (p *Pair) Certificate() *tls.Certificate { return p.from.Current() }

func load(certFile, keyFile string) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("cert: %s and %s: %w", certFile, keyFile, err)
	}
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("cert: %s: %w on %s", certFile, ErrExpired, pair.Leaf.NotAfter.Format(time.DateOnly))
	case now.Before(pair.Leaf.NotBefore):
		return nil, fmt.Errorf("cert: %s: %w before %s", certFile, ErrNotYet, pair.Leaf.NotBefore.Format(time.DateOnly))
	}
	return &pair, nil
}

var (
	// ErrExpired: the certificate's time is over. Test it with errors.Is.
	ErrExpired = errors.New("the certificate has expired")
	// ErrNotYet: the certificate's time has not begun. Test it with errors.Is.
	ErrNotYet = errors.New("the certificate is not valid yet")
)
