package proxyproto

import (
	"bytes"
	"net/netip"
)

const (
	v1Signature = "PROXY "
	v1MaxLine   = 107 // with CRLF; the text, section 2.1
)

// What stands in a line of version 1 behind the signature, each followed by one
// space or, the last, by the end of the line.
const (
	v1Family = iota
	v1Source
	v1Destination
	v1SourcePort
	v1DestinationPort
	v1Fields
)

var (
	errLineEnd = malformed("a line that does not end with CRLF")
	errFamily  = malformed("neither TCP4 nor TCP6 nor UNKNOWN")
	errAddress = malformed("not an address of the family")
	errPort    = malformed("not a port")
	errTooFew  = malformed("the line ends too early")
	errTooMany = malformed("the line goes on behind the ports")
)

var v1Families = []struct {
	name   string
	family Family
}{{"TCP4", IPv4}, {"TCP6", IPv6}, {"UNKNOWN", Unspecified}}

// parseV1 reads a line of version 1.
func parseV1(in []byte) (h Header, size int, err error) {
	if !begins(in, v1Signature) {
		return Header{}, 0, ErrAbsent
	}
	line, whole, err := cutV1(in)
	if err != nil || len(line) < len(v1Signature) {
		return Header{}, 0, err
	}
	h = Header{Version: 1, Command: Proxy, Transport: Stream}
	if err := h.parseFields(line[len(v1Signature):], whole); err != nil || !whole {
		return Header{}, 0, err
	}
	return h, len(line) + len("\r\n"), nil
}

// cutV1 is the line without its CRLF, or as much of it as is there. It is one
// line of text: a CR or an LF alone ends it no more than it belongs to it.
func cutV1(in []byte) (line []byte, whole bool, err error) {
	line = in[:min(len(in), v1MaxLine)]
	end := bytes.IndexAny(line, "\r\n")
	switch {
	case end < 0 && len(line) < v1MaxLine:
		return line, false, nil
	case end < 0 || end == v1MaxLine-1 && line[end] == '\r':
		return nil, false, ErrTooLong
	case line[end] == '\n':
		return nil, false, errLineEnd
	case end == len(line)-1:
		return line[:end], false, nil // the LF is still to come
	case line[end+1] != '\n':
		return nil, false, errLineEnd
	}
	return line[:end], true, nil
}

// parseFields takes the fields apart. While the line is not whole the last of
// them may be unfinished.
func (h *Header) parseFields(rest []byte, whole bool) error {
	var source, destination netip.Addr
	var ports [2]uint16
	for i := range v1Fields {
		field, after, ended := bytes.Cut(rest, []byte(" "))
		complete := ended || whole
		var err error
		switch i {
		case v1Family:
			err = h.parseFamily(field, complete)
			if complete && err == nil && h.Family == Unspecified {
				h.Command, h.Transport = Local, UnknownTransport
				return nil // what else is in the line is to be ignored
			}
		case v1Source:
			source, err = h.parseAddress(field, complete)
		case v1Destination:
			destination, err = h.parseAddress(field, complete)
		default:
			ports[i-v1SourcePort], err = parsePort(field, complete)
		}
		switch last := i == v1Fields-1; {
		case err != nil:
			return err
		case last && ended:
			return errTooMany
		case !last && !ended && whole:
			return errTooFew
		case !ended && !whole:
			return nil
		}
		rest = after
	}
	h.Source = netip.AddrPortFrom(source, ports[0])
	h.Destination = netip.AddrPortFrom(destination, ports[1])
	return nil
}

func (h *Header) parseFamily(field []byte, complete bool) error {
	for _, f := range v1Families {
		if string(field) == f.name || !complete && bytes.HasPrefix([]byte(f.name), field) {
			h.Family = f.family
			return nil
		}
	}
	return errFamily
}

// parseAddress takes what netip takes for an address of the family, but for
// zones. That is the text's format and, for IPv6, an IPv4 address at the end:
// inet_ntop(3) writes mapped addresses so, and with it HAProxy.
func (h *Header) parseAddress(field []byte, complete bool) (netip.Addr, error) {
	if !complete {
		return netip.Addr{}, h.mayBecomeAddress(field)
	}
	addr, err := netip.ParseAddr(string(field))
	if err != nil || addr.Is4() != (h.Family == IPv4) || addr.Zone() != "" {
		return netip.Addr{}, errAddress
	}
	return addr, nil
}

// The longest addresses in text.
const (
	maxIPv4 = len("255.255.255.255")
	maxIPv6 = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
)

func (h *Header) mayBecomeAddress(field []byte) error {
	longest := maxIPv6
	if h.Family == IPv4 {
		longest = maxIPv4
	}
	if len(field) > longest {
		return errAddress
	}
	for _, b := range field {
		digit := b == '.' || '0' <= b && b <= '9'
		if !digit && (h.Family == IPv4 || b != ':' && (b|0x20 < 'a' || b|0x20 > 'f')) {
			return errAddress
		}
	}
	return nil
}

// parsePort reads 0 to 65535 without leading zeros. The beginning of a port is
// one as well, but for its being empty.
func parsePort(field []byte, complete bool) (port uint16, err error) {
	if len(field) == 0 && !complete {
		return 0, nil
	}
	n := 0
	for _, b := range field {
		if b < '0' || b > '9' || n > 1<<16 {
			return 0, errPort
		}
		n = n*10 + int(b-'0')
	}
	if len(field) == 0 || n >= 1<<16 || len(field) > 1 && field[0] == '0' {
		return 0, errPort
	}
	return uint16(n), nil
}
