package proxyproto_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/proxyproto"
)

// crc32c is the checksum of RFC 4960 appendix B, a bit at a time.
func crc32c(text string) uint32 {
	crc := ^uint32(0)
	for _, b := range []byte(text) {
		crc ^= uint32(b)
		for range 8 {
			low := crc & 1
			crc >>= 1
			crc ^= 0x82f63b78 * low
		}
	}
	return ^crc
}

// sealed is a header with a CRC-32C between the vectors before and after it.
func sealed(before, after string) string {
	zeros := v2(0x21, 0x11, inet+before+tlv(3, "\x00\x00\x00\x00")+after)
	sum := string(binary.BigEndian.AppendUint32(nil, crc32c(zeros)))
	return v2(0x21, 0x11, inet+before+tlv(3, sum)+after)
}

func TestChecksum(t *testing.T) {
	t.Parallel()
	if got := crc32c("123456789"); got != 0xe3069283 {
		t.Fatalf("the test's own checksum is wrong: %x", got)
	}
	whole := sealed(tlv(1, "h2"), tlv(2, "example.com"))
	if _, size, err := proxyproto.Parse([]byte(whole), 0); size != len(whole) || err != nil {
		t.Fatalf("size %d, %v, want %d", size, err, len(whole))
	}
	typeAt := strings.Index(whole, "\x03\x00\x04") // changed, it is no checksum any more
	for i := 16; i < len(whole); i++ {
		for bit := range 8 {
			if i == typeAt {
				continue
			}
			b := []byte(whole)
			b[i] ^= 1 << bit
			if _, _, err := proxyproto.Parse(b, 0); err == nil {
				t.Errorf("byte %d, bit %d changed: no error", i, bit)
			}
		}
	}
	if _, _, err := proxyproto.Parse([]byte(strings.Replace(whole, "example", "exomple", 1)), 0); !errors.Is(err, proxyproto.ErrChecksum) {
		t.Errorf("%v, want ErrChecksum", err)
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("i", 128)
	ssl := "\x05\x00\x00\x00\x00" + tlv(0x21, "TLSv1.3") + tlv(0x22, "Jürgen") + tlv(0x23, "TLS_AES_128_GCM_SHA256") +
		tlv(0x24, "SHA256") + tlv(0x25, "RSA2048") + tlv(0x7f, "unknown")
	whole := v2(0x21, 0x11, inet+tlv(4, "")+tlv(1, "http/1.1")+tlv(4, "xxx")+tlv(2, "example.com")+tlv(5, id)+
		tlv(0x20, ssl)+tlv(0x30, "ns1")+tlv(0xea, "\x01vpce-1")+tlv(0xea, "again")+tlv(0xff, ""))
	h, size, err := proxyproto.Parse([]byte(whole), 0)
	if size != len(whole) || err != nil {
		t.Fatalf("size %d, %v, want %d", size, err, len(whole))
	}
	if h.ALPN() != "http/1.1" || h.Authority() != "example.com" || h.UniqueID() != id {
		t.Errorf("ALPN %q, authority %q, unique ID %q", h.ALPN(), h.Authority(), h.UniqueID())
	}
	want := proxyproto.SSL{
		TLS: true, CertInSession: true, Version: "TLSv1.3", CN: "Jürgen", Cipher: "TLS_AES_128_GCM_SHA256",
		SigAlg: "SHA256", KeyAlg: "RSA2048",
	}
	if got, ok := h.SSL(); !ok || got != want || !got.Verified() {
		t.Errorf("%+v, %v, want %+v", got, ok, want)
	}
	if value, ok := h.TLV(0xea); !ok || string(value) != "\x01vpce-1" {
		t.Errorf("type ea is %q, %v", value, ok)
	}
	if _, ok := h.TLV(0xeb); ok {
		t.Error("there is a type eb")
	}
	var order []string
	for kind, value := range h.TLVs() {
		order = append(order, fmt.Sprintf("%x:%d", kind, len(value)))
	}
	if got := strings.Join(order, " "); got != fmt.Sprintf("4:0 1:8 4:3 2:11 5:128 20:%d 30:3 ea:7 ea:5 ff:0", len(ssl)) {
		t.Errorf("vectors %s", got)
	}
}

func TestNoVectors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"PROXY UNKNOWN\r\n", v2(0x20, 0, tlv(1, "h2")), v2(0x21, 0x11, inet), v2(0x21, 0, tlv(0xe0, "")),
	} {
		h, _, err := proxyproto.Parse([]byte(text), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := h.SSL(); ok || h.ALPN() != "" || h.Authority() != "" || h.UniqueID() != "" {
			t.Errorf("%q: there is something", text)
		}
	}
}

// TestVerified: a certificate that was not shown is not verified.
func TestVerified(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"\x01\x00\x00\x00\x00": false,
		"\x03\x00\x00\x00\x00": true,
		"\x05\x00\x00\x00\x00": true,
		"\x03\x00\x00\x00\x01": false,
		"\x07\x01\x00\x00\x00": false,
	} {
		h, _, err := proxyproto.Parse([]byte(v2(0x21, 0x11, inet+tlv(0x20, value))), 0)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := h.SSL(); !ok || s.Verified() != want || !s.TLS {
			t.Errorf("%x: %+v, want %v", value, s, want)
		}
	}
}
