package proxyproto_test

import (
	"bytes"
	"testing"

	"github.com/millrace/millrace/proxyproto"
)

// FuzzParse: a header means the same however it arrives and whatever follows it,
// an error is one for good, and what is given out lies in the header.
func FuzzParse(f *testing.F) {
	for _, test := range valid {
		f.Add([]byte(test.bytes), 0)
	}
	for _, test := range invalid {
		f.Add([]byte(test.bytes), 0)
	}
	f.Add([]byte(sealed(tlv(1, "h2"), tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.2")))), 100)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		h, size, err := proxyproto.Parse(data, limit)
		if size < 0 || size > len(data) || err != nil && size != 0 {
			t.Fatalf("size %d of %d bytes, %v", size, len(data), err)
		}
		for n := range min(len(data), 300) {
			again, part, early := proxyproto.Parse(data[:n], limit)
			switch {
			case early != nil && err == nil:
				t.Fatalf("%d bytes: %v, all: size %d", n, early, size)
			case part != 0 && (part != size || show(again) != show(h)):
				t.Fatalf("%d bytes: size %d, %s; all: %d, %s", n, part, show(again), size, show(h))
			case size != 0 && (part != 0) != (n >= size):
				t.Fatalf("%d bytes: size %d, all: %d", n, part, size)
			}
		}
		if size == 0 {
			return
		}
		if limit > 0 && size > max(limit, 107) {
			t.Fatalf("size %d beyond the limit of %d", size, limit)
		}
		for _, value := range h.TLVs() {
			if !bytes.Contains(data[:size], value) {
				t.Fatalf("%q is not in the header", value)
			}
		}
		h.SSL()
		if valid := h.Source.IsValid(); valid != (h.Command == proxyproto.Proxy && (h.Family == proxyproto.IPv4 || h.Family == proxyproto.IPv6)) {
			t.Fatalf("%s: source valid: %v", show(h), valid)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{
		"v1":                  "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
		"v2":                  v2(0x21, 0x11, inet),
		"v2 with CRC and SSL": sealed(tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3")), ""),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			in := []byte(text)
			for b.Loop() {
				if _, size, err := proxyproto.Parse(in, 0); size == 0 || err != nil {
					b.Fatal(size, err)
				}
			}
		})
	}
}
