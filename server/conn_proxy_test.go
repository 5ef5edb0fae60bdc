package server_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The PROXY headers here are bytes, as the protocol's text shows them.

// proxyV2 is a header of version 2.
func proxyV2(command, family byte, block string) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(block)))) + block
}

// vector is a TLV of version 2.
func vector(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

const (
	proxyInet  = "\xcb\x00\x71\x09" + "\xc6\x33\x64\x01" + "\x11\x5c" + "\x01\xbb" // 203.0.113.9:4444 to 198.51.100.1:443
	proxyInet6 = "\x20\x01\x0d\xb8" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09"
	proxyV1    = "PROXY TCP4 203.0.113.9 198.51.100.1 4444 443\r\n"
)

// proxyHeaders are right headers and the client they name; "" is the peer itself.
var proxyHeaders = map[string]struct {
	header, client string
	tls            bool
}{
	"v1":                 {header: proxyV1, client: "203.0.113.9:4444"},
	"v1, TCP6":           {header: "PROXY TCP6 2001:db8::9 2001:db8::1 4444 443\r\n", client: "[2001:db8::9]:4444"},
	"v1, mapped":         {header: "PROXY TCP6 ::ffff:203.0.113.9 ::ffff:198.51.100.1 4444 443\r\n", client: "203.0.113.9:4444"},
	"v1, 0.0.0.0":        {header: "PROXY TCP4 0.0.0.0 198.51.100.1 4444 443\r\n", client: "0.0.0.0:4444"},
	"v1, UNKNOWN":        {header: "PROXY UNKNOWN\r\n"},
	"v1, longest":        {header: "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n"},
	"v2":                 {header: proxyV2(0x21, 0x11, proxyInet), client: "203.0.113.9:4444"},
	"v2, IPv6":           {header: proxyV2(0x21, 0x21, proxyInet6+proxyInet6+"\x11\x5c\x01\xbb"), client: "[2001:db8::9]:4444"},
	"v2, LOCAL":          {header: proxyV2(0x20, 0x00, "")},
	"v2, LOCAL with all": {header: proxyV2(0x20, 0x11, proxyInet+vector(0x20, "\x01\x00\x00\x00\x00"))},
	"v2, UNSPEC":         {header: proxyV2(0x21, 0x00, vector(0x01, "http/1.1"))},
	"v2, Unix":           {header: proxyV2(0x21, 0x31, strings.Repeat("/", 216))},
	"v2, TLS":            {header: proxyV2(0x21, 0x11, proxyInet+vector(0x20, "\x01\x00\x00\x00\x00"+vector(0x21, "TLSv1.3"))), client: "203.0.113.9:4444", tls: true},
	"v2, not TLS":        {header: proxyV2(0x21, 0x11, proxyInet+vector(0x20, "\x00\x00\x00\x00\x00")), client: "203.0.113.9:4444"},
	"v2, 65,535 bytes":   {header: proxyV2(0x21, 0x11, proxyInet+vector(0x04, strings.Repeat("x", 65535-12-3))), client: "203.0.113.9:4444"},
}

// whose is a hook that lets a client know who the server takes it for, and a
// handler that tells again.
func whose(srv *server.Server) {
	srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
		return server.Accept{Header: http.Header{"X-Client": {r.RemoteAddr.String()}, "X-TLS": {fmt.Sprint(r.TLS)}}}, nil
	}
	srv.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) { _ = c.SendText(c.RemoteAddr().String()) })
}

// expectClient reads the answers to an upgrade and a message behind it.
func (c *client) expectClient(want string, tls bool) {
	c.t.Helper()
	if want == "" {
		want = c.LocalAddr().String()
	}
	resp := c.expectSwitch()
	if got, gotTLS := resp.Header.Get("X-Client"), resp.Header.Get("X-TLS"); got != want || gotTLS != fmt.Sprint(tls) {
		c.t.Errorf("the request is from %s, TLS %s, want %s, %v", got, gotTLS, want, tls)
	}
	c.expect(opText, want)
}

// TestProxyHeader: whose a connection is stands before its request, which is
// served in the same turn.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			whose(s)
			s.Proxy.Protocol = true
		})
		for name, test := range proxyHeaders {
			t.Run(name, func(t *testing.T) {
				c := connect()
				c.t = t
				c.send(test.header + upgradeRequest() + frame(opText, "whose?"))
				c.expectClient(test.client, test.tls)
			})
		}
		if got := srv.Stats(); got.ProxyRefused != 0 || got.Upgraded != uint64(len(proxyHeaders)) {
			t.Errorf("%+v", got)
		}
	})
}

// TestProxyHeaderSplit sends header and request in two segments, split at each
// byte, and in single bytes.
func TestProxyHeaderSplit(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol = true
	})
	for name, test := range proxyHeaders {
		if len(test.header) > 1000 {
			continue // below
		}
		all := test.header + upgradeRequest() + frame(opText, "whose?")
		for at := range len(test.header) + 1 {
			c := dialSim(t, n, addr)
			c.send(all[:at])
			idle(t, n)
			c.send(all[at:])
			c.expectClient(test.client, test.tls)
			if t.Failed() {
				t.Fatalf("%s, split at %d", name, at)
			}
			_ = c.Close() // its server side sees the end
		}
	}
	n, addr, _ = startSim(t, simnet.Config{Script: simnet.OneByte}, func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol = true
	})
	for _, test := range proxyHeaders {
		c := dialSim(t, n, addr)
		c.send(test.header + upgradeRequest() + frame(opText, "whose?"))
		c.expectClient(test.client, test.tls)
	}
}

// TestProxyHeaderInBytes is the same on sockets, a byte a write.
func TestProxyHeaderInBytes(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol = true
	})
	for _, test := range proxyHeaders {
		c := dial(t, addr)
		all := test.header + upgradeRequest() + frame(opText, "whose?")
		for len(all) > 2000 {
			c.send(all[:1000])
			all = all[1000:]
		}
		for i := range len(all) {
			c.send(all[i : i+1])
		}
		c.expectClient(test.client, test.tls)
	}
}

// TestProxyOnUnixSocket: who may connect there the file says, so a header counts;
// without one nobody is trusted, for there is no address.
func TestProxyOnUnixSocket(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{true, false} {
		engine, err := poller.New(os.Getenv("MILLRACE_POLLER"))
		if err != nil {
			t.Fatal(err)
		}
		srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: engine}, Proxy: server.Proxy{Protocol: required, Trusted: prefixes("10.0.0.0/8 0.0.0.0/0 ::/0")}}
		whose(srv)
		path := socketpath.New(t)
		ln, err := srv.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		lines := []string{"X-Forwarded-For: 1.2.3.4"}
		want := netip.AddrPort{}.String()
		if required {
			c.send(proxyV1)
			lines, want = nil, "203.0.113.9:4444"
		}
		c.send(upgradeRequest(lines...) + frame(opText, "whose?"))
		c.expectClient(want, false)
		if err := errors.Join(srv.Close(), <-served); !errors.Is(err, server.ErrServerClosed) {
			t.Error(err)
		}
	}
}

// TestProxyHeaderRefused: a connection that does not begin as it must ends
// without a word, and a request that begins with a header nobody asked for is a
// malformed one.
func TestProxyHeaderRefused(t *testing.T) {
	t.Parallel()
	book := &logBook{}
	wrong := map[string]string{
		"none":                 upgradeRequest(),
		"TLS":                  "\x16\x03\x01\x02\x00\x01",
		"half, then request":   proxyV1[:20] + upgradeRequest(),
		"v1 without CR":        strings.Replace(proxyV1, "\r", "", 1) + upgradeRequest(),
		"v1 of 108 bytes":      "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n" + upgradeRequest(),
		"v1, leading zero":     strings.Replace(proxyV1, "4444", "04444", 1) + upgradeRequest(),
		"v2, version 3":        proxyV2(0x31, 0x11, proxyInet) + upgradeRequest(),
		"v2, command 2":        proxyV2(0x22, 0x11, proxyInet) + upgradeRequest(),
		"v2, family 4":         proxyV2(0x21, 0x41, proxyInet) + upgradeRequest(),
		"v2, too short":        proxyV2(0x21, 0x21, proxyInet) + upgradeRequest(),
		"v2, wrong CRC-32C":    proxyV2(0x21, 0x11, proxyInet+vector(3, "abcd")) + upgradeRequest(),
		"v2, TLV beyond":       proxyV2(0x21, 0x11, proxyInet+"\x04\x00\x09x") + upgradeRequest(),
		"two headers, v1":      proxyV1 + proxyV1,
		"two headers, v2":      proxyV2(0x21, 0x11, proxyInet) + proxyV2(0x21, 0x11, proxyInet),
		"v1 behind empty line": "\r\n" + proxyV1,
	}
	onBoth(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			s.Runtime.Loops = 1
			s.Proxy.Protocol = true
			s.Logger = book.logger()
			s.Handler = handler{open: func(*server.Conn) { t.Error("a connection was opened") }}
		})
		refused := uint64(0)
		for name, bytes := range wrong {
			c := connect()
			c.send(bytes)
			if strings.HasPrefix(name, "two") {
				c.expectRefusal(400)
				continue
			}
			c.expectEnd()
			refused++
		}
		if got := srv.Stats(); got.ProxyRefused != refused || got.Upgraded != 0 {
			t.Errorf("%+v, want %d refused", got, refused)
		}
	})
	if got := book.count("PROXY header refused"); got != 2 {
		t.Errorf("logged %d times, want once for each server", got)
	}
	t.Run("not asked for", func(t *testing.T) {
		connect, _ := onSimnet(t, nil)
		for name, test := range proxyHeaders {
			c := connect()
			c.send(test.header + upgradeRequest())
			c.expectRefusal(400)
			if t.Failed() {
				t.Fatal(name)
			}
		}
	})
}

// TestProxyHeaderFromTrusted: with Proxy.Trusted, others may not connect at all.
func TestProxyHeaderFromTrusted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		for proxies, trusted := range map[string]bool{
			"192.0.2.0/24": false, "127.0.0.1/32 10.0.0.0/8": true, "192.0.2.0/24 127.0.0.0/8 10.0.0.0/31": true, "::/0": false,
		} {
			connect, srv := start(t, func(s *server.Server) {
				whose(s)
				s.Proxy.Protocol = true
				s.Proxy.Trusted = prefixes(proxies)
			})
			c := connect()
			if !trusted {
				c.expectEnd() // before it has said anything
				eventually(t, "it to be counted", func() bool { return srv.Stats().ProxyRefused == 1 && srv.Stats().Open == 0 })
				continue
			}
			c.send(proxyV1 + upgradeRequest() + frame(opText, "whose?"))
			c.expectClient("203.0.113.9:4444", false)
		}
	})
}

func prefixes(text string) (list []netip.Prefix) {
	for field := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParsePrefix(field))
	}
	return list
}

// TestProxyHeaderLimit: a longer header is refused when its length is known.
func TestProxyHeaderLimit(t *testing.T) {
	t.Parallel()
	connect, _ := onSimnet(t, func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol = true
		s.Proxy.MaxHeader = 100
	})
	header := proxyV2(0x21, 0x11, proxyInet+vector(4, strings.Repeat("x", 69)))
	c := connect()
	c.send(header + upgradeRequest() + frame(opText, "whose?"))
	c.expectClient("203.0.113.9:4444", false)
	c = connect()
	c.send(proxyV2(0x21, 0x11, proxyInet+vector(4, strings.Repeat("x", 70)))[:16])
	c.expectEnd()
}

// TestProxyHeaderDeadline: what does not bring its header in time is cut without
// a word, and the time counts on through the request.
func TestProxyHeaderDeadline(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Proxy.Protocol = true })
	silent, half, request := dialSim(t, n, addr), dialSim(t, n, addr), dialSim(t, n, addr)
	half.send(proxyV1[:30])
	pass(t, n, 5*time.Second)
	half.send(proxyV1[30:40])
	request.send(proxyV1 + "GET / HT")
	pass(t, n, 4900*time.Millisecond)
	for _, c := range []*client{silent, half, request} {
		silentStill(t, c)
	}
	pass(t, n, 200*time.Millisecond)
	silent.expectEnd()
	half.expectEnd()
	request.expectRefusal(408)
	pass(t, n, 3*time.Second)
	eventuallyOn(t, n, "all to be gone", func() bool { return srv.Stats().Open == 0 })
}

// TestProxyHeaderMemory: many long headers that are never whole keep what they
// have sent and little more, and give it back.
func TestProxyHeaderMemory(t *testing.T) {
	const conns, sent = 200, 10_000
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Proxy.Protocol = true })
	header := proxyV2(0x21, 0x11, proxyInet+vector(4, strings.Repeat("x", 65535-12-3)))
	before := heapInUse()
	for range conns {
		dialSim(t, n, addr).send(header[:sent])
	}
	idle(t, n)
	if grown := heapInUse() - before; grown > 2*conns*2*sent {
		t.Errorf("%d bytes for %d of %d bytes", grown, conns, sent)
	}
	n.Advance(11 * time.Second)
	eventuallyOn(t, n, "all to be gone", func() bool { return srv.Stats().Open == 0 })
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestProxyThenPlainHTTP: net/http sees the client as well, and so does an
// upgrade that comes back from it.
func TestProxyThenPlainHTTP(t *testing.T) {
	t.Parallel()
	connect, _ := onSimnet(t, func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol = true
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })
	})
	for name, test := range proxyHeaders {
		c := connect()
		want := test.client
		if want == "" {
			want = c.LocalAddr().String()
		}
		c.send(test.header + get("/") + upgradeRequest() + frame(opText, "whose?"))
		c.expectPlain(want)
		c.expectClient(test.client, test.tls)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// TestProxyDrain: a connection whose header is awaited has two seconds when the
// server drains.
func TestProxyDrain(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Proxy.Protocol = true })
	c := dialSim(t, n, addr)
	c.send(proxyV1[:20])
	idle(t, n)
	done := beginDrain(t, srv, server.DrainOptions{})
	idle(t, n)
	n.Advance(2*time.Second + tickTime)
	c.expectEnd()
	expectDrained(t, done, nil)
}

// TestForwarded: who the client is, and that it came over TLS, is what trusted
// proxies say of it, to the hook, the origin check and the connection.
func TestForwarded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		connect, _ := start(t, func(s *server.Server) {
			whose(s)
			s.Proxy.Trusted = prefixes("127.0.0.0/8 10.0.0.0/8")
		})
		for _, test := range []struct {
			client string
			tls    bool
			lines  []string
		}{
			{client: ""},
			{"203.0.113.9:0", false, []string{"X-Forwarded-For: 1.2.3.4, 203.0.113.9, 10.0.0.1"}},
			{"[2001:db8::9]:99", true, []string{`Forwarded: for="[2001:db8::9]:99";proto=https`, "Origin: https://example.com"}},
			{"203.0.113.9:0", true, []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "Origin: https://example.com"}},
			{"", false, []string{"X-Forwarded-For: unknown", "X-Forwarded-Proto: http", "Origin: http://example.com"}},
		} {
			c := connect()
			c.send(upgradeRequest(test.lines...) + frame(opText, "whose?"))
			c.expectClient(test.client, test.tls)
		}
		c := connect()
		c.send(upgradeRequest("X-Forwarded-Proto: https", "Origin: http://example.com"))
		c.expectRefusal(403)
		c = connect()
		c.send(upgradeRequest("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.10"))
		c.expectRefusal(400)
	})
}

// TestForwardedUntrusted: from anybody else the fields mean nothing, also when
// that anybody connects through a proxy that is trusted.
func TestForwardedUntrusted(t *testing.T) {
	t.Parallel()
	lines := []string{"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "Forwarded: for=1.2.3.5"}
	for _, proxies := range []string{"", "172.16.0.0/12"} {
		connect, _ := onSimnet(t, func(s *server.Server) {
			whose(s)
			s.Proxy.Trusted = prefixes(proxies)
		})
		c := connect()
		c.send(upgradeRequest(lines...) + frame(opText, "whose?"))
		c.expectClient("", false)
	}
	connect, _ := onSimnet(t, func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol = true
		s.Proxy.Trusted = prefixes("10.0.0.0/8 198.51.100.0/24") // simnet's clients are 10.x.x.x
	})
	c := connect()
	c.send(proxyV1 + upgradeRequest(lines...) + frame(opText, "whose?"))
	c.expectClient("203.0.113.9:4444", false)
	c = connect()
	c.send("PROXY TCP4 198.51.100.77 127.0.0.1 1 2\r\n" + upgradeRequest("X-Forwarded-For: 1.2.3.4") + frame(opText, "whose?"))
	c.expectClient("1.2.3.4:0", false)
}

// TestForwardedThroughHTTP: the same for a connection that comes from net/http.
func TestForwardedThroughHTTP(t *testing.T) {
	t.Parallel()
	srv := &server.Server{Proxy: server.Proxy{Trusted: prefixes("127.0.0.0/8")}}
	whose(srv)
	addr := mount(t, srv, srv.ServeHTTP)
	c := dial(t, addr)
	c.send(upgradeRequest("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "Origin: https://example.com") + frame(opText, "whose?"))
	c.expectClient("203.0.113.9:0", true)
	c = dial(t, addr)
	c.send(upgradeRequest("X-Forwarded-For: 203.0.113.9", "Forwarded: for=_x"))
	c.expectRefusal(400)
}

// TestProxyReset: a header in pieces ends with its connection, whatever comes
// instead of the rest.
func TestProxyReset(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Proxy.Protocol = true })
	for i, end := range []func(*client){(*client).reset, (*client).closeWrite, func(c *client) { _ = c.Close() }} {
		c := dialSim(t, n, addr)
		c.send(proxyV1[:10+i])
		idle(t, n)
		end(c)
		eventuallyOn(t, n, "it to be gone", func() bool { return srv.Stats().Open == 0 })
	}
}

// TestProxiedNotCounted: a client whose own address is a trusted proxy's is not counted,
// and the log says so once; one with another address is not told of.
func TestProxiedNotCounted(t *testing.T) {
	t.Parallel()
	var book logBook
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Proxy.Trusted = prefixes("10.0.0.0/8")
		s.Limits.ConnsPerAddr, s.Logger = 2, book.logger()
	})
	for _, test := range []struct {
		client string
		told   int
	}{{"203.0.113.9", 0}, {"10.7.7.7", 1}} {
		for i := range 3 {
			c := dialSim(t, n, addr)
			if c.send(upgradeRequest("X-Forwarded-For: " + test.client)); test.told == 0 && i == 2 {
				c.expectRefusal(503)
			} else {
				c.expectSwitch()
			}
		}
		if got := book.count("client not counted by its address"); got != test.told {
			t.Errorf("%s: told %d times, want %d:\n%s", test.client, got, test.told, book.String())
		}
	}
}

// TestProxiedPerAddr: a connection counts for its client's address, from when it
// is known to the end, and never for that of the proxy.
func TestProxiedPerAddr(t *testing.T) {
	t.Parallel()
	header := func(last int) string { return fmt.Sprintf("PROXY TCP4 203.0.113.%d 198.51.100.1 1 443\r\n", last) }
	for name, test := range map[string]struct {
		proxyProtocol bool
		begin         func(last int) string
	}{
		"PROXY": {true, func(last int) string { return header(last) + upgradeRequest() }},
		"X-Forwarded-For": {false, func(last int) string {
			return upgradeRequest(fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", last))
		}},
		"both": {true, func(last int) string {
			return "PROXY TCP4 10.9.9.9 198.51.100.1 1 443\r\n" + upgradeRequest(fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", last))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
				s.Proxy.Protocol = test.proxyProtocol
				s.Proxy.Trusted = prefixes("10.0.0.0/8")
				s.Limits.ConnsPerAddr = 2
			})
			connect := func(last int) *client {
				c := dialSim(t, n, addr)
				c.send(test.begin(last))
				return c
			}
			for range 2 { // the second time all places are free again
				var open []*client
				for last := range 5 {
					for range 2 {
						c := connect(last)
						c.expectSwitch()
						open = append(open, c)
					}
					connect(last).expectRefusal(503)
				}
				for _, c := range open {
					_ = c.Close() // the server sees the end
				}
				eventuallyOn(t, n, "all to be gone", func() bool { return srv.Stats().Open == 0 })
			}
		})
	}
}
