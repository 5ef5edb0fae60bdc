package compare

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/flags"
)

// What a scenario may need of a server. Each but the echo and event streams is asked for with a flag of
// that name, and TLS with --cert FILE --key FILE.
const (
	echoes     = "echo"
	broadcasts = "broadcast" // each message to all connections
	streams    = "events"    // and to all event streams, as a broadcast
	speaksTLS  = "tls"
	deflates   = "deflate"  // each message by itself
	takesOver  = "takeover" // with those before it in mind
)

// canAll tells whether a server has what a scenario needs.
func (s *server) canAll(sc scenario) bool {
	return !slices.ContainsFunc(sc.of(s).needs, func(need string) bool { return !slices.Contains(s.can, need) })
}

// of gives a scenario as a server is loaded under it: a limit without event streams has
// WebSockets in their place.
func (sc scenario) of(s *server) scenario {
	if !s.limit || slices.Contains(s.can, streams) || !slices.Contains(sc.needs, streams) {
		return sc
	}
	sc.needs = slices.DeleteFunc(slices.Clone(sc.needs), func(need string) bool { return need == streams })
	sc.load = slices.DeleteFunc(slices.Clone(sc.load), func(arg string) bool { return arg == "--event-streams" })
	return sc
}

// under gives a server as it is started for a scenario: with the flags for what that
// needs, at its command's end or where FLAGS stands in it. cert is for TLS.
func (s *server) under(sc scenario, cert certificate) *server {
	var needed []string
	for _, need := range sc.needs {
		switch need {
		case echoes, streams:
		case speaksTLS:
			needed = append(needed, "--cert", cert.file, "--key", cert.key)
		default:
			needed = append(needed, "--"+need)
		}
	}
	started := *s
	if own := len(s.command) == 3 && s.command[0] == "sh"; own {
		line := flagsHere.ReplaceAllLiteralString(s.command[2], flags.CommandLine(needed...))
		started.command = []string{"sh", "-c", line}
	} else {
		started.command = slices.Concat(s.command, needed)
	}
	return &started
}

// leaveOut leaves out the scenarios in which the first server takes no part, since ratios
// are to it. Each server takes part in those of the rest whose needs it meets, and one that
// meets none is left out. Notes say so. The error is that nothing is left.
func (s *study) leaveOut() error {
	first := s.servers[0]
	takes, _ := first.among(s.scenarios)
	var rest []scenario
	var gone []string
	for _, sc := range s.scenarios {
		if slices.Contains(takes, sc.name) {
			rest = append(rest, sc)
		} else {
			gone = append(gone, sc.name)
		}
	}
	if len(rest) == 0 {
		return fmt.Errorf("--scenarios: %s, to which ratios are, takes part in none of %s", first.name, strings.Join(gone, ", "))
	}
	if len(gone) > 0 {
		s.note("without %s: %s, to which ratios are, takes no part", strings.Join(gone, ", "), first.name)
	}
	var servers []server
	for _, o := range s.servers {
		takes, lacks := o.among(rest)
		if len(takes) == 0 {
			s.note("%s is left out: it takes part in none of the scenarios", o.name)
			continue
		}
		if len(takes) < len(rest) {
			o.scenarios = takes
		}
		if len(lacks) > 0 {
			s.note("%s takes no part in %s: it does not have what they need", o.name, strings.Join(lacks, ", "))
		}
		servers = append(servers, o)
	}
	s.scenarios, s.servers = rest, servers
	return nil
}

// among gives in which scenarios a server takes part, and in which it does not because it
// lacks what they need.
func (s *server) among(all []scenario) (takes, lacks []string) {
	for _, sc := range all {
		switch {
		case !s.takesPart(sc.name):
		case s.canAll(sc):
			takes = append(takes, sc.name)
		default:
			lacks = append(lacks, sc.name)
		}
	}
	return takes, lacks
}

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
