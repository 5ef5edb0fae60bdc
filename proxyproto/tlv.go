package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
)

// Type is the type of a TLV, a type-length-value vector behind the addresses of
// a version 2 header (the text, section 2.2).
type Type uint8

// Types that this package reads; the rest is for Header.TLVs. From TypeSSL+1 to
// TypeSSL+5 they are found in an SSL vector only.
const (
	TypeALPN       Type = 0x01
	TypeAuthority  Type = 0x02
	TypeCRC32C     Type = 0x03
	TypeNoop       Type = 0x04 // padding
	TypeUniqueID   Type = 0x05
	TypeSSL        Type = 0x20
	TypeSSLVersion Type = 0x21
	TypeSSLCN      Type = 0x22
	TypeSSLCipher  Type = 0x23
	TypeSSLSigAlg  Type = 0x24
	TypeSSLKeyAlg  Type = 0x25
	TypeNetNS      Type = 0x30
)

const (
	tlvHead     = 3   // type and length
	sslHead     = 5   // client and verify
	maxUniqueID = 128 // the text, section 2.2.5
)

var (
	errTLV      = malformed("a TLV goes beyond the header")
	errTwice    = malformed("a TLV that is there twice")
	errCRCSize  = malformed("a CRC-32C that is not 4 bytes")
	errUniqueID = malformed("a unique ID of more than 128 bytes")
	errSSL      = malformed("an SSL vector whose parts do not fit into it")
)

// once are the types that we, or those behind us, read one value of: with two of
// them two readers might see two different things.
var once = [256]bool{TypeALPN: true, TypeAuthority: true, TypeCRC32C: true, TypeUniqueID: true, TypeSSL: true, TypeNetNS: true}

// vetTLVs checks the vectors that begin at from and go on to the end of header,
// and the checksum of all of header if one of them holds it.
func vetTLVs(header []byte, from int) error {
	var seen [256]bool
	for at := from; at < len(header); {
		kind, value, ok := cutTLV(header[at:])
		if !ok {
			return errTLV
		}
		if seen[kind] && once[kind] {
			return errTwice
		}
		seen[kind] = true
		at += tlvHead
		switch {
		case kind == TypeCRC32C && len(value) != crc32.Size:
			return errCRCSize
		case kind == TypeCRC32C && checksum(header, at) != binary.BigEndian.Uint32(value):
			return ErrChecksum
		case kind == TypeUniqueID && len(value) > maxUniqueID:
			return errUniqueID
		case kind == TypeSSL && !sslFits(value):
			return errSSL
		}
		at += len(value)
	}
	return nil
}

// cutTLV is the vector at the beginning of p.
func cutTLV(p []byte) (kind Type, value []byte, ok bool) {
	if len(p) < tlvHead {
		return 0, nil, false
	}
	length := int(binary.BigEndian.Uint16(p[1:]))
	if len(p)-tlvHead < length {
		return 0, nil, false
	}
	return Type(p[0]), p[tlvHead:][:length], true
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros      [crc32.Size]byte
)

// checksum is the CRC-32C of header with zeros for the four bytes at field.
func checksum(header []byte, field int) uint32 {
	crc := crc32.Update(0, castagnoli, header[:field])
	crc = crc32.Update(crc, castagnoli, zeros[:])
	return crc32.Update(crc, castagnoli, header[field+crc32.Size:])
}

// sslFits checks the vectors in an SSL vector.
func sslFits(value []byte) bool {
	if len(value) < sslHead {
		return false
	}
	for rest := value[sslHead:]; len(rest) > 0; {
		_, inner, ok := cutTLV(rest)
		if !ok {
			return false
		}
		rest = rest[tlvHead+len(inner):]
	}
	return true
}

// each ranges over vetted vectors.
func each(tlvs []byte) iter.Seq2[Type, []byte] {
	return func(yield func(Type, []byte) bool) {
		for len(tlvs) > 0 {
			kind, value, ok := cutTLV(tlvs)
			if !ok || !yield(kind, value) {
				return
			}
			tlvs = tlvs[tlvHead+len(value):]
		}
	}
}

func find(tlvs []byte, wanted Type) (value []byte, ok bool) {
	for kind, value := range each(tlvs) {
		if kind == wanted {
			return value, true
		}
	}
	return nil, false
}

// TLVs ranges over all vectors, in order and as sent: that they fit into the
// header is all that is known about most of them.
func (h *Header) TLVs() iter.Seq2[Type, []byte] { return each(h.tlvs) }

// TLV is the value of the first vector of this type.
func (h *Header) TLV(kind Type) (value []byte, ok bool) { return find(h.tlvs, kind) }

// ALPN is the protocol that the client and the proxy agreed on; "" if none is
// named.
func (h *Header) ALPN() string { return h.text(TypeALPN) }

// Authority is the host name the client asked for, with TLS its server name
// (SNI); "" if none is named.
func (h *Header) Authority() string { return h.text(TypeAuthority) }

// UniqueID is the proxy's own name for the connection, of up to 128 bytes of any
// kind; "" if it gives none.
func (h *Header) UniqueID() string { return h.text(TypeUniqueID) }

func (h *Header) text(kind Type) string {
	value, _ := find(h.tlvs, kind)
	return string(value)
}

// SSL is what the proxy says of the client's TLS connection. Texts that are not
// there are "".
type SSL struct {
	TLS             bool   // the client connected over TLS
	CertOnConn      bool   // and showed a certificate on this connection
	CertInSession   bool   // or on another of the same TLS session
	Verify          uint32 // 0 if the certificate was verified, the proxy's error otherwise
	Version, Cipher string // "TLSv1.3", "TLS_AES_128_GCM_SHA256"
	CN              string // the common name in the client's certificate
	SigAlg, KeyAlg  string // of the proxy's own certificate
}

// Verified says whether the client showed a certificate that the proxy has
// verified, on this connection or on another of its TLS session.
func (s SSL) Verified() bool { return (s.CertOnConn || s.CertInSession) && s.Verify == 0 }

// SSL is what the header says of TLS; false if it says nothing.
func (h *Header) SSL() (s SSL, ok bool) {
	value, ok := find(h.tlvs, TypeSSL)
	if !ok {
		return SSL{}, false
	}
	client := value[0]
	s = SSL{
		TLS: client&1 != 0, CertOnConn: client&2 != 0, CertInSession: client&4 != 0,
		Verify: binary.BigEndian.Uint32(value[1:]),
	}
	for kind, inner := range each(value[sslHead:]) {
		switch kind {
		case TypeSSLVersion:
			s.Version = string(inner)
		case TypeSSLCN:
			s.CN = string(inner)
		case TypeSSLCipher:
			s.Cipher = string(inner)
		case TypeSSLSigAlg:
			s.SigAlg = string(inner)
		case TypeSSLKeyAlg:
			s.KeyAlg = string(inner)
		}
	}
	return s, true
}
