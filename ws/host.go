package ws

import (
	"bytes"
	"fmt"
	"strings"
)

// PatternError says that a text is no pattern: it could never match.
type PatternError struct {
	Text string
	Want string // what it should be; completes "want"
}

// Error names the text and what is wanted.
func (e *PatternError) Error() string { return fmt.Sprintf("ws: %q: want %s", e.Text, e.Want) }

// HostPattern is a host that a server answers to, parsed by ParseHostPattern. The
// zero value matches none. It may be used by any goroutine.
type HostPattern struct {
	host hostPattern
	port uint16 // 0: any
}

const (
	wantHost = "a host as clients send it, such as example.com, *.example.com, 192.0.2.1 or [2001:db8::1], in ASCII (xn--... for other letters)"
	wantPort = "a port from 1 to 65535 behind the host"
)

// ParseHostPattern reads a pattern of hosts: "example.com", "192.0.2.1", "[::1]";
// "*.example.com", which is all names below example.com, of any depth and without
// itself; or "*", which is all. Letter case does not matter. With ":port" only that
// port matches, without one all do. The error is a [*PatternError].
func ParseHostPattern(text string) (HostPattern, error) {
	name, port, _ := cutPort(text)
	p, ok := parseHostPattern(name)
	if !ok || strings.Contains(port, "/") { // of a URL
		return HostPattern{}, &PatternError{text, wantHost}
	}
	n, ok := parsePort(port)
	if !ok {
		return HostPattern{}, &PatternError{text, wantPort}
	}
	return HostPattern{p, n}, nil
}

// AnyHost reports whether the pattern matches all names: "*". Such a pattern does not keep pages out whose
// name has been made to point here (DNS rebinding).
func (p HostPattern) AnyHost() bool { return p.host.kind == anyHost }

// HostIn reports whether the request is for a host in allowed. It goes by
// PublicHost; a request without a host is for none.
func (r *Request) HostIn(allowed []HostPattern) bool {
	host, port, ok := r.publicAuthority()
	if !ok {
		return false
	}
	for i := range allowed {
		if p := &allowed[i]; (p.port == 0 || p.port == port) && p.host.match(host) {
			return true
		}
	}
	return false
}

// PublicHost is the host, with its port if any, that the client asked for: what
// trusted proxies say of it (TrustForwarded), else Host.
func (r *Request) PublicHost() string {
	if r.publicPort == 0 {
		return string(r.publicHost())
	}
	host, port, ok := splitAuthority(r.publicHost())
	if !ok || port != 0 {
		return string(r.publicHost())
	}
	return fmt.Sprintf("%s:%d", host, r.publicPort)
}

func (r *Request) publicHost() []byte {
	if r.public != nil {
		return r.public
	}
	return r.host
}

// publicAuthority is PublicHost, taken apart. A port that is not named is that of the
// proxy, if it has told, else that of the scheme.
func (r *Request) publicAuthority() (host []byte, port uint16, ok bool) {
	host, port, ok = splitAuthority(r.publicHost())
	if port == 0 {
		port = r.publicPort
	}
	return host, portOr(port, r.TLS), ok
}

// hostPattern is one host, those below one, or all.
type hostPattern struct {
	kind hostKind
	name string // of one, or of what they are below
}

type hostKind uint8

const (
	noHost hostKind = iota // an empty one
	oneHost
	below
	anyHost
)

func parseHostPattern(text string) (p hostPattern, ok bool) {
	if text == "*" {
		return hostPattern{kind: anyHost}, true
	}
	p.kind = oneHost
	if p.name = text; strings.HasPrefix(text, "*.") {
		p.kind, p.name = below, text[len("*."):]
	}
	switch name := []byte(p.name); {
	case p.kind == oneHost && strings.HasPrefix(text, "["):
		return p, isIPv6(name)
	case p.kind == below && !labels(name):
		return p, false
	default:
		return p, isName(name) && !strings.ContainsAny(p.name, "*%")
	}
}

// match tells whether the pattern matches host, as splitAuthority gives it.
func (p *hostPattern) match(host []byte) bool {
	switch p.kind {
	case oneHost:
		return sameHost(host, p.name)
	case anyHost:
		return len(host) > 0
	case below:
		dot := len(host) - len(p.name) - 1
		return dot > 0 && host[dot] == '.' && equalFold(host[dot+1:], p.name) && labels(host[:dot])
	default:
		return len(host) == 0
	}
}

// labels tells whether a name is one or more labels with dots between, none empty.
func labels(name []byte) bool {
	return len(name) > 0 && name[0] != '.' && name[len(name)-1] != '.' && !bytes.Contains(name, []byte(".."))
}

// cutPort splits what stands behind a host's last colon off; an IPv6 address stands
// in brackets.
func cutPort(text string) (host, port string, found bool) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 || colon < strings.IndexByte(text, ']') {
		return text, "", false
	}
	return text[:colon], text[colon:], true
}

// parsePort reads nothing, which is 0, or a colon and a port.
func parsePort(text string) (port uint16, ok bool) {
	if text == "" {
		return 0, true
	}
	n, ok := parseDecimal([]byte(text[1:]), 1<<16-1)
	return uint16(n), ok && n > 0
}
