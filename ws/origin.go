package ws

import (
	"bytes"
	"net/netip"
)

// origin is the serialized origin of RFC 6454 section 6.2, parsed.
type origin struct {
	secure bool // https, not http
	host   []byte
	port   uint16
}

func parseOrigin(p []byte) (o origin, ok bool) {
	scheme, authority, _ := bytes.Cut(p, []byte("://"))
	switch {
	case equalFold(scheme, "https"):
		o.secure = true
	case !equalFold(scheme, "http"):
		return origin{}, false
	}
	o.host, o.port, ok = splitAuthority(authority)
	o.port = portOr(o.port, o.secure)
	return o, ok
}

func (o origin) equal(other origin) bool {
	return o.secure == other.secure && o.port == other.port && sameHost(o.host, other.host)
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
func sameHost(a, b []byte) bool {
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
// Origin are those of the request, which are Host and TLS. "null", a malformed
// Origin and several ones are false (RFC 6454, RFC 6455 section 10.2).
func (r *Request) SameOrigin() bool {
	value, lines := r.first("Origin")
	if lines == 0 {
		return true
	}
	from, ok := parseOrigin(value)
	if !ok || lines > 1 {
		return false
	}
	host, port, ok := splitAuthority(r.host)
	return ok && from.equal(origin{r.TLS, host, portOr(port, r.TLS)})
}

// OriginIn reports whether the request has no Origin or one that is in allowed:
// "https://example.com", with ":port" unless it is the scheme's own; "null"; or
// "*", which stands for all. Letter case does not matter, everything else does.
func (r *Request) OriginIn(allowed []string) bool {
	value, lines := r.first("Origin")
	if lines == 0 {
		return true
	}
	from, ok := parseOrigin(value)
	for _, a := range allowed {
		if a == "*" {
			return true
		}
		if lines == 1 && a == "null" && string(value) == a {
			return true
		}
		if other, valid := parseOrigin([]byte(a)); lines == 1 && ok && valid && from.equal(other) {
			return true
		}
	}
	return false
}
