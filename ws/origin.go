package ws

import (
	"bytes"
	"net/netip"
	"strings"
)

// origin is the serialized origin of RFC 6454 section 6.2, parsed.
type origin struct {
	scheme []byte // as it was sent
	host   []byte // may be empty, but on the web: file://
	port   uint16 // the scheme's own if none is named; 0: it has none
}

func parseOrigin(p []byte) (o origin, ok bool) {
	scheme, authority, found := bytes.Cut(p, []byte("://"))
	if !found || !isScheme(scheme) {
		return origin{}, false
	}
	own, web := defaultPort(scheme)
	o.scheme = scheme
	if len(authority) == 0 {
		return o, !web
	}
	if o.host, o.port, ok = splitAuthority(authority); o.port == 0 {
		o.port = own
	}
	return o, ok
}

// isScheme reports whether p is a scheme (RFC 3986 section 3.1).
func isScheme[T []byte | string](p T) bool {
	for i := range len(p) {
		if b := p[i]; !isAlpha(b) && (i == 0 || !isDigit(b) && b != '+' && b != '-' && b != '.') {
			return false
		}
	}
	return len(p) > 0
}

// portOr gives the port of the scheme if none was named.
func portOr(port uint16, secure bool) uint16 {
	switch {
	case port != 0:
		return port
	case secure:
		return 443
	default:
		return 80
	}
}

// sameHost compares names in any letter case, and IPv6 addresses in any
// spelling.
func sameHost[A, B []byte | string](a A, b B) bool {
	if equalFold(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || a[0] != '[' || b[0] != '[' {
		return false
	}
	x, errX := netip.ParseAddr(string(a[1 : len(a)-1]))
	y, errY := netip.ParseAddr(string(b[1 : len(b)-1]))
	return errX == nil && errY == nil && x == y
}

// SameOrigin reports whether the request may come from a page of this server:
// it has no Origin, so no browser sent it, or the scheme, host and port of its
// Origin are those that the client asked for, which are TLS and PublicHost. "null",
// a malformed Origin and several ones are false (RFC 6454, RFC 6455 section 10.2).
func (r *Request) SameOrigin() bool {
	value, lines := r.first("Origin")
	if lines == 0 {
		return true
	}
	from, ok := parseOrigin(value)
	if !ok || lines > 1 {
		return false
	}
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	host, port, ok := r.publicAuthority()
	return ok && equalFold(from.scheme, scheme) && from.port == port && sameHost(from.host, host)
}

// OriginPattern is an origin, or many, that may connect, parsed by
// ParseOriginPattern. The zero value matches none. It may be used by any goroutine.
type OriginPattern struct {
	kind    originKind
	scheme  string // for all below; any letter case
	host    hostPattern
	port    uint16 // the scheme's own if none is named; 0: it has none
	anyPort bool
}

// AnyPage reports whether anybody can make a page that the pattern matches: "*", "null",
// "http://*" and "https://*". Such a pattern must not let in who counts as a user by a cookie.
func (p OriginPattern) AnyPage() bool {
	_, web := defaultPort([]byte(p.scheme))
	return p.kind == all || p.kind == null || p.kind == named && web && p.host.kind == anyHost
}

type originKind uint8

const (
	noOrigin originKind = iota
	named
	null
	all
)

const (
	wantOrigin = "an origin as browsers send it, such as https://example.com, https://*.example.com, http://localhost:*, " +
		"capacitor://localhost, chrome-extension://ID or file://; or null; or * for all"
	wantOriginHost = "behind the scheme " + wantHost + ", or * for any"
	wantOriginPort = "a port from 1 to 65535, or * for any, behind the host"
	wantNoPath     = "an origin without a path or anything else behind the host, such as https://example.com"
)

// ParseOriginPattern reads a pattern of origins:
//
//   - "https://example.com", with ":port" unless it is the scheme's own, or with ":*"
//     for any port.
//   - "https://*.example.com": all names below example.com, of any depth, without
//     example.com itself. "https://*" is any host.
//   - Other schemes by name: "capacitor://localhost", "chrome-extension://ID",
//     "moz-extension://*", "app://.", "file://". They have no port of their own.
//   - "null", which browsers send for pages that have no origin, such as files and
//     sandboxed frames: anybody can make such a page.
//   - "*": all.
//
// Letter case does not matter, but of null. Names are compared as they are sent, in
// ASCII (xn--...). The error is a [*PatternError].
func ParseOriginPattern(text string) (OriginPattern, error) {
	switch text {
	case "*":
		return OriginPattern{kind: all}, nil
	case "null":
		return OriginPattern{kind: null}, nil
	}
	scheme, authority, found := strings.Cut(text, "://")
	if !found || !isScheme(scheme) {
		return OriginPattern{}, &PatternError{text, wantOrigin}
	}
	if strings.ContainsAny(authority, "/?#") {
		return OriginPattern{}, &PatternError{text, wantNoPath}
	}
	p, want := parseAuthorityPattern(scheme, authority)
	if want != "" {
		return OriginPattern{}, &PatternError{text, want}
	}
	return p, nil
}

// parseAuthorityPattern goes on behind the scheme. want is empty if all is right.
func parseAuthorityPattern(scheme, authority string) (p OriginPattern, want string) {
	own, web := defaultPort([]byte(scheme))
	p = OriginPattern{kind: named, scheme: scheme}
	if authority == "" && !web {
		return p, ""
	}
	name, port, _ := cutPort(authority)
	var ok bool
	if p.host, ok = parseHostPattern(name); !ok {
		return p, wantOriginHost
	}
	if port == ":*" {
		p.anyPort = true
		return p, ""
	}
	if p.port, ok = parsePort(port); !ok {
		return p, wantOriginPort
	}
	if p.port == 0 {
		p.port = own
	}
	return p, ""
}

func (p *OriginPattern) match(o origin) bool {
	return p.kind == named && (p.anyPort || p.port == o.port) && equalFold(o.scheme, p.scheme) && p.host.match(o.host)
}

// OriginIn reports whether the request has no Origin or one that is in allowed.
// Several Origins, and one that is malformed, are in "*" only.
func (r *Request) OriginIn(allowed []OriginPattern) bool {
	value, lines := r.first("Origin")
	if lines == 0 {
		return true
	}
	from, ok := parseOrigin(value)
	for i := range allowed {
		switch p := &allowed[i]; {
		case p.kind == all:
			return true
		case lines > 1:
		case p.kind == null && string(value) == "null":
			return true
		case ok && p.match(from):
			return true
		}
	}
	return false
}
