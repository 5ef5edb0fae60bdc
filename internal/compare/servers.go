package compare

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const modulePath = "github.com/millrace/millrace"

// server is one to compare.
type server struct {
	name string
	path string // of its URL
	// make builds it; nil: it is there.
	make func(*builder) (built, error)
	// command starts it, with LISTEN and PORT where its address goes.
	command []string
	version string // of what it is built from; "": not known
	// can are the loads that it is made for, which each have a flag of bench/peers: see
	// its README. Nil: not known.
	can []string
	// limit: it is no rival but a limit, and where receivers are to be event streams, which it
	// has not, they are WebSockets.
	limit bool
	// scenarios are the only ones that it takes part in; nil: all. One that has some
	// is compared when it is asked for, not by default.
	scenarios []string
}

// allLoads are what a server may be made for: echo is without a flag, events come with
// broadcast, and tls takes --cert and --key.
var allLoads = words("echo broadcast events tls deflate takeover")

var (
	serverName  = regexp.MustCompile(`^[A-Za-z0-9_.+-]+$`)
	placeholder = regexp.MustCompile(`\b(?:LISTEN|PORT)\b`)
	// flagsHere in the command of somebody's own server says where its flags go, and that
	// it has them all.
	flagsHere = regexp.MustCompile(`\bFLAGS\b`)
)

// parseServers takes servers separated by commas: names of known ones, or
// NAME=COMMAND, or NAME/PATH=COMMAND.
func parseServers(list string) ([]server, error) {
	var servers []server
	for text := range strings.SplitSeq(list, ",") {
		s, err := parseServer(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(servers, func(o server) bool { return o.name == s.name }) {
			return nil, fmt.Errorf("each server once, but %q is there twice: NAME=COMMAND gives it a name of its own", s.name)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func parseServer(text string) (server, error) {
	name, command, own := strings.Cut(text, "=")
	if !own {
		i := slices.IndexFunc(known, func(k server) bool { return k.name == text })
		if i < 0 {
			return server{}, fmt.Errorf("some of %s, or your own as NAME=COMMAND (without a comma), but %q is neither", knownNames(), text)
		}
		s := known[i]
		s.path = "/"
		return s, nil
	}
	name, path, _ := strings.Cut(name, "/")
	switch {
	case !serverName.MatchString(name):
		return server{}, fmt.Errorf("NAME=COMMAND with a name of letters, digits and -_.+, unlike %q", name)
	case !placeholder.MatchString(command):
		return server{}, fmt.Errorf("LISTEN (host:port) or PORT in the command of %q, where the address goes", name)
	}
	// The shell becomes the command, so that no process stands between.
	theirs := server{name: name, path: "/" + path, command: []string{"sh", "-c", "exec " + command}, can: words("echo")}
	if flagsHere.MatchString(command) {
		theirs.can = allLoads
	}
	return theirs, nil
}

func knownNames() string { return namesOf(known) }

// usual are the servers that are compared by default.
func usual() []server {
	return slices.DeleteFunc(slices.Clone(known), func(s server) bool { return s.scenarios != nil })
}

func namesOf(servers []server) string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

func (s *server) takesPart(scenario string) bool {
	return s.scenarios == nil || slices.Contains(s.scenarios, scenario)
}

// at gives the command for an address.
func (s *server) at(host, port string) []string {
	var argv []string
	for _, arg := range s.command {
		argv = append(argv, placeholder.ReplaceAllStringFunc(arg, func(p string) string {
			if p == "PORT" {
				return port
			}
			return host + ":" + port
		}))
	}
	return argv
}

// errNotCheckout says what is lacking to build servers, and what works without.
var errNotCheckout = errors.New("is not in a checkout of millrace (no go.mod of " + modulePath + " here or above); " +
	"go there, or give servers as NAME=COMMAND, which works everywhere")
