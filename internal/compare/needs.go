package compare

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What a scenario may need of a server. Each but the echo is asked for with a flag of
// that name, and TLS with --cert FILE --key FILE.
const (
	echoes     = "echo"
	broadcasts = "broadcast" // each message to all connections
	speaksTLS  = "tls"
	deflates   = "deflate"  // each message by itself
	takesOver  = "takeover" // with those before it in mind
)

// canAll tells whether a server has what a scenario needs.
func (s *server) canAll(sc scenario) bool {
	return !slices.ContainsFunc(sc.needs, func(need string) bool { return !slices.Contains(s.can, need) })
}

// under gives a server as it is started for a scenario: with the flags for what that
// needs, at its command's end or where FLAGS stands in it. cert is for TLS.
func (s *server) under(sc scenario, cert certificate) *server {
	var needed []string
	for _, need := range sc.needs {
		switch need {
		case echoes:
		case speaksTLS:
			needed = append(needed, "--cert", cert.file, "--key", cert.key)
		default:
			needed = append(needed, "--"+need)
		}
	}
	started := *s
	if own := len(s.command) == 3 && s.command[0] == "sh"; own {
		line := strings.ReplaceAll(s.command[2], flagsWord, strings.Join(needed, " "))
		started.command = []string{"sh", "-c", line}
	} else {
		started.command = slices.Concat(s.command, needed)
	}
	return &started
}

// flagsWord in the command of somebody's own server says where its flags go, and that
// it has them all.
const flagsWord = "FLAGS"

// leaveOut has each server take part only in the scenarios whose needs it meets, and
// says which it does not.
func (s *study) leaveOut() {
	for i := range s.servers {
		o := &s.servers[i]
		var takes, not []string
		for _, sc := range s.scenarios {
			switch {
			case !o.takesPart(sc.name):
			case o.canAll(sc):
				takes = append(takes, sc.name)
			default:
				not = append(not, sc.name)
			}
		}
		if len(not) > 0 {
			o.scenarios = append(takes, nowhere) // never empty, which would be all
			s.note("%s takes no part in %s: it does not have what they need", o.name, strings.Join(not, ", "))
		}
	}
}

// nowhere is no scenario's name.
const nowhere = "-"

// certificate is one that signs itself, for 127.0.0.1, in two files.
type certificate struct{ file, key string }

// newCertificate makes one, as fast in a handshake as they come, in a folder.
func newCertificate(folder string) (c certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return c, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	c = certificate{filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")}
	if err := os.WriteFile(c.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		return c, err
	}
	return c, os.WriteFile(c.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}
