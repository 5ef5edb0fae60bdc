package proxyproto

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
)

const (
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v2Fixed     = len(v2Signature) + 4 // with version and command, family and transport, length
)

// Sizes of the address blocks, the text, section 2.2.
const (
	v2IPv4 = 2*4 + 2*2
	v2IPv6 = 2*16 + 2*2
	v2Path = 108
)

var (
	errVersion   = malformed("not version 2")
	errCommand   = malformed("neither LOCAL nor PROXY")
	errTransport = malformed("no combination of address family and transport that is defined")
	errLength    = malformed("too short for the addresses of its family")
)

// parseV2 reads a header of version 2.
func parseV2(in []byte, limit int) (h Header, size int, err error) {
	if !begins(in, v2Signature) {
		return Header{}, 0, ErrAbsent
	}
	if err := h.parseFixed(in); err != nil || len(in) < v2Fixed {
		return Header{}, 0, err
	}
	size = v2Fixed + int(binary.BigEndian.Uint16(in[v2Fixed-2:]))
	addresses := h.addressBytes()
	switch {
	case size > cmp.Or(max(limit, 0), MaxSize):
		return Header{}, 0, ErrTooLong
	case size < v2Fixed+addresses:
		return Header{}, 0, errLength
	case size > len(in):
		return Header{}, 0, nil
	case h.Command == Local:
		return h, size, nil // "must discard the protocol block"
	}
	h.parseAddresses(in[v2Fixed:size])
	h.tlvs = in[v2Fixed+addresses : size]
	if err := vetTLVs(in[:size], v2Fixed+addresses); err != nil {
		return Header{}, 0, err
	}
	return h, size, nil
}

// parseFixed reads, as far as they are there, the two bytes behind the signature.
func (h *Header) parseFixed(in []byte) error {
	h.Version = 2
	if len(in) <= len(v2Signature) {
		return nil
	}
	b := in[len(v2Signature)]
	h.Command = Command(b & 0xf)
	switch {
	case b>>4 != 2:
		return errVersion
	case h.Command > Proxy:
		return errCommand
	case len(in) == len(v2Signature)+1 || h.Command == Local:
		return nil // the family of a LOCAL one is ignored, whatever it is
	}
	b = in[len(v2Signature)+1]
	h.Family, h.Transport = Family(b>>4), Transport(b&0xf)
	if h.Family > Unix || h.Transport > Datagram ||
		(h.Family == Unspecified) != (h.Transport == UnknownTransport) { // half of it: nobody says where its TLVs begin
		return errTransport
	}
	return nil
}

// addressBytes is how much of the header the addresses take.
func (h *Header) addressBytes() int {
	switch h.Family {
	case IPv4:
		return v2IPv4
	case IPv6:
		return v2IPv6
	case Unix:
		return 2 * v2Path
	}
	return 0
}

func (h *Header) parseAddresses(block []byte) {
	switch h.Family {
	case IPv4:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(block)), binary.BigEndian.Uint16(block[8:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(block[4:])), binary.BigEndian.Uint16(block[10:]))
	case IPv6:
		h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(block)), binary.BigEndian.Uint16(block[32:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom16([16]byte(block[16:])), binary.BigEndian.Uint16(block[34:]))
	case Unix:
		h.SourcePath, _, _ = bytes.Cut(block[:v2Path], []byte{0})
		h.DestinationPath, _, _ = bytes.Cut(block[v2Path:2*v2Path], []byte{0})
	}
}
