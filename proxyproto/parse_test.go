package proxyproto_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/millrace/millrace/proxyproto"
)

// The headers here are made of bytes by hand, as the text shows them.

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// v2 is a header of version 2 with the right length.
func v2(command, family byte, block string) string {
	return v2Of(command, family, len(block), block)
}

// v2Of is one with any length.
func v2Of(command, family byte, length int, block string) string {
	return signature + string([]byte{command, family, byte(length >> 8), byte(length)}) + block
}

// tlv is one vector.
func tlv(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

const (
	inet = "\xc0\x00\x02\x01" + "\xc6\x33\x64\x07" + "\xdc\x04" + "\x01\xbb" // 192.0.2.1:56324 to 198.51.100.7:443
	ip6  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	in6  = ip6 + ip6 + "\xff\xff" + "\x00\x00"
)

// path is a Unix address of 108 bytes.
func path(name string) string { return name + strings.Repeat("\x00", 108-len(name)) }

func addr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

var valid = []struct {
	name  string
	bytes string
	want  proxyproto.Header
}{
	{"the text's example", "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", proxyproto.Header{
		Version: 1, Command: 1, Family: 1, Transport: 1, Source: addr("192.168.0.1:56324"), Destination: addr("192.168.0.11:443")}},
	{"longest TCP4", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", proxyproto.Header{
		Version: 1, Command: 1, Family: 1, Transport: 1, Source: addr("255.255.255.255:65535"), Destination: addr("255.255.255.255:65535")}},
	{"shortest TCP4", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", proxyproto.Header{
		Version: 1, Command: 1, Family: 1, Transport: 1, Source: addr("0.0.0.0:0"), Destination: addr("0.0.0.0:0")}},
	{"TCP6", "PROXY TCP6 2001:DB8::1 ::1 1 65535\r\n", proxyproto.Header{
		Version: 1, Command: 1, Family: 2, Transport: 1, Source: addr("[2001:db8::1]:1"), Destination: addr("[::1]:65535")}},
	{"TCP6, all digits", "PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0001 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", proxyproto.Header{
		Version: 1, Command: 1, Family: 2, Transport: 1, Source: addr("[2001:db8::1]:65535"), Destination: addr("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")}},
	{"TCP6 mapped, as inet_ntop writes it", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", proxyproto.Header{
		Version: 1, Command: 1, Family: 2, Transport: 1, Source: addr("[::ffff:192.0.2.1]:1"), Destination: addr("[::ffff:192.0.2.2]:2")}},
	{"UNKNOWN", "PROXY UNKNOWN\r\n", proxyproto.Header{Version: 1}},
	{"UNKNOWN with a space", "PROXY UNKNOWN \r\n", proxyproto.Header{Version: 1}},
	{"UNKNOWN with anything", "PROXY UNKNOWN what ever \x00\xff TCP4\r\n", proxyproto.Header{Version: 1}},
	{"UNKNOWN of 107 bytes", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", proxyproto.Header{Version: 1}},

	{"LOCAL", v2(0x20, 0, ""), proxyproto.Header{Version: 2}},
	{"LOCAL with addresses", v2(0x20, 0x11, inet), proxyproto.Header{Version: 2}},
	{"LOCAL too short for its family", v2(0x20, 0x21, inet), proxyproto.Header{Version: 2}},
	{"LOCAL, undefined family, no TLVs", v2(0x20, 0xff, "\x01\xff\xff"), proxyproto.Header{Version: 2}},
	{"LOCAL of 65,535 bytes", v2(0x20, 0, strings.Repeat("x", 65535)), proxyproto.Header{Version: 2}},
	{"TCP over IPv4", v2(0x21, 0x11, inet), proxyproto.Header{
		Version: 2, Command: 1, Family: 1, Transport: 1, Source: addr("192.0.2.1:56324"), Destination: addr("198.51.100.7:443")}},
	{"UDP over IPv4", v2(0x21, 0x12, inet), proxyproto.Header{
		Version: 2, Command: 1, Family: 1, Transport: 2, Source: addr("192.0.2.1:56324"), Destination: addr("198.51.100.7:443")}},
	{"TCP over IPv6", v2(0x21, 0x21, in6), proxyproto.Header{
		Version: 2, Command: 1, Family: 2, Transport: 1, Source: addr("[2001:db8::1]:65535"), Destination: addr("[2001:db8::1]:0")}},
	{"UDP over IPv6", v2(0x21, 0x22, in6), proxyproto.Header{
		Version: 2, Command: 1, Family: 2, Transport: 2, Source: addr("[2001:db8::1]:65535"), Destination: addr("[2001:db8::1]:0")}},
	{"Unix stream", v2(0x21, 0x31, path("/run/a")+path("")), proxyproto.Header{
		Version: 2, Command: 1, Family: 3, Transport: 1, SourcePath: []byte("/run/a")}},
	{"Unix datagram", v2(0x21, 0x32, path(strings.Repeat("a", 108))+path("\x00abstract")), proxyproto.Header{
		Version: 2, Command: 1, Family: 3, Transport: 2, SourcePath: []byte(strings.Repeat("a", 108))}},
	{"UNSPEC", v2(0x21, 0x00, ""), proxyproto.Header{Version: 2, Command: 1}},
}

var invalid = []struct {
	name  string
	bytes string
	at    int // the bytes after which it is known
	err   error
}{
	{"HTTP", "GET / HTTP/1.1\r\n", 1, proxyproto.ErrAbsent},
	{"HTTP with a P", "POST / HTTP/1.1\r\n", 2, proxyproto.ErrAbsent},
	{"HTTP behind an empty line", "\r\nGET / HTTP/1.1\r\n", 3, proxyproto.ErrAbsent},
	{"TLS", "\x16\x03\x01", 1, proxyproto.ErrAbsent},
	{"lower case", "proxy TCP4", 1, proxyproto.ErrAbsent},
	{"a tab", "PROXY\tTCP4", 6, proxyproto.ErrAbsent},
	{"a longer word", "PROXYTCP4", 6, proxyproto.ErrAbsent},
	{"two spaces", "PROXY  TCP4", 7, proxyproto.ErrMalformed},
	{"no family", "PROXY\r\n", 6, proxyproto.ErrAbsent},
	{"empty family", "PROXY \r\n", 8, proxyproto.ErrMalformed},
	{"lower case family", "PROXY tcp4 ", 7, proxyproto.ErrMalformed},
	{"UDP4", "PROXY UDP4 ", 8, proxyproto.ErrMalformed},
	{"TCP5", "PROXY TCP5 ", 10, proxyproto.ErrMalformed},
	{"TCP44", "PROXY TCP44 ", 11, proxyproto.ErrMalformed},
	{"UNKNOWNS", "PROXY UNKNOWNS\r\n", 14, proxyproto.ErrMalformed},
	{"UNKNOW", "PROXY UNKNOW\r\n", 14, proxyproto.ErrMalformed},
	{"only a family", "PROXY TCP4\r\n", 12, proxyproto.ErrMalformed},
	{"no destination", "PROXY TCP4 192.0.2.1\r\n", 22, proxyproto.ErrMalformed},
	{"no ports", "PROXY TCP4 192.0.2.1 192.0.2.2\r\n", 32, proxyproto.ErrMalformed},
	{"one port", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", 34, proxyproto.ErrMalformed},
	{"empty port", "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", 35, proxyproto.ErrMalformed},
	{"a space too many", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", 35, proxyproto.ErrMalformed},
	{"three ports", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", 35, proxyproto.ErrMalformed},
	{"leading zero in an address", "PROXY TCP4 192.0.02.1 ", 22, proxyproto.ErrMalformed},
	{"256", "PROXY TCP4 192.0.2.256 ", 23, proxyproto.ErrMalformed},
	{"three numbers", "PROXY TCP4 192.0.2 ", 19, proxyproto.ErrMalformed},
	{"a name", "PROXY TCP4 localhost ", 12, proxyproto.ErrMalformed},
	{"a longest address and one", "PROXY TCP4 255.255.255.2555", 27, proxyproto.ErrMalformed},
	{"IPv6 in TCP4", "PROXY TCP4 ::1 ::1 1 1\r\n", 12, proxyproto.ErrMalformed},
	{"IPv4 in TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", 21, proxyproto.ErrMalformed},
	{"a zone", "PROXY TCP6 fe80::1%eth0 ", 19, proxyproto.ErrMalformed},
	{"two double colons", "PROXY TCP6 1::2::3 ", 19, proxyproto.ErrMalformed},
	{"five digits", "PROXY TCP6 12345:: ", 19, proxyproto.ErrMalformed},
	{"brackets", "PROXY TCP6 [::1] ", 12, proxyproto.ErrMalformed},
	{"65536", "PROXY TCP4 192.0.2.1 192.0.2.2 65536", 36, proxyproto.ErrMalformed},
	{"leading zero in a port", "PROXY TCP4 192.0.2.1 192.0.2.2 01", 33, proxyproto.ErrMalformed},
	{"a sign", "PROXY TCP4 192.0.2.1 192.0.2.2 +1", 32, proxyproto.ErrMalformed},
	{"hexadecimal", "PROXY TCP4 192.0.2.1 192.0.2.2 1f", 33, proxyproto.ErrMalformed},
	{"LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", 35, proxyproto.ErrMalformed},
	{"CR alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rG", 36, proxyproto.ErrMalformed},
	{"CR alone in UNKNOWN", "PROXY UNKNOWN a\rb\r\n", 17, proxyproto.ErrMalformed},
	{"108 bytes", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", 107, proxyproto.ErrTooLong},
	{"no end", "PROXY UNKNOWN " + strings.Repeat("f", 1000), 107, proxyproto.ErrTooLong},

	{"wrong signature", signature[:11] + "\r", 12, proxyproto.ErrAbsent},
	{"version 1 in binary", v2(0x11, 0x11, inet), 13, proxyproto.ErrMalformed},
	{"version 3", v2(0x31, 0x11, inet), 13, proxyproto.ErrMalformed},
	{"command 2", v2(0x22, 0x11, inet), 13, proxyproto.ErrMalformed},
	{"family 4", v2(0x21, 0x41, inet), 14, proxyproto.ErrMalformed},
	{"transport 3", v2(0x21, 0x13, inet), 14, proxyproto.ErrMalformed},
	{"IPv4 over nothing", v2(0x21, 0x10, inet), 14, proxyproto.ErrMalformed},
	{"a stream of nothing", v2(0x21, 0x01, ""), 14, proxyproto.ErrMalformed},
	{"IPv4 a byte short", v2(0x21, 0x11, inet[1:]), 16, proxyproto.ErrMalformed},
	{"IPv6 a byte short", v2(0x21, 0x21, in6[1:]), 16, proxyproto.ErrMalformed},
	{"Unix a byte short", v2(0x21, 0x31, path("")+path("")[1:]), 16, proxyproto.ErrMalformed},
	{"half a TLV", v2(0x21, 0x11, inet+"\x04\x00"), 30, proxyproto.ErrMalformed},
	{"a TLV a byte too long", v2(0x21, 0x11, inet+"\x04\x00\x02x"), 32, proxyproto.ErrMalformed},
	{"a TLV of 65,535 bytes", v2(0x21, 0x11, inet+"\x04\xff\xffx"), 32, proxyproto.ErrMalformed},
	{"a CRC of 3 bytes", v2(0x21, 0x11, inet+tlv(3, "abc")), 34, proxyproto.ErrMalformed},
	{"a wrong CRC", v2(0x21, 0x11, inet+tlv(3, "abcd")), 35, proxyproto.ErrChecksum},
	{"a wrong CRC without addresses", v2(0x21, 0x00, tlv(3, "abcd")), 23, proxyproto.ErrChecksum},
	{"two ALPNs", v2(0x21, 0x11, inet+tlv(1, "h2")+tlv(1, "h2")), 38, proxyproto.ErrMalformed},
	{"a unique ID of 129 bytes", v2(0x21, 0x11, inet+tlv(5, strings.Repeat("u", 129))), 160, proxyproto.ErrMalformed},
	{"SSL of 4 bytes", v2(0x21, 0x11, inet+tlv(0x20, "\x01\x00\x00\x00")), 35, proxyproto.ErrMalformed},
	{"SSL with half a TLV", v2(0x21, 0x11, inet+tlv(0x20, "\x01\x00\x00\x00\x00\x21\x00")), 38, proxyproto.ErrMalformed},
	{"SSL with a TLV that is too long", v2(0x21, 0x11, inet+tlv(0x20, "\x01\x00\x00\x00\x00\x21\x00\x02x")+"yy"), 42, proxyproto.ErrMalformed},
}

func TestValid(t *testing.T) {
	t.Parallel()
	for _, test := range valid {
		for n := range len(test.bytes) {
			if h, size, err := proxyproto.Parse([]byte(test.bytes[:n]), 0); size != 0 || err != nil || h.Version != 0 {
				t.Fatalf("%s: after %d of %d bytes: size %d, %v", test.name, n, len(test.bytes), size, err)
			}
		}
		for _, behind := range []string{"", "\r\n", "GET / HTTP/1.1\r\n", test.bytes} {
			h, size, err := proxyproto.Parse([]byte(test.bytes+behind), 0)
			if size != len(test.bytes) || err != nil {
				t.Fatalf("%s, then %q: size %d, %v, want %d", test.name, behind, size, err, len(test.bytes))
			}
			if got, want := show(h), show(test.want); got != want {
				t.Errorf("%s:\n%s, want\n%s", test.name, got, want)
			}
		}
	}
}

// show is all of a header but its TLVs.
func show(h proxyproto.Header) string {
	return fmt.Sprintln(h.Version, h.Command, h.Family, h.Transport, h.Source, h.Destination, string(h.SourcePath), string(h.DestinationPath))
}

// TestInvalid: an error comes with the first byte that makes it one, and stays.
func TestInvalid(t *testing.T) {
	t.Parallel()
	for _, test := range invalid {
		for n := range len(test.bytes) + 1 {
			_, size, err := proxyproto.Parse([]byte(test.bytes[:n]), 0)
			if n < test.at && (size != 0 || err != nil) {
				t.Errorf("%s: after %d bytes, %q: size %d, %v", test.name, n, test.bytes[:n], size, err)
			}
			if n == test.at && !errors.Is(err, test.err) || n > test.at && err == nil {
				t.Errorf("%s: after %d bytes, %q: size %d, %v, want %v", test.name, n, test.bytes[:n], size, err, test.err)
			}
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	longest := v2(0x21, 0x11, inet+tlv(4, strings.Repeat("x", 65535-12-3)))
	for _, test := range []struct {
		bytes string
		limit int
		size  int
	}{
		{longest, 0, proxyproto.MaxSize},
		{longest, -1, proxyproto.MaxSize},
		{longest, proxyproto.MaxSize, proxyproto.MaxSize},
		{longest, proxyproto.MaxSize - 1, 0},
		{v2(0x21, 0x11, inet), 28, 28},
		{v2(0x21, 0x11, inet), 27, 0},
		{v2(0x20, 0x11, inet), 27, 0},
		{"PROXY UNKNOWN\r\n", 1, 15},
	} {
		_, size, err := proxyproto.Parse([]byte(test.bytes), test.limit)
		if size != test.size || errors.Is(err, proxyproto.ErrTooLong) != (test.size == 0) {
			t.Errorf("%d bytes, limit %d: size %d, %v, want %d", len(test.bytes), test.limit, size, err, test.size)
		}
		if _, _, err := proxyproto.Parse([]byte(test.bytes[:min(len(test.bytes), 16)]), test.limit); test.size == 0 && !errors.Is(err, proxyproto.ErrTooLong) {
			t.Errorf("limit %d: %v after 16 bytes, want ErrTooLong", test.limit, err)
		}
	}
}
