package cert

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
)

// Mutual is for servers that want a certificate of each client: its GetConfigForClient
// goes into a tls.Config, and answers one that has a Pair and a Pool as they are then.
// A session is not resumed once the authority of its client is out of the Pool. Its
// methods may be called from any goroutine.
type Mutual struct {
	base      *tls.Config
	pair      *Pair
	clientCAs *Pool
	current   atomic.Pointer[mutual]
}

// mutual is a configuration and what it was made of.
type mutual struct {
	cert   *tls.Certificate
	pool   *x509.CertPool
	config *tls.Config
}

// NewMutual takes all else from base, of which it keeps a copy. Without ClientAuth
// there it is tls.RequireAndVerifyClientCert. Sessions last when files change: their
// keys are base's, or, if it has none, of the tls.Config that asks.
func NewMutual(base *tls.Config, pair *Pair, clientCAs *Pool) *Mutual {
	base = base.Clone()
	base.GetCertificate, base.GetConfigForClient = nil, nil
	if base.ClientAuth == tls.NoClientCert {
		base.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return &Mutual{base: base, pair: pair, clientCAs: clientCAs}
}

// GetConfigForClient is for tls.Config.GetConfigForClient. It answers the same
// configuration until a file was read anew.
func (m *Mutual) GetConfigForClient(*tls.ClientHelloInfo) (*tls.Config, error) {
	now := mutual{cert: m.pair.Certificate(), pool: m.clientCAs.CertPool()}
	if last := m.current.Load(); last != nil && last.cert == now.cert && last.pool == now.pool {
		return last.config, nil
	}
	now.config = m.base.Clone()
	now.config.Certificates = []tls.Certificate{*now.cert}
	now.config.ClientCAs = now.pool
	m.current.Store(&now) // two at once make the same
	return now.config, nil
}
