// Package proxyproto reads the header of the PROXY protocol, versions 1 and 2,
// with which a balancer says whose connection it forwards: bytes in, header out.
// It does no I/O, starts no goroutine and keeps no state. The text it follows is
// https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt, "the text" below.
package proxyproto

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
)

// MaxSize is the longest header there can be: version 2, whose length field has
// two bytes.
const MaxSize = v2Fixed + 1<<16 - 1

// Command says whose the connection is.
type Command uint8

// Commands, numbered as in version 2.
const (
	Local Command = 0 // the proxy's own, or UNKNOWN in version 1: nothing else in the header counts
	Proxy Command = 1 // somebody else's, forwarded
)

// Family is the family of the forwarded connection's addresses.
type Family uint8

// Families, numbered as in version 2.
const (
	Unspecified Family = 0 // unknown to the proxy: the socket's own address is the best there is
	IPv4        Family = 1
	IPv6        Family = 2
	Unix        Family = 3
)

// Transport is how the forwarded connection is transported, to the proxy.
type Transport uint8

// Transports, numbered as in version 2.
const (
	UnknownTransport Transport = 0
	Stream           Transport = 1 // TCP, or a Unix stream
	Datagram         Transport = 2 // UDP, which is QUIC most likely, or Unix datagrams
)

// Header is what a PROXY header says. What it gives as bytes points into the
// bytes it was parsed from and is valid as long as these are.
type Header struct {
	Version   uint8 // 1 or 2
	Command   Command
	Family    Family
	Transport Transport
	// Source is the client and Destination what it connected to. They are valid
	// for Proxy with IPv4 or IPv6, and as they were sent: an IPv6 address may be
	// an IPv4 one in disguise (netip.Addr.Unmap).
	Source, Destination netip.AddrPort
	// SourcePath and DestinationPath are the same for Unix, up to the first zero
	// byte and so maybe empty.
	SourcePath, DestinationPath []byte

	tlvs []byte // vetted
}

// The kinds of errors: what Parse returns is one of them or wraps one. After
// each the text wants the connection closed.
var (
	// ErrAbsent: the bytes are no PROXY header, but the beginning of something else.
	ErrAbsent = errors.New("proxyproto: no PROXY header")
	// ErrMalformed: the header breaks the rules of its version.
	ErrMalformed = errors.New("proxyproto: malformed header")
	// ErrTooLong: the header is longer than the version or the limit allows.
	ErrTooLong = errors.New("proxyproto: header too long")
	// ErrChecksum: the header has a CRC-32C and it is not that of its bytes.
	ErrChecksum = errors.New("proxyproto: wrong CRC-32C")
)

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// Parse reads a header at the beginning of in, which holds all bytes of the
// connection so far. limit bounds the bytes of a version 2 header, from 16 on; 0
// is MaxSize. A line of version 1 has at most 107.
//
//   - size > 0: in[:size] is the whole header, h is what it says.
//   - size == 0 and err == nil: more bytes are needed.
//   - err is ErrAbsent, ErrTooLong or ErrChecksum or wraps ErrMalformed, as soon
//     as no further bytes could mend it; what is in a version 2 header behind
//     its length is looked at when it is whole.
//
// It keeps nothing between calls. An unfinished header costs a glance at its first
// 107 bytes (version 1) or 16 bytes (version 2), however long it is.
func Parse(in []byte, limit int) (h Header, size int, err error) {
	switch {
	case len(in) == 0:
		return Header{}, 0, nil
	case in[0] == v1Signature[0]:
		h, size, err = parseV1(in)
	case in[0] == v2Signature[0]:
		h, size, err = parseV2(in, limit)
	default:
		err = ErrAbsent
	}
	if size == 0 || err != nil {
		return Header{}, 0, err
	}
	return h, size, nil
}

// begins tells whether in and signature agree as far as both go.
func begins(in []byte, signature string) bool {
	n := min(len(in), len(signature))
	return bytes.Equal(in[:n], []byte(signature[:n]))
}
