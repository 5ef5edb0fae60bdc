package ws_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

var proxies = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8:aaaa::/48"),
}

// through is a request that came from peer with these header lines.
func through(t testing.TB, peer string, lines ...string) *ws.Request {
	t.Helper()
	r := &ws.Request{RemoteAddr: netip.MustParseAddrPort(peer)}
	if err := r.Parse([]byte(head(append([]string{"GET / HTTP/1.1", "Host: a"}, lines...)...))); err != nil {
		t.Fatal(err)
	}
	return r
}

const peer = "10.0.0.1:4000" // is trusted

// forwarded is who the client of r is by what the proxies tell, if these are trusted.
func forwarded(r *ws.Request, trusted []netip.Prefix) (client netip.AddrPort, tls bool, err error) {
	err = r.TrustForwarded(trusted)
	return r.RemoteAddr, r.TLS, err
}

var forwardedCases = []struct {
	name   string
	peer   string
	lines  []string
	client string
	tls    bool
}{
	{"nothing", peer, nil, peer, false},
	{"from anybody", "203.0.113.9:1", []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1", "X-Forwarded-Proto: https"}, "203.0.113.9:1", false},
	{"next to the trusted", "192.0.2.8:1", []string{"X-Forwarded-For: 198.51.100.1"}, "192.0.2.8:1", false},
	{"from an IPv4 address in disguise", "[::ffff:10.0.0.1]:1", []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1:0", false},
	{"from an IPv6 address", "[2001:db8:aaaa::1]:1", []string{"X-Forwarded-For: 2001:db8::1"}, "[2001:db8::1]:0", false},

	{"one hop", peer, []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1:0", false},
	{"any letter case", peer, []string{"x-FORWARDED-for: 198.51.100.1"}, "198.51.100.1:0", false},
	{"what the client says", peer, []string{"X-Forwarded-For: 1.1.1.1, 10.1.1.1, 198.51.100.1"}, "198.51.100.1:0", false},
	{"two hops", peer, []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.1, 192.0.2.7"}, "198.51.100.1:0", false},
	{"several lines", peer, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.1,10.0.0.9", "X-Forwarded-For: 192.0.2.7"}, "198.51.100.1:0", false},
	{"all trusted", peer, []string{"X-Forwarded-For: 10.9.9.9, 10.0.0.9"}, "10.9.9.9:0", false},
	{"no spaces, empty elements", peer, []string{"X-Forwarded-For: ,198.51.100.1,,192.0.2.7, ,"}, "198.51.100.1:0", false},
	{"an empty field", peer, []string{"X-Forwarded-For:"}, peer, false},
	{"a port", peer, []string{"X-Forwarded-For: 198.51.100.1:77"}, "198.51.100.1:77", false},
	{"IPv6 with a port", peer, []string{"X-Forwarded-For: [2001:DB8::1]:77"}, "[2001:db8::1]:77", false},
	{"IPv6 in brackets", peer, []string{"X-Forwarded-For: [2001:db8::1]"}, "[2001:db8::1]:0", false},
	{"an IPv4 address in disguise", peer, []string{"X-Forwarded-For: 198.51.100.1, ::ffff:10.0.0.3"}, "198.51.100.1:0", false},
	{"unknown", peer, []string{"X-Forwarded-For: 198.51.100.1, unknown, 10.0.0.9"}, "10.0.0.9:0", false},
	{"unknown at once", peer, []string{"X-Forwarded-For: 198.51.100.1, unknown"}, peer, false},
	{"a name", peer, []string{"X-Forwarded-For: 198.51.100.1, localhost"}, peer, false},
	{"a wrong address", peer, []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.256"}, peer, false},
	{"a wrong port", peer, []string{"X-Forwarded-For: 198.51.100.1:65536"}, peer, false},
	{"an empty port", peer, []string{"X-Forwarded-For: 198.51.100.1:"}, peer, false},
	{"a zone", peer, []string{"X-Forwarded-For: fe80::1%eth0"}, peer, false},
	{"a bracket alone", peer, []string{"X-Forwarded-For: ["}, peer, false},
	{"IPv4 in brackets", peer, []string{"X-Forwarded-For: [198.51.100.1]"}, peer, false},

	{"Forwarded", peer, []string{"Forwarded: for=198.51.100.1"}, "198.51.100.1:0", false},
	{"RFC 7239 section 4", peer, []string{`Forwarded: For="[2001:db8:cafe::17]:4711"`}, "[2001:db8:cafe::17]:4711", false},
	{"RFC 7239 section 4, all", peer, []string{"Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43"}, "192.0.2.60:0", false},
	{"RFC 7239 section 7.1", peer, []string{"Forwarded: for=192.0.2.43, for=192.0.2.7"}, "192.0.2.43:0", false},
	{"several lines of it", peer, []string{"Forwarded: for=1.1.1.1", `Forwarded: for=198.51.100.1, for="[2001:db8:aaaa::5]"`}, "198.51.100.1:0", false},
	{"RFC 7239 section 6.3", peer, []string{"Forwarded: for=198.51.100.1, for=_hidden, for=10.0.0.9"}, "10.0.0.9:0", false},
	{"unknown in it", peer, []string{"Forwarded: for=198.51.100.1, for=unknown"}, peer, false},
	{"an obfuscated port", peer, []string{`Forwarded: for="198.51.100.1:_x.Y-9"`}, "198.51.100.1:0", false},
	{"half an obfuscated port", peer, []string{`Forwarded: for="198.51.100.1:_"`}, peer, false},
	{"not quoted", peer, []string{"Forwarded: for=[2001:db8::1]:47;proto=https"}, "[2001:db8::1]:47", true},
	{"escapes", peer, []string{`Forwarded: for="198\.51.100.\1:4\7"`}, "198.51.100.1:47", false},
	{"space around semicolons", peer, []string{"Forwarded: ;host=a ; for=198.51.100.1 ;; proto=https;"}, "198.51.100.1:0", true},
	{"commas and semicolons in quotes", peer, []string{`Forwarded: for=1.1.1.1, host="a,for=2.2.2.2;\",";for=198.51.100.1, for=10.0.0.2;x=",\\"`}, "198.51.100.1:0", false},
	{"for twice", peer, []string{"Forwarded: for=198.51.100.1;for=198.51.100.1"}, peer, false},
	{"proto twice", peer, []string{"Forwarded: for=198.51.100.1;proto=https;proto=https"}, peer, false},
	{"an open quote", peer, []string{`Forwarded: for=198.51.100.1"`}, peer, false},
	{"text behind a quote", peer, []string{`Forwarded: for="198.51.100.1"x`}, peer, false},
	{"a space in a value", peer, []string{"Forwarded: for=198.51.100.1 x"}, peer, false},
	{"a space before =", peer, []string{"Forwarded: for =198.51.100.1"}, peer, false},
	{"no value", peer, []string{"Forwarded: for"}, peer, false},
	{"only a scheme", peer, []string{"Forwarded: proto=https"}, peer, true},
	{"an open quote of the client's", peer, []string{`Forwarded: for="1.1.1.1, for=198.51.100.1`}, "198.51.100.1:0", false},
	{"an escape of the client's", peer, []string{`Forwarded: for="1.1.1.1\, for="198.51.100.1:9"`}, "198.51.100.1:9", false},

	{"https", peer, []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"}, "198.51.100.1:0", true},
	{"only https", peer, []string{"X-Forwarded-Proto: HTTPS"}, peer, true},
	{"wss", peer, []string{"X-Forwarded-Proto: wss"}, peer, true},
	{"ws", peer, []string{"X-Forwarded-Proto: ws"}, peer, false},
	{"on, which is no scheme", peer, []string{"X-Forwarded-Proto: on"}, peer, false},
	{"what the client says of the scheme", peer, []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https, http"}, "198.51.100.1:0", false},
	{"the scheme two hops away", peer, []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.9", "X-Forwarded-Proto: http", "X-Forwarded-Proto: https, http"}, "198.51.100.1:0", true},
	{"one scheme for two hops", peer, []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.9", "X-Forwarded-Proto: https"}, "198.51.100.1:0", true},
	{"proto", peer, []string{"Forwarded: for=1.1.1.1;proto=http, for=198.51.100.1;proto=https, for=10.0.0.9;proto=http"}, "198.51.100.1:0", true},

	{"both, alike", peer, []string{"X-Forwarded-For: 198.51.100.1:5", "Forwarded: for=198.51.100.1"}, "198.51.100.1:5", false},
	{"both, alike but for a hop", peer, []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.9", `Forwarded: for="198.51.100.1:6"`}, "198.51.100.1:6", false},
	{"a Forwarded that names nobody", peer, []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: host=a"}, "198.51.100.1:0", false},
	{"an address in one, a scheme in the other", peer, []string{"Forwarded: for=198.51.100.1", "X-Forwarded-Proto: https"}, "198.51.100.1:0", true},
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	for _, test := range forwardedCases {
		r := through(t, test.peer, test.lines...)
		client, tls, err := forwarded(r, proxies)
		if client != netip.MustParseAddrPort(test.client) || tls != test.tls || err != nil {
			t.Errorf("%s: %v, TLS %v, %v, want %s, %v", test.name, client, tls, err, test.client, test.tls)
		}
	}
}

func TestForwardedContradicts(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.2"},
		{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=unknown"},
		{"X-Forwarded-For: 198.51.100.1, 10.0.0.9", "Forwarded: for=10.0.0.9, for=_x"},
		{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: http", "Forwarded: for=198.51.100.1;proto=https"},
	} {
		if client, _, err := forwarded(through(t, "10.0.0.1:1", lines...), proxies); status(err) != 400 || client.Addr().String() != "10.0.0.1" {
			t.Errorf("%q: %v, %v, want 400", lines, client, err)
		}
		if client, _, err := forwarded(through(t, "203.0.113.9:1", lines...), proxies); err != nil || client.Addr().String() != "203.0.113.9" {
			t.Errorf("%q from anybody: %v, %v", lines, client, err)
		}
	}
}

// TestForwardedTLS: a proxy that says nothing of the scheme leaves it, one that
// does decides.
func TestForwardedTLS(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"X-Forwarded-For: 198.51.100.1": true, "X-Forwarded-Proto: http": false, "Forwarded: proto=ws": false, "X-Forwarded-Proto: https": true,
	} {
		r := through(t, "10.0.0.1:1", line)
		r.TLS = true
		if _, tls, err := forwarded(r, proxies); tls != want || err != nil {
			t.Errorf("%s: TLS %v, %v, want %v", line, tls, err, want)
		}
	}
}

// TestForwardedNobody: without trusted proxies, and on a Unix socket, no field
// counts.
func TestForwardedNobody(t *testing.T) {
	t.Parallel()
	r := through(t, "10.0.0.1:1", "X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https")
	if client, tls, err := forwarded(r, nil); client != r.RemoteAddr || tls || err != nil {
		t.Errorf("%v, TLS %v, %v", client, tls, err)
	}
	r.RemoteAddr = netip.AddrPort{}
	if client, tls, err := forwarded(r, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}); client.IsValid() || tls || err != nil {
		t.Errorf("on a Unix socket: %v, TLS %v, %v", client, tls, err)
	}
}

// TestForwardedUnix: the zero Prefix trusts a peer without an address, and nobody who
// has one.
func TestForwardedUnix(t *testing.T) {
	t.Parallel()
	trusted := append([]netip.Prefix{{}}, proxies...)
	for line, want := range map[string]string{
		"X-Forwarded-For: 198.51.100.1":              "198.51.100.1:0",
		"X-Forwarded-For: 198.51.100.1, 10.0.0.9":    "198.51.100.1:0", // by way of another proxy
		"X-Forwarded-For: 198.51.100.1, unknown":     "invalid AddrPort",
		"X-Forwarded-For: 198.51.100.1, 203.0.113.9": "203.0.113.9:0",
		"Forwarded: for=\"[2001:db8::1]:47\"":        "[2001:db8::1]:47",
		"Sec-Fetch-Mode: websocket":                  "invalid AddrPort",
	} {
		r := through(t, "10.0.0.1:1", line, "X-Forwarded-Proto: https")
		r.RemoteAddr = netip.AddrPort{}
		if err := r.TrustForwarded(trusted); r.RemoteAddr.String() != want || !r.TLS || err != nil {
			t.Errorf("%s: %v, TLS %v, %v, want %s", line, r.RemoteAddr, r.TLS, err, want)
		}
		stranger := netip.MustParseAddrPort("203.0.113.7:1")
		r.RemoteAddr, r.TLS = stranger, false
		if err := r.TrustForwarded([]netip.Prefix{{}}); r.RemoteAddr != stranger || r.TLS || err != nil {
			t.Errorf("%s from an address: %v, TLS %v, %v", line, r.RemoteAddr, r.TLS, err)
		}
	}
}

// TestForwardedBound: the way has an end, however many say that they are proxies.
func TestForwardedBound(t *testing.T) {
	t.Parallel()
	const hops = 32
	for field, prefix := range map[string]string{"X-Forwarded-For: ": "", "Forwarded: ": "for="} {
		hop := func(n int) string { return prefix + netip.AddrFrom4([4]byte{10, 1, 0, byte(n)}).String() }
		var list []string
		for n := range 2 * hops {
			list = append(list, hop(2*hops-n))
		}
		want := strings.TrimPrefix(hop(hops), prefix)
		if client, _, err := forwarded(through(t, "10.0.0.1:1", field+strings.Join(list, ", ")), proxies); client.Addr().String() != want || err != nil {
			t.Errorf("%s: %v, %v, want %s", field, client, err, want)
		}
	}
}

// FuzzForwarded: whatever a client sends, in one line with what the trusted proxy
// writes behind it or in lines before it, what the proxy has written counts.
func FuzzForwarded(f *testing.F) {
	for _, garbage := range []string{
		"", "1.1.1.1", "10.1.1.1, ", `for="1.1.1.1`, `for="\`, `for=1.1.1.1;x="\\\", `, `"`, `""""`, ",,,", "for=10.1.1.1;proto=https", "[::", `for="[::1]:_x"`, "unknown", `\"\`,
	} {
		f.Add(garbage, "https")
	}
	const wrote = "198.51.100.1:47"
	f.Fuzz(func(t *testing.T, garbage, proto string) {
		for field, text := range map[string]string{"X-Forwarded-For": wrote, "Forwarded": `for="` + wrote + `"`} {
			for _, lines := range [][]string{{field + ": " + garbage + "," + text}, {field + ": " + garbage, field + ": " + text}} {
				r := ws.Request{RemoteAddr: netip.MustParseAddrPort(peer)}
				h := head(append([]string{"GET / HTTP/1.1", "Host: a", "X-Forwarded-Proto: " + proto}, lines...)...)
				if len(h) > 16<<10 || r.Parse([]byte(h)) != nil {
					return
				}
				if client, _, err := forwarded(&r, proxies); client.String() != wrote || err != nil {
					t.Fatalf("%q: %v, %v, want %s", lines, client, err, wrote)
				}
			}
		}
		r := ws.Request{RemoteAddr: netip.MustParseAddrPort(peer)}
		if r.Parse([]byte(head("GET / HTTP/1.1", "Host: a", "Forwarded: "+garbage, "X-Forwarded-For: "+garbage))) != nil {
			return
		}
		client, _, err := forwarded(&r, proxies)
		if !client.IsValid() || err != nil && (status(err) != 400 || client.String() != peer) {
			t.Fatalf("%q: %v, %v", garbage, client, err)
		}
	})
}
