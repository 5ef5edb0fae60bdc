package ws

import (
	"bytes"
	"net/netip"
	"slices"
)

// maxHops bounds the proxies that Forwarded follows; the walk ends with the one
// it has reached.
const maxHops = 32

var refuseForwarded = badRequest("Forwarded and X-Forwarded-For, -Proto or -Host contradict each other: " +
	"a proxy must remove what it does not write itself")

// TrustForwarded sets RemoteAddr, TLS and PublicHost to what the proxies within
// trusted tell: who the client is, whether its connection is encrypted, and which
// host it asked for. Unless RemoteAddr is trusted, it is the client and no field
// counts. The zero Prefix in trusted stands for a peer without an address, the zero
// RemoteAddr, as on a Unix socket. After an error nothing is changed.
//
// The addresses in X-Forwarded-For and in the "for" of Forwarded (RFC 7239) are
// read from the right, all lines of a field as one list: each was written by the
// hop before, so the first that is not trusted is the client. The walk also ends
// with what is no address ("unknown", "_hidden") and after 32 hops, and the
// client is then the last address it came to. A port, if there is one, is kept.
//
// Scheme and host are those of the same element of Forwarded, or of X-Forwarded-Proto,
// -Host and -Port in the same place from the right, else the leftmost: many proxies set
// them anew where they append the address. Without them TLS stays as it is, and the host
// is Host; so it is where they name none. X-Forwarded-Port counts where the host has no
// port, whichever of these it is: a browser names the port it uses, unless it is the
// scheme's own, and the proxy's may be mapped to another.
//
// A field that no trusted proxy writes comes from the client, and nobody but the
// operator knows which of them that is. So neither has precedence: if both are
// there they must name one client and, as far as they do, one scheme and one host.
// Otherwise the error is a [*Refusal], 400.
func (r *Request) TrustForwarded(trusted []netip.Prefix) error {
	if !addrWithin(trusted, r.RemoteAddr.Addr()) {
		return nil
	}
	byFor, byForwarded := chain{trusted: trusted, client: r.RemoteAddr}, chain{trusted: trusted, client: r.RemoteAddr}
	byFor.followFor(r)
	byForwarded.followForwarded(r)
	switch {
	case !byForwarded.found:
		byForwarded.client = byFor.client
	case !byFor.found:
		byFor.client = byForwarded.client
	}
	if byFor.contradicts(&byForwarded) {
		return refuseForwarded
	}
	if r.RemoteAddr = byFor.client; r.RemoteAddr.Port() == 0 {
		r.RemoteAddr = byForwarded.client
	}
	if known := max(byFor.scheme, byForwarded.scheme); known != schemeUnknown {
		r.TLS = known == schemeSecure
	}
	if r.public = byFor.host; r.public == nil {
		r.public = byForwarded.host
	}
	r.publicPort = byFor.port
	return nil
}

// addrWithin tells whether addr, an IPv4 address in disguise or not, is in one
// of the prefixes.
func addrWithin(prefixes []netip.Prefix, addr netip.Addr) bool {
	if !addr.IsValid() {
		return slices.Contains(prefixes, netip.Prefix{})
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// scheme is that of a client's connection, as far as it is known.
type scheme uint8

const (
	schemeUnknown scheme = iota
	schemePlain
	schemeSecure
)

func schemeOf(name []byte) scheme {
	switch {
	case equalFold(name, "https"), equalFold(name, "wss"):
		return schemeSecure
	case equalFold(name, "http"), equalFold(name, "ws"):
		return schemePlain
	}
	return schemeUnknown
}

func (s scheme) contradicts(other scheme) bool {
	return s != other && s != schemeUnknown && other != schemeUnknown
}

// chain is the way back from the server to the client, one proxy after another.
type chain struct {
	trusted []netip.Prefix
	client  netip.AddrPort // as far as we have come
	scheme  scheme
	host    []byte // with or without a port; nil: not known
	port    uint16 // by X-Forwarded-Port; 0: not known
	hops    int
	found   bool // the field says something of it
}

func (c *chain) contradicts(other *chain) bool {
	return c.client.Addr() != other.client.Addr() || c.scheme.contradicts(other.scheme) ||
		c.host != nil && other.host != nil && !sameAuthority(c.host, other.host)
}

// sameAuthority compares hosts whose port may be left out.
func sameAuthority(a, b []byte) bool {
	x, portX, _ := splitAuthority(a)
	y, portY, _ := splitAuthority(b)
	return sameHost(x, y) && (portX == portY || portX == 0 || portY == 0)
}

// step goes one hop on, to the address in node; false ends the way.
func (c *chain) step(node []byte) bool {
	c.found = true
	addr, ok := parseNode(node)
	if !ok {
		return false
	}
	c.client = addr
	c.hops++
	return c.hops < maxHops && addrWithin(c.trusted, addr.Addr())
}

// followFor goes by X-Forwarded-For, -Proto, -Host and -Port.
func (c *chain) followFor(r *Request) {
	c.followAddresses(r)
	c.scheme = schemeOf(c.told(r, "X-Forwarded-Proto"))
	c.host = hostOf(c.told(r, "X-Forwarded-Host"))
	if port, ok := parseDecimal(c.told(r, "X-Forwarded-Port"), 1<<16-1); ok {
		c.port = uint16(port)
	}
}

// told is what the hop next to the client has written into a field: in its place from
// the right, else the leftmost.
func (c *chain) told(r *Request, field string) (last []byte) {
	place := 0
	for list := range r.eachBackward(field) {
		for len(list) > 0 {
			var element []byte
			if element, list = cutLast(list); len(element) == 0 {
				continue
			}
			if last = element; place >= c.hops-1 {
				return last
			}
			place++
		}
	}
	return last
}

// hostOf is a host with or without a port, nil if it is none.
func hostOf(value []byte) []byte {
	if _, _, ok := splitAuthority(value); !ok {
		return nil
	}
	return value
}

func (c *chain) followAddresses(r *Request) {
	for list := range r.eachBackward("X-Forwarded-For") {
		for len(list) > 0 {
			var node []byte
			if node, list = cutLast(list); len(node) > 0 && !c.step(node) {
				return
			}
		}
	}
}

// followForwarded goes by Forwarded.
func (c *chain) followForwarded(r *Request) {
	for list := range r.eachBackward("Forwarded") {
		for len(list) > 0 {
			var element []byte
			var ok bool
			if element, list, ok = cutLastQuoted(list); !ok {
				return
			}
			if len(element) > 0 && !c.stepElement(element) {
				return
			}
		}
	}
}

func (c *chain) stepElement(element []byte) bool {
	hop, ok := parseForwarded(element)
	if !ok {
		return false
	}
	if s := schemeOf(hop.proto); s != schemeUnknown {
		c.scheme = s
	}
	if host := hostOf(hop.host); host != nil {
		c.host = host
	}
	return hop.node != nil && c.step(hop.node)
}

// cutLast takes the last element off a comma-separated list without quoted
// strings.
func cutLast(list []byte) (element, rest []byte) {
	comma := bytes.LastIndexByte(list, ',')
	return trimSpace(list[comma+1:]), list[:max(comma, 0)]
}

// cutLastQuoted takes the last element off a comma-separated list in which a
// quoted string may hold commas. It looks at nothing left of the element: what a
// client wrote there must not change what the proxies wrote behind it.
func cutLastQuoted(list []byte) (element, rest []byte, ok bool) {
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case ',':
			return trimSpace(list[i+1:]), list[:i], true
		case '"':
			if i = openingQuote(list[:i]); i < 0 {
				return nil, nil, false
			}
		}
	}
	return trimSpace(list), nil, true
}

// openingQuote finds the last double quote in p without a backslash that escapes
// it; below 0 there is none.
func openingQuote(p []byte) int {
	for {
		quote := bytes.LastIndexByte(p, '"')
		if quote < 0 {
			return quote
		}
		escapes := quote - len(bytes.TrimRight(p[:quote], `\`))
		if escapes%2 == 0 {
			return quote
		}
		p = p[:quote-escapes]
	}
}

// forwardedElement is what a hop says of the one before; nil: nothing.
type forwardedElement struct{ node, proto, host []byte }

// parseForwarded reads an element of Forwarded, pairs separated by semicolons;
// space around these is let pass. A parameter that is there twice makes the
// element worthless (RFC 7239 section 4).
func parseForwarded(element []byte) (e forwardedElement, ok bool) {
	for {
		element = bytes.TrimLeft(element, "; \t")
		if len(element) == 0 {
			return e, true
		}
		name, value, rest, ok := cutPair(element)
		if !ok {
			return forwardedElement{}, false
		}
		element = rest
		var part *[]byte
		switch {
		case equalFold(name, "for"):
			part = &e.node
		case equalFold(name, "proto"):
			part = &e.proto
		case equalFold(name, "host"):
			part = &e.host
		default:
			continue
		}
		if *part != nil {
			return forwardedElement{}, false
		}
		*part = value
	}
}

// cutPair takes name=value off element. The value is not nil; it is a quoted
// string or goes on to the semicolon, so that an IPv6 address or a port, which
// should be quoted, need not be.
func cutPair(element []byte) (name, value, rest []byte, ok bool) {
	n := tokenByte.run(element)
	if n == 0 || n == len(element) || element[n] != '=' {
		return nil, nil, nil, false
	}
	name, rest = element[:n], element[n+1:]
	if len(rest) > 0 && rest[0] == '"' {
		value, rest, ok = cutQuoted(rest[1:])
	} else {
		end := bytes.IndexByte(rest, ';')
		if end < 0 {
			end = len(rest)
		}
		value, rest = trimSpace(rest[:end]), rest[end:]
		ok = !bytes.ContainsAny(value, "\" \t")
	}
	rest = trimSpace(rest)
	return name, value, rest, ok && (len(rest) == 0 || rest[0] == ';')
}

// cutQuoted reads a quoted string behind its opening quote (RFC 9110 section
// 5.6.4).
func cutQuoted(p []byte) (value, rest []byte, ok bool) {
	end := bytes.IndexAny(p, `"\`)
	if end >= 0 && p[end] == '"' {
		return p[:end], p[end+1:], true
	}
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '"':
			return value, p[i+1:], true
		case '\\':
			if i++; i == len(p) {
				return nil, nil, false
			}
		}
		value = append(value, p[i])
	}
	return nil, nil, false
}

// parseNode reads an address with or without a port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1] or [2001:db8::1]:80. The port may be obfuscated
// (RFC 7239 section 6.3) and is 0 then, as without.
func parseNode(node []byte) (addr netip.AddrPort, ok bool) {
	host, port := node, []byte(nil)
	switch colon := bytes.IndexByte(node, ':'); {
	case len(node) > 0 && node[0] == '[':
		end := bytes.IndexByte(node, ']')
		if !isIPv6(node[:end+1]) {
			return netip.AddrPort{}, false
		}
		host, port = node[1:end], node[end+1:]
	case colon >= 0 && colon == bytes.LastIndexByte(node, ':'):
		host, port = node[:colon], node[colon:]
	}
	number, ok := parseNodePort(port)
	if !ok {
		return netip.AddrPort{}, false
	}
	a, err := netip.ParseAddr(string(host))
	return netip.AddrPortFrom(a.Unmap(), number), err == nil && a.Zone() == ""
}

// parseNodePort reads what stands behind a node's name: nothing, or a colon and
// a port.
func parseNodePort(p []byte) (port uint16, ok bool) {
	switch {
	case len(p) == 0:
		return 0, true
	case p[0] != ':':
		return 0, false
	case len(p) > 2 && p[1] == '_':
		return 0, tokenByte.run(p[2:]) == len(p)-2
	}
	n, ok := parseDecimal(p[1:], 1<<16-1)
	return uint16(n), ok
}
