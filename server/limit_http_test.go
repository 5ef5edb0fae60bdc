package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// oddPages are pages whose handlers do not simply answer.
func oddPages(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/panic":
		panic(http.ErrAbortHandler)
	case "/hijack":
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close() // the test sees
		}
	default:
		answerPlain(w, r)
	}
}

// TestMaxConnsPerAddrPages: a connection counts for its address while net/http has it,
// and each way out of that makes room for exactly one.
func TestMaxConnsPerAddrPages(t *testing.T) {
	t.Parallel()
	onOwnSockets(t, func(t *testing.T, start starter) {
		const most = 3
		connect, srv := start(t, func(s *server.Server) {
			s.HTTP = http.HandlerFunc(oddPages)
			s.Limits.ConnsPerAddr = most
		})
		ways := map[string]func(c *client){
			"closed":             func(c *client) { _ = c.Close() },
			"reset":              (*client).reset,
			"closed by us":       func(c *client) { c.send("GET / HTTP/1.0\r\n\r\n"); c.response(); c.expectEOF() },
			"a panic":            func(c *client) { c.send(get("/panic")); c.expectEnd() },
			"hijacked":           func(c *client) { c.send(get("/hijack")); c.expectEnd() },
			"refused":            func(c *client) { c.send("GET /\n"); c.expectRefusal(400); _ = c.Close() },
			"a WebSocket":        func(c *client) { c.upgraded().reset() },
			"a WebSocket closed": func(c *client) { c.upgraded().send(frame(opClose, "")); c.expectClose(1005); _ = c.Close() },
			"pages in pieces": func(c *client) {
				for range 3 {
					sendBehind(c, get("/1"), get("/2"), "in pieces")
					c.response()
				}
				_ = c.Close()
			},
		}
		kept := make([]*client, most)
		for name, leave := range ways {
			for i := range kept {
				kept[i] = connect()
				kept[i].send(get("/page"))
				kept[i].expectPlain("GET /page ")
			}
			expectFull(t, connect, name)
			leave(kept[0])
			soon := connect()
			eventually(t, name+": room for one", func() bool {
				_ = soon.Close()
				soon = connect()
				_, err := io.WriteString(soon.Conn, get("/page"))
				if err != nil {
					return false
				}
				resp, err := http.ReadResponse(soon.r, nil)
				return err == nil && resp.StatusCode == 200
			})
			expectFull(t, connect, name)
			for _, c := range append(kept[1:], soon) {
				_ = c.Close()
			}
			openConns(t, srv, 0)
			eventually(t, name+": net/http has none", func() bool { return srv.DrainProgress().HTTP == 0 })
		}
	})
}

// expectFull expects that one more connection is one too many.
func expectFull(t *testing.T, connect func() *client, when string) {
	t.Helper()
	over := connect()
	defer over.Close()
	_, err := io.WriteString(over.Conn, get("/over"))
	if err != nil {
		return // over TLS it is just closed
	}
	if resp, err := http.ReadResponse(over.r, nil); err == nil && resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s: one more than the bound gets %d", when, resp.StatusCode)
	}
}

// TestMaxConnsPerAddrOverHTTP2: the same for HTTP/2.
func TestMaxConnsPerAddrOverHTTP2(t *testing.T) {
	t.Parallel()
	addr, srv := startH2(t, func(s *server.Server) { s.Limits.ConnsPerAddr = 1 })
	for range 3 {
		h := dialH2(t, addr, 1<<16)
		h.ask(1, "GET", "/", h2EndStream)
		h.read()
		if conn, err := net.Dial("tcp", addr); err == nil {
			over := newClient(t, conn)
			over.send(get("/"))
			over.expectEnd()
		}
		_ = h.Close()
		openConns(t, srv, 0)
		eventually(t, "net/http has none", func() bool { return srv.DrainProgress().HTTP == 0 })
	}
}

// TestProxiedBehindPages: what a PROXY header has said holds for a connection that
// net/http gives back, and it counts for its client all the time.
func TestProxiedBehindPages(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, func(s *server.Server) {
		whose(s)
		s.Proxy.Protocol, s.Limits.ConnsPerAddr = true, 1
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) }) // the client sees
	})
	for name, h := range proxyHeaders {
		if h.client == "" {
			continue // that is the proxy's own address
		}
		c := dial(t, addr)
		c.send(h.header + get("/page"))
		if _, body := c.response(); body != h.client {
			t.Errorf("%s: a page for %s, want %s", name, body, h.client)
		}
		over := dial(t, addr)
		over.send(h.header)
		over.expectBusy()
		_ = over.Close()
		c.send(upgradeRequest() + frame(opText, "whose?"))
		c.expectClient(h.client, h.tls)
		over = dial(t, addr)
		over.send(h.header)
		over.expectBusy()
		_ = over.Close()
		c.reset()
		openConns(t, srv, 0)
	}
}

// TestForwardedBehindPages: an upgrade behind a page counts for the client that a
// trusted proxy names, the page for the proxy.
func TestForwardedBehindPages(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, func(s *server.Server) {
		plainHTTP(s)
		s.Limits.ConnsPerAddr, s.Proxy.Trusted = 1, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for range 3 {
		var pages []*client
		for range 3 {
			c := dial(t, addr)
			c.send(get("/page"))
			c.expectPlain("GET /page ")
			pages = append(pages, c)
		}
		pages[0].upgraded("X-Forwarded-For: 192.0.2.1")
		pages[1].upgraded("X-Forwarded-For: 192.0.2.2")
		pages[2].send(upgradeRequest("X-Forwarded-For: 192.0.2.1"))
		pages[2].expectBusy()
		for _, c := range pages {
			_ = c.Close()
		}
		openConns(t, srv, 0)
	}
}

// TestUpgradeWithinHTTP: an upgrade that a handler makes of a plain request of the
// server's own port ends on a loop.
func TestUpgradeWithinHTTP(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			s.Limits.ConnsPerAddr, s.Limits.Conns = 1, 1
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Upgrade", "websocket") // as a middleware may
				s.ServeHTTP(w, r)
			})
		})
		request := strings.Replace(upgradeRequest(), "Upgrade: websocket", "Upgrade: other", 1)
		for range 3 {
			c := connect()
			c.send(request + frame(opText, "pipelined"))
			c.expectSwitch()
			c.expect(opText, "pipelined")
			c.send(frame(opText, "later"))
			c.expect(opText, "later")
			if s := srv.Stats(); s.Bridged != bridgedHere(t, 1) || s.Open != 1 {
				t.Errorf("%d bridged of %d", s.Bridged, s.Open)
			}
			c.send(frame(opClose, closePayload(1000, "")))
			c.expectClose(1000)
			_ = c.Close()
			openConns(t, srv, 0)
		}
	})
}

// TestReturnedTooMany: a connection that comes back counts among Limits.Handshakes, and is
// told so.
func TestReturnedTooMany(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			plainHTTP(s)
			s.Limits.Handshakes, s.Limits.ConnsPerAddr = 1, 3
		})
		for range 3 {
			c := connect()
			c.send(get("/page"))
			c.expectPlain("GET /page ")
			openConns(t, srv, 0)
			silent := connect()
			openConns(t, srv, 1)
			c.send(upgradeRequest())
			c.expectBusy()
			_ = c.Close()
			_ = silent.Close()
			openConns(t, srv, 0)
		}
	})
}

// rarelyFull is a network whose Attach finds no descriptor now and then.
type rarelyFull struct {
	*simnet.Network
	calls atomic.Int32
}

func (e *rarelyFull) Attach(conn net.Conn) (int, netip.AddrPort, error) {
	if e.calls.Add(1)%2 == 1 {
		return 0, netip.AddrPort{}, fmt.Errorf("attach: %w", poller.ErrExhausted)
	}
	return e.Network.Attach(conn)
}

// TestNoDescriptorForReturn: an upgrade behind a page, for which there is no descriptor
// just now, gets 503, over TLS too, and its places are free.
func TestNoDescriptorForReturn(t *testing.T) {
	t.Parallel()
	n := simnet.New(simnet.Config{})
	_, srv := start(t, &rarelyFull{Network: n}, withTLS(func(s *server.Server) {
		plainHTTP(s)
		s.Limits.ConnsPerAddr = 1
	}))
	addr := srv.ListenAddrs()[0].String()
	for i := range 4 {
		c := dialTLSSim(t, n, addr)
		c.send(get("/page"))
		c.expectPlain("GET /page ")
		c.send(upgradeRequest())
		if i%2 == 0 {
			c.expectBusy()
		} else {
			c.expectSwitch()
		}
		_ = c.Close()
		openConns(t, srv, 0)
		eventually(t, "net/http has none", func() bool { return srv.DrainProgress().HTTP == 0 })
	}
}

// TestStopsBehindPages: a connection that comes back to a server that drains, or has
// drained its loops, is told so.
func TestStopsBehindPages(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		slow := make(chan bool)
		connect, srv := start(t, func(s *server.Server) {
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-slow
				}
				answerPlain(w, r)
			})
		})
		idle, busy := connect(), connect()
		idle.send(get("/page"))
		idle.expectPlain("GET /page ")
		busy.send(get("/slow"))
		held := connect().upgraded()
		eventually(t, "both are net/http's", func() bool { return srv.DrainProgress().HTTP == 2 })
		done := make(chan error, 1)
		go func() { done <- srv.Drain(t.Context(), server.DrainOptions{}) }()
		eventually(t, "the drain", func() bool { return srv.DrainProgress().Phase == server.PhaseDraining })
		idle.send(upgradeRequest())
		idle.expectRefusal(http.StatusServiceUnavailable)
		_ = idle.Close()
		held.send(frame(opClose, closePayload(1001, "")))
		if op, _ := held.frame(); op != opClose {
			t.Errorf("frame %x", op)
		}
		_ = held.Close()
		close(slow)
		busy.expectPlain("GET /slow ")
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Drain: %v", err)
			}
		case <-time.After(patience):
			t.Error(errors.New("the drain does not end"))
		}
		if got := srv.DrainProgress().HTTP; got != 0 {
			t.Errorf("net/http still has %d", got)
		}
	})
}
