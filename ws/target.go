package ws

import (
	"bytes"
	"net/http"
	"net/netip"
)

// parseTarget splits the request target by its form (RFC 9112 section 3.2).
// Every byte is known to be visible ASCII other than '#', or none: what is not
// ASCII ought to be escaped, but clients send it as it is and servers take it.
func (r *Request) parseTarget() *Refusal {
	switch {
	case string(r.method) == http.MethodConnect:
		return r.parseAuthorityForm()
	case string(r.target) == "*" && string(r.method) == http.MethodOptions:
		r.path = r.target
		return nil
	case bytes.HasPrefix(r.target, []byte("/")):
		return r.setPath(r.target)
	default:
		return r.parseAbsoluteForm()
	}
}

func (r *Request) parseAuthorityForm() *Refusal {
	_, port, ok := splitAuthority(r.target)
	if !ok || port == 0 {
		return refuseTarget
	}
	r.host = r.target
	return nil
}

// parseAbsoluteForm takes scheme://authority/path, as a proxy is asked, which a
// server has to understand as well (RFC 9112 section 3.2.2).
func (r *Request) parseAbsoluteForm() *Refusal {
	scheme, rest, found := bytes.Cut(r.target, []byte("://"))
	if _, known := defaultPort(scheme); !found || !known {
		return refuseTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if _, _, ok := splitAuthority(rest[:end]); !ok {
		return refuseTarget
	}
	r.host = rest[:end]
	return r.setPath(rest[end:])
}

var slash = []byte("/")

// setPath splits off the query. An escape in the path must be well formed, or
// nobody could say which path it is; a query is the application's own business.
func (r *Request) setPath(p []byte) *Refusal {
	r.path, r.query, _ = bytes.Cut(p, []byte("?"))
	if len(r.path) == 0 {
		r.path = slash
	}
	if !escapesValid(r.path) {
		return refuseTarget
	}
	return nil
}

// escapesValid reports whether two hexadecimal digits follow each '%'.
func escapesValid(p []byte) bool {
	for {
		i := bytes.IndexByte(p, '%')
		if i < 0 {
			return true
		}
		if p = p[i+1:]; len(p) < 2 || !isHex(p[0]) || !isHex(p[1]) {
			return false
		}
	}
}

// splitAuthority takes a host with its optional port apart (RFC 3986 section
// 3.2). The host is a name, an IPv4 address or an IPv6 address in brackets,
// which it keeps; the port is 0 if there is none. User information and an empty
// host are refused (RFC 9110 section 4.2).
func splitAuthority(p []byte) (host []byte, port uint16, ok bool) {
	end := bytes.IndexByte(p, ':')
	if len(p) > 0 && p[0] == '[' {
		end = bytes.IndexByte(p, ']') + 1
		if !isIPv6(p[:end]) {
			return nil, 0, false
		}
	} else {
		if end < 0 {
			end = len(p)
		}
		if !isName(p[:end]) {
			return nil, 0, false
		}
	}
	host, rest := p[:end], p[end:]
	if len(rest) == 0 || len(rest) == 1 && rest[0] == ':' {
		return host, 0, true
	}
	n, ok := parseDecimal(rest[1:], 1<<16-1)
	return host, uint16(n), ok && rest[0] == ':'
}

// isName reports whether p is a registered name or an IPv4 address that is not
// empty (RFC 3986 section 3.2.2).
func isName(p []byte) bool {
	if len(p) == 0 || !escapesValid(p) {
		return false
	}
	for n := hostByte.run(p); n < len(p); n += 1 + hostByte.run(p[n+1:]) {
		if p[n] != '%' {
			return false
		}
	}
	return true
}

// isIPv6 reports whether p is an IPv6 address without zone in brackets.
func isIPv6(p []byte) bool {
	if len(p) < 2 || p[0] != '[' || p[len(p)-1] != ']' {
		return false
	}
	addr, err := netip.ParseAddr(string(p[1 : len(p)-1]))
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// defaultPort is the port of a URL of this scheme that names none.
func defaultPort(scheme []byte) (port uint16, known bool) {
	switch {
	case equalFold(scheme, "http"), equalFold(scheme, "ws"):
		return 80, true
	case equalFold(scheme, "https"), equalFold(scheme, "wss"):
		return 443, true
	}
	return 0, false
}
