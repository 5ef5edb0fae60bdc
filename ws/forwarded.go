package ws

import (
	"bytes"
	"net/netip"
	"slices"
)

// maxHops bounds the proxies that Forwarded follows; the walk ends with the one
// it has reached.
const maxHops = 32

var refuseForwarded = badRequest("Forwarded and X-Forwarded-For or -Proto contradict each other: " +
	"a proxy must remove what it does not write itself")

// Forwarded says who the client is and whether its connection is encrypted, as
// the proxies within trusted tell, beginning with RemoteAddr and TLS, which it
// does not change. Unless RemoteAddr is trusted, it is the client and no field
// counts. The zero Prefix in trusted stands for a peer without an address, the zero
// RemoteAddr, as on a Unix socket.
//
// The addresses in X-Forwarded-For and in the "for" of Forwarded (RFC 7239) are
// read from the right, all lines of a field as one list: each was written by the
// hop before, so the first that is not trusted is the client. The walk also ends
// with what is no address ("unknown", "_hidden") and after 32 hops, and the
// client is then the last address it came to. A port, if there is one, is kept.
//
// The scheme is that of the same element of Forwarded, or of X-Forwarded-Proto
// in the same place from the right, else the leftmost: many proxies set it anew
// where they append the address. Without either TLS stays as it is.
//
// A field that no trusted proxy writes comes from the client, and nobody but the
// operator knows which of them that is. So neither has precedence: if both are
// there they must name one client and, as far as they do, one scheme. Otherwise the
// error is a [*Refusal], 400.
func (r *Request) Forwarded(trusted []netip.Prefix) (client netip.AddrPort, tls bool, err error) {
	if !addrWithin(trusted, r.RemoteAddr.Addr()) {
		return r.RemoteAddr, r.TLS, nil
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
	if byFor.client.Addr() != byForwarded.client.Addr() || byFor.scheme.contradicts(byForwarded.scheme) {
		return r.RemoteAddr, r.TLS, refuseForwarded
	}
	client = byFor.client
	if client.Port() == 0 {
		client = byForwarded.client
	}
	switch max(byFor.scheme, byForwarded.scheme) {
	case schemeSecure:
		return client, true, nil
	case schemePlain:
		return client, false, nil
	}
	return client, r.TLS, nil
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
	hops    int
	found   bool // the field says something of it
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

// followFor goes by X-Forwarded-For and X-Forwarded-Proto.
func (c *chain) followFor(r *Request) {
	c.followAddresses(r)
	place := 0
	for list := range r.eachBackward("X-Forwarded-Proto") {
		for len(list) > 0 {
			var name []byte
			if name, list = cutLast(list); len(name) == 0 {
				continue
			}
			if c.scheme = schemeOf(name); place >= c.hops-1 {
				return
			}
			place++
		}
	}
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
	node, proto, ok := parseForwarded(element)
	if !ok {
		return false
	}
	if s := schemeOf(proto); s != schemeUnknown {
		c.scheme = s
	}
	return node != nil && c.step(node)
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

// parseForwarded reads an element of Forwarded, pairs separated by semicolons;
// space around these is let pass. A parameter that is there twice makes the
// element worthless (RFC 7239 section 4).
func parseForwarded(element []byte) (node, proto []byte, ok bool) {
	for {
		element = bytes.TrimLeft(element, "; \t")
		if len(element) == 0 {
			return node, proto, true
		}
		name, value, rest, ok := cutPair(element)
		if !ok {
			return nil, nil, false
		}
		element = rest
		switch {
		case equalFold(name, "for") && node == nil:
			node = value
		case equalFold(name, "proto") && proto == nil:
			proto = value
		case equalFold(name, "for"), equalFold(name, "proto"):
			return nil, nil, false
		}
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
