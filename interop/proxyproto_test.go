package interop_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	oracle "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"github.com/millrace/millrace/proxyproto"
)

// The oracle is github.com/pires/go-proxyproto. What it makes we must read as it
// was meant, and what both read they must read alike. Where they differ on
// purpose (differs says why) one of them follows the text where the other takes
// its leave to refuse.

func init() { oracle.MaxV2HeaderSize = 65535 } // the text's own limit

// readByOracle gives what it makes of a header and how long that is.
func readByOracle(data []byte) (h *oracle.Header, size int, err error) {
	r := bufio.NewReaderSize(bytes.NewReader(data), len(data)+16)
	if h, err = oracle.Read(r); err == nil {
		_, err = h.TLVs()
	}
	return h, len(data) - r.Buffered(), err
}

// show is what a header says, in one form for both.
func show(command, family, transport byte, source, destination any) string {
	if command == 0 {
		return "local"
	}
	return fmt.Sprint(family, transport, " from ", source, " to ", destination)
}

func showOurs(h proxyproto.Header) string {
	if h.Family == proxyproto.Unix {
		return show(byte(h.Command), byte(h.Family), byte(h.Transport), string(h.SourcePath), string(h.DestinationPath))
	}
	return show(byte(h.Command), byte(h.Family), byte(h.Transport), h.Source, h.Destination)
}

func showOracle(h *oracle.Header) string {
	kind := byte(h.TransportProtocol)
	return show(byte(h.Command)&0xf, kind>>4, kind&0xf, plain(h, h.SourceAddr), plain(h, h.DestinationAddr))
}

// plain is an address of the oracle's as a netip.AddrPort or a path.
func plain(h *oracle.Header, addr net.Addr) any {
	var a netip.AddrPort
	switch addr := addr.(type) {
	case *net.TCPAddr:
		a = addr.AddrPort()
	case *net.UDPAddr:
		a = addr.AddrPort()
	case *net.UnixAddr:
		return addr.Name
	}
	if h.TransportProtocol.IsIPv6() && a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a
}

// compare holds the two against each other on bytes that may be a header.
func compare(t *testing.T, data []byte) {
	t.Helper()
	ours, size, err := proxyproto.Parse(data, 0)
	theirs, theirSize, theirErr := readByOracle(data)
	accepted, theyAccepted := size > 0 && err == nil, theirErr == nil
	switch {
	case accepted && theyAccepted:
		if size != theirSize || showOurs(ours) != showOracle(theirs) {
			t.Errorf("%q: %s in %d bytes, the oracle has %s in %d", data, showOurs(ours), size, showOracle(theirs), theirSize)
		}
	case accepted != theyAccepted && !differs(data, accepted):
		t.Errorf("%q: size %d, %v; the oracle: size %d, %v", data, size, err, theirSize, theirErr)
	}
}

// differs names where the two differ on purpose.
func differs(data []byte, accepted bool) bool {
	if !strings.HasPrefix(string(data), string(oracle.SIGV2)) {
		// One line of text has no CR within, also behind UNKNOWN.
		line, _, _ := strings.Cut(string(data), "\n")
		return !accepted && strings.Contains(strings.TrimSuffix(line, "\r"), "\r")
	}
	local, family := data[12]&0xf == 0, data[13]
	switch {
	case accepted:
		// The family of a LOCAL header "is ignored", and its bytes are skipped,
		// vectors or not; "the receiver is free to accept" an unspecified one.
		return local || family == 0
	case family&0xf == 0 || family>>4 == 0:
		return false
	}
	// We check what the vectors hold; it does when asked for one of them. It
	// never looks at the checksum, which "the receiver MUST" do.
	return !local
}

func TestPROXYFromOracle(t *testing.T) {
	tcp := func(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	udp := func(text string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	unix := func(name string) net.Addr { return &net.UnixAddr{Net: "unix", Name: name} }
	for _, ends := range [][2]net.Addr{
		{tcp("192.0.2.1:1"), tcp("198.51.100.255:65535")},
		{tcp("0.0.0.0:0"), tcp("255.255.255.255:443")},
		{tcp("[2001:db8::1]:1"), tcp("[::]:0")},
		{tcp("[2001:db8::1]:1"), tcp("192.0.2.1:65535")},
		{udp("192.0.2.1:1"), udp("192.0.2.2:2")},
		{udp("[::1]:1"), udp("[::2]:2")},
		{unix("/run/client"), unix("")},
		{tcp("192.0.2.1:1"), unix("x")},
	} {
		for _, version := range []byte{1, 2} {
			h := oracle.HeaderProxyFromAddrs(version, ends[0], ends[1])
			b, err := h.Format()
			if err != nil {
				t.Fatal(err)
			}
			ours, size, err := proxyproto.Parse(b, 0)
			if size != len(b) || err != nil || byte(ours.Version) != version {
				t.Fatalf("%q: size %d, %v", b, size, err)
			}
			if version == 2 && showOurs(ours) != showOracle(h) {
				t.Errorf("%q: %s, want %s", b, showOurs(ours), showOracle(h))
			}
			compare(t, append(b, "GET / HTTP/1.1\r\n"...))
		}
	}
}

func TestPROXYVectorsFromOracle(t *testing.T) {
	ssl := tlvparse.PP2SSL{Client: 5, Verify: 0, TLV: []oracle.TLV{
		{Type: oracle.PP2_SUBTYPE_SSL_VERSION, Value: []byte("TLSv1.3")},
		{Type: oracle.PP2_SUBTYPE_SSL_CN, Value: []byte("client.example")},
		{Type: oracle.PP2_SUBTYPE_SSL_CIPHER, Value: []byte("TLS_AES_128_GCM_SHA256")},
		{Type: oracle.PP2_SUBTYPE_SSL_SIG_ALG, Value: []byte("SHA256")},
		{Type: oracle.PP2_SUBTYPE_SSL_KEY_ALG, Value: []byte("RSA2048")},
	}}
	vector, err := ssl.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	h := oracle.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1")),
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:2")))
	if err := h.SetTLVs([]oracle.TLV{
		{Type: oracle.PP2_TYPE_ALPN, Value: []byte("h2")}, {Type: oracle.PP2_TYPE_NOOP, Value: make([]byte, 40000)},
		{Type: oracle.PP2_TYPE_AUTHORITY, Value: []byte("example.com")}, {Type: oracle.PP2_TYPE_UNIQUE_ID, Value: []byte{0, 255}}, vector,
	}); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	ours, size, err := proxyproto.Parse(b, 0)
	if size != len(b) || err != nil {
		t.Fatalf("size %d, %v, want %d", size, err, len(b))
	}
	if ours.ALPN() != "h2" || ours.Authority() != "example.com" || ours.UniqueID() != "\x00\xff" {
		t.Errorf("ALPN %q, authority %q, unique ID %q", ours.ALPN(), ours.Authority(), ours.UniqueID())
	}
	want := proxyproto.SSL{
		TLS: true, CertInSession: true, Version: "TLSv1.3", CN: "client.example", Cipher: "TLS_AES_128_GCM_SHA256",
		SigAlg: "SHA256", KeyAlg: "RSA2048",
	}
	if got, ok := ours.SSL(); !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// FuzzPROXY compares on any bytes.
func FuzzPROXY(f *testing.F) {
	for _, line := range []string{
		"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 1 65535\r\nGET", "PROXY UNKNOWN a b\r\n",
		"PROXY TCP4 192.168.0.1 192.168.0.11 056324 443\r\n", "PROXY TCP6 fe80::1%1 :: 1 1\r\n", "PROXY UNKNOWN \r\r\n", "\r\n",
	} {
		f.Add([]byte(line))
	}
	const inet = "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"
	for _, binary := range []string{
		"\x20\x00\x00\x00", "\x20\x11\x00\x00", "\x20\xff\x00\x03abc", "\x21\x00\x00\x00", "\x21\x11\x00\x0c" + inet, "\x21\x12\x00\x10" + inet + "\x04\x00\x01x",
		"\x21\x11\x00\x13" + inet + "\x03\x00\x04abcd", "\x21\x10\x00\x0c" + inet, "\x21\x11\x00\x0b" + inet, "\x21\x31\x00\xd8" + strings.Repeat("/tmp/a\x00", 31),
	} {
		f.Add([]byte(string(oracle.SIGV2) + binary))
	}
	f.Fuzz(compare)
}
