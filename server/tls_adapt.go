package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"slices"
)

// # What a tls.Config asks for
//
// Callbacks and keys of a configuration may ask somebody else and take their time.
// Meanwhile their handshake holds no share of the processors, so the others go on.
// That holds for what GetConfigForClient returns as well, which must not be changed:
// it is copied, in each handshake anew, since its owner may set new keys for session
// tickets at any time (tls.Config.SetSessionTicketKeys), which a copy that is kept
// would miss. Where none are set crypto/tls takes those of the listener's own
// configuration, so sessions are resumed whatever is returned.

// adaptTLS makes config, which is the server's own, fit it: nothing in it holds a
// share of the processors while it waits, and it offers HTTP/2 only if h2 says so.
func (s *Server) adaptTLS(config *tls.Config, h2 bool) {
	h := &s.handshakes
	config.NextProtos = offered(config.NextProtos, h2)
	config.Certificates = h.pausingKeys(config.Certificates)
	config.GetEncryptedClientHelloKeys = pausing(h, config.GetEncryptedClientHelloKeys)
	config.VerifyConnection = pausingCheck(h, config.VerifyConnection)
	if verify := config.VerifyPeerCertificate; verify != nil {
		config.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			h.shares.pause()
			defer h.shares.compute(nil)
			return verify(raw, chains)
		}
	}
	config.UnwrapSession = pausing2(h, config.UnwrapSession)
	config.WrapSession = pausing2(h, config.WrapSession)
	if get := pausing(h, config.GetCertificate); get != nil {
		config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := get(hello)
			return h.pausingKey(cert), err
		}
	}
	if get := pausing(h, config.GetConfigForClient); get != nil {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			own, err := get(hello)
			if err == nil && needsAdapting(own, h2) {
				own = own.Clone()
				s.adaptTLS(own, h2)
			}
			return own, err
		}
	}
}

// needsAdapting says whether adaptTLS would change what GetConfigForClient has
// returned.
func needsAdapting(config *tls.Config, h2 bool) bool {
	if config == nil {
		return false
	}
	return config.GetCertificate != nil || config.GetEncryptedClientHelloKeys != nil || config.VerifyPeerCertificate != nil ||
		config.VerifyConnection != nil || config.UnwrapSession != nil || config.WrapSession != nil ||
		!h2 && slices.Contains(config.NextProtos, protoHTTP2) ||
		slices.ContainsFunc(config.Certificates, func(cert tls.Certificate) bool { return mayWait(cert.PrivateKey) })
}

// offered is what of protos can be served. Who wants nothing but HTTP/2 hears that
// there is none.
func offered(protos []string, h2 bool) []string {
	if h2 || !slices.Contains(protos, protoHTTP2) {
		return protos
	}
	served := slices.DeleteFunc(slices.Clone(protos), func(proto string) bool { return proto == protoHTTP2 })
	if len(served) == 0 {
		served = []string{protoHTTP1}
	}
	return served
}

// pausing is f without a share of the processors; nil stays nil.
func pausing[A, R any](h *handshakes, f func(A) (R, error)) func(A) (R, error) {
	if f == nil {
		return nil
	}
	return func(a A) (R, error) {
		h.shares.pause()
		defer h.shares.compute(nil)
		return f(a)
	}
}

func pausing2[A, B, R any](h *handshakes, f func(A, B) (R, error)) func(A, B) (R, error) {
	if f == nil {
		return nil
	}
	return func(a A, b B) (R, error) {
		h.shares.pause()
		defer h.shares.compute(nil)
		return f(a, b)
	}
}

func pausingCheck[A any](h *handshakes, f func(A) error) func(A) error {
	if f == nil {
		return nil
	}
	return func(a A) error {
		h.shares.pause()
		defer h.shares.compute(nil)
		return f(a)
	}
}

// mayWait says whether a key may ask somebody else for its signatures, such as a
// hardware module or a service.
func mayWait(key crypto.PrivateKey) bool {
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, pausingSigner, pausingDecrypter:
		return false
	}
	_, signs := key.(crypto.Signer)
	return signs
}

func (h *handshakes) pausingKeys(certs []tls.Certificate) []tls.Certificate {
	if !slices.ContainsFunc(certs, func(cert tls.Certificate) bool { return mayWait(cert.PrivateKey) }) {
		return certs
	}
	own := slices.Clone(certs)
	for i := range own {
		own[i] = *h.pausingKey(&own[i])
	}
	return own
}

// pausingKey is cert with a key that holds no share of the processors, if it may
// wait.
func (h *handshakes) pausingKey(cert *tls.Certificate) *tls.Certificate {
	if cert == nil || !mayWait(cert.PrivateKey) {
		return cert
	}
	own := *cert
	signer := pausingSigner{cert.PrivateKey.(crypto.Signer), h}
	own.PrivateKey = signer
	if decrypter, ok := cert.PrivateKey.(crypto.Decrypter); ok {
		own.PrivateKey = pausingDecrypter{signer, decrypter}
	}
	return &own
}

// pausingSigner is a key that signs without a share of the processors.
type pausingSigner struct {
	crypto.Signer
	h *handshakes
}

// Sign implements crypto.Signer.
func (s pausingSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.h.shares.pause()
	defer s.h.shares.compute(nil)
	return s.Signer.Sign(rand, digest, opts)
}

// SignMessage implements crypto.MessageSigner, which the key may be.
func (s pausingSigner) SignMessage(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.h.shares.pause()
	defer s.h.shares.compute(nil)
	return crypto.SignMessage(s.Signer, rand, message, opts)
}

// pausingDecrypter is one that decrypts as well, for the key exchange with RSA.
type pausingDecrypter struct {
	pausingSigner
	decrypter crypto.Decrypter
}

// Decrypt implements crypto.Decrypter.
func (d pausingDecrypter) Decrypt(rand io.Reader, message []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	d.h.shares.pause()
	defer d.h.shares.compute(nil)
	return d.decrypter.Decrypt(rand, message, opts)
}
