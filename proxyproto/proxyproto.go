// Package proxyproto reads PROXY headers, versions 1 and 2, with which a balancer says
// whose connection it forwards.
//
//	h, size, err := proxyproto.Parse(received, 0)
//	switch {
//	case err != nil:
//		// no right header: close the connection
//	case size == 0:
//		// read more, and call Parse again with all of it
//	case h.Command == proxyproto.Proxy && h.Source.IsValid():
//		// h.Source is the client; its first byte is received[size]
//	}
//
// A header proves nothing by itself: read it only on connections from your balancers.
// The package does no I/O, starts no goroutine and keeps no state. It follows
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

// Command says whether the proxy forwards a connection or has opened its own.
type Command uint8

// Commands, numbered as in version 2.
const (
	Local Command = 0 // the proxy's own, or UNKNOWN in version 1: ignore the rest of the header
	Proxy Command = 1 // a client's, forwarded
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

// Header is a parsed PROXY header. Its byte slices point into the bytes that it was
// parsed from, and are valid as long as those are.
type Header struct {
	Version   uint8 // 1 or 2
	Command   Command
	Family    Family
	Transport Transport
	// Source is the client's address, and Destination the one it connected to. They
	// are valid for Proxy with IPv4 or IPv6. They are as they were sent: an IPv6
	// address may stand for an IPv4 one (netip.Addr.Unmap).
	Source, Destination netip.AddrPort
	// SourcePath and DestinationPath are the same for Unix. They end before the
	// first zero byte, so they may be empty.
	SourcePath, DestinationPath []byte

	tlvs []byte // vetted
}

// The errors of Parse are, or wrap, one of these. The text requires that the
// connection is closed after any of them.
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
//   - err != nil: no further bytes could make it a header. It is ErrAbsent,
//     ErrTooLong or ErrChecksum, or wraps ErrMalformed. What follows the length in
//     a version 2 header is checked once it is complete.
//
// It keeps nothing between calls. For an incomplete header it looks at no more than
// the first 107 bytes (version 1) or 16 bytes (version 2).
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
