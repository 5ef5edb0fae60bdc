package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/millrace/millrace/internal/reload"
)

// Pool is the certificates of authorities in a PEM file, as they were when they were
// last read without an error. Its methods may be called from any goroutine.
type Pool struct{ files[x509.CertPool] }

// LoadPool reads a PEM file. One without certificates, or that is cut off within one,
// is an error.
func LoadPool(file string) (*Pool, error) {
	f, err := reload.Read([]string{file}, func() (*x509.CertPool, error) { return loadPool(file) })
	if err != nil {
		return nil, err
	}
	return &Pool{files[x509.CertPool]{f}}, nil
}

// CertPool is the last one that was read. It is not to be changed.
func (p *Pool) CertPool() *x509.CertPool { return p.from.Current() }

func loadPool(file string) (*x509.CertPool, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	pool, found := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		authority, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("cert: %s: %w", file, err)
		}
		pool.AddCert(authority)
		found++
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, fmt.Errorf("cert: %s is cut off, or no PEM, within a certificate", file)
	case found == 0:
		return nil, fmt.Errorf("cert: %s has no PEM certificate", file)
	}
	return pool, nil
}
