package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
)

// anonymousHeaders are PROXY headers that name no client.
var anonymousHeaders = map[string]string{
	"v1, UNKNOWN":                "PROXY UNKNOWN\r\n",
	"v1, UNKNOWN with addresses": "PROXY UNKNOWN 203.0.113.9 198.51.100.1 4444 443\r\n",
	"v2, LOCAL":                  proxyV2(0x20, 0x00, ""),
	"v2, LOCAL with all":         proxyV2(0x20, 0x11, proxyInet),
	"v2, UNSPEC":                 proxyV2(0x21, 0x00, ""),
	"v2, Unix":                   proxyV2(0x21, 0x31, strings.Repeat("/", 216)),
}

// TestAnonymousForwarded: behind a PROXY header that names no client the connection
// is the proxy's, and what Forwarded headers say was not written by it: not even that
// they contradict each other counts. A client that is named and trusted is believed.
func TestAnonymousForwarded(t *testing.T) {
	t.Parallel()
	configure := func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol, s.Proxy.Trusted = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.RemoteAddr) })
	}
	claims := []string{"X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https", `Forwarded: for=192.0.2.66;proto=https`,
		"X-Forwarded-For: 192.0.2.66\r\nForwarded: for=192.0.2.67"}
	for _, secure := range []bool{false, true} {
		name, start := "plain", startServer
		if secure {
			name, start = "TLS", startTLS
		}
		t.Run(name, func(t *testing.T) {
			addr, _ := start(t, configure)
			proxied := func(header string) *client {
				conn := connect(t, addr)
				if _, err := io.WriteString(conn, header); err != nil {
					t.Fatal(err)
				}
				if !secure {
					return newClient(t, conn)
				}
				c, _ := secured(t, conn, clientTLS())
				return c
			}
			for name, header := range anonymousHeaders {
				for _, claim := range claims {
					c := proxied(header)
					c.send(upgradeRequest(claim) + frame(opText, "whose?"))
					c.expectClient("", secure)
					c = proxied(header) // and behind a plain request
					c.send(get("/first"))
					c.expectPlain(c.LocalAddr().String())
					c.send(upgradeRequest(claim) + frame(opText, "whose?"))
					c.expectClient("", secure)
					if t.Failed() {
						t.Fatalf("%s, %q", name, claim)
					}
				}
			}
			c := proxied("PROXY TCP4 127.0.0.9 127.0.0.1 4444 443\r\n")
			c.send(upgradeRequest(claims[0]) + frame(opText, "whose?"))
			c.expectClient("192.0.2.66:0", true)
		})
	}
}

// TestAnonymousOverHTTP2: the same where net/http has the tls.Conn itself. The log
// tells whom a refusal is taken to have met.
func TestAnonymousOverHTTP2(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"PROXY UNKNOWN\r\n": "remote=127.0.0.1:", "PROXY TCP4 127.0.0.9 127.0.0.1 4444 443\r\n": "remote=192.0.2.66 ",
	} {
		book := &logBook{}
		addr, _ := startTLS(t, func(s *server.Server) {
			s.Proxy.Protocol, s.Proxy.Trusted = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			s.HTTP, s.Logger = s, book.loggerAt(slog.LevelDebug)
		})
		web := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn := connect(t, addr)
			if _, err := io.WriteString(conn, header); err != nil {
				return nil, err
			}
			config := clientTLS()
			config.NextProtos = []string{"h2"}
			secure := tls.Client(conn, config)
			return secure, secure.HandshakeContext(ctx)
		}}
		t.Cleanup(web.CloseIdleConnections)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", "192.0.2.66")
		resp, err := web.RoundTrip(r)
		if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != http.StatusMethodNotAllowed {
			t.Fatalf("%v, %v, want 405 over HTTP/2", resp, err)
		}
		_ = resp.Body.Close() // only the status counts
		if line := lastLine(t, book, "request refused", 1); !strings.Contains(line, want) {
			t.Errorf("%q: %q lacks %q", header, line, want)
		}
	}
}
