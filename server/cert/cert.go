// Package cert keeps a TLS certificate that is read again from its files when
// they change, so that a renewed certificate needs no restart. New handshakes get
// the new one; connections that are open are not touched.
package cert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Pair is a certificate and its key in two PEM files, as they were when they were
// last read without an error. Its methods may be called from any goroutine.
type Pair struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]

	mu   sync.Mutex // one reads at a time
	seen [2]stamp   // of the files when they were last read, successfully or not
}

// stamp tells whether a file is still the one that was read. It is of what a
// symbolic link leads to, which is how mounted secrets change.
type stamp struct {
	size int64
	at   time.Time
}

// Load reads a certificate, with its chain behind it, and its key. An error says
// which file is wrong; a certificate whose time is over, or has not begun, is one.
func Load(certFile, keyFile string) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile}
	if err := p.Reload(); err != nil {
		return nil, err
	}
	return p, nil
}

// GetCertificate is for tls.Config.GetCertificate: it answers the last certificate
// that was read, whatever the client asks for.
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.current.Load(), nil
}

// Certificate is the last one that was read.
func (p *Pair) Certificate() *tls.Certificate { return p.current.Load() }

// Reload reads the files. On an error the certificate stays as it was.
func (p *Pair) Reload() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reload()
}

func (p *Pair) reload() error {
	p.seen = p.stamps() // before they are read: a later change is seen
	read, err := load(p.certFile, p.keyFile)
	if err != nil {
		return err
	}
	p.current.Store(read)
	return nil
}

// ReloadIfChanged is Reload if a file has changed since it was last read. A pair
// of which only one file is new yet does not fit together: that is an error, and
// gone with the next change.
func (p *Pair) ReloadIfChanged() (reloaded bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stamps() == p.seen {
		return false, nil
	}
	if err := p.reload(); err != nil {
		return false, err
	}
	return true, nil
}

// Watch looks every period whether the files have changed, until ctx is done, and
// tells what came of it: nil after a new certificate was taken, or why it was not.
func (p *Pair) Watch(ctx context.Context, period time.Duration, tell func(error)) {
	look := time.NewTicker(period)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if reloaded, err := p.ReloadIfChanged(); reloaded || err != nil {
			tell(err)
		}
	}
}

// stamps are those of both files; one that is not there has the zero stamp.
func (p *Pair) stamps() (now [2]stamp) {
	for i, name := range [...]string{p.certFile, p.keyFile} {
		if info, err := os.Stat(name); err == nil {
			now[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return now
}

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
