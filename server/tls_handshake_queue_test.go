package server_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// shakingFrom is a client at an address, of which the server has a ClientHello and
// hears nothing more.
func shakingFrom(t *testing.T, n *simnet.Network, addr, from, hello string) *client {
	t.Helper()
	conn, err := n.DialFrom(netip.AddrPortFrom(netip.MustParseAddr(from), 0), addr)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	c.send(hello)
	return c
}

// isServed says whether the server has answered c.
func isServed(t *testing.T, c *client) bool {
	t.Helper()
	if c.r.Buffered() > 0 {
		return true
	}
	conn := c.Conn.(*simnet.Conn)
	buf := make([]byte, 1)
	got, _ := conn.TryRead(buf) // of one that was cut nothing comes
	return got > 0
}

// countServed is how many of the clients have an answer, once all is at rest.
func countServed(t *testing.T, n *simnet.Network, clients []*client) (served int) {
	t.Helper()
	idle(t, n)
	for _, c := range clients {
		if isServed(t, c) {
			served++
		}
	}
	return served
}

// resting waits until no handshake has anything to do but to wait for its peer: the
// network knows nothing of their goroutines.
func resting(t *testing.T, n *simnet.Network, waiting int) {
	t.Helper()
	eventually(t, fmt.Sprint(waiting, " handshakes wait for their peers"), func() bool { return awaitingPeers() == waiting })
	idle(t, n)
}

// TestTLSSilenceMakesRoom: a peer that is silent, or brings its next message in single
// bytes, has two seconds in all once another waits, also if nobody comes later. It is
// not parallel, as the other tests that ask how many peers are awaited.
func TestTLSSilenceMakesRoom(t *testing.T) {
	config := clientTLS()
	config.MaxVersion = tls.VersionTLS12
	hello := helloOf(t, config)
	keyExchange := "\x10\x00\x00\x21\x20"
	for name, trickle := range map[string]bool{"silent": false, "a byte each 0.5 s": true} {
		n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.TLSHandshakes = 1 })
		slow := halfShaken(t, n, addr, hello)
		resting(t, n, 1)
		pass(t, n, 5*tickTime)
		next := dialSim(t, n, addr)
		next.send(hello)
		for at := 5; at < 19; at++ {
			if trickle && at%5 == 0 {
				slow.send("\x16\x03\x03\x00\x01" + keyExchange[at/5:][:1])
				resting(t, n, 1)
			}
			pass(t, n, tickTime)
			if isServed(t, next) {
				t.Fatalf("%s: another is served after %d ticks", name, at)
			}
		}
		for range 8 {
			pass(t, n, tickTime)
		}
		if _, err := next.r.Peek(1); err != nil {
			t.Errorf("%s: who waits is not served after 2.7 s: %v", name, err)
		}
		if got := srv.Stats().TLSFailed; got != 1 {
			t.Errorf("%s: %d handshakes made room, want 1", name, got)
		}
		_, _ = slow.Close(), next.Close()
		eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
	}
}

// TestTLSSilenceAlone: while nobody waits a slow peer has all the time of the
// handshake timeout.
func TestTLSSilenceAlone(t *testing.T) {
	hello := helloBytes(t)
	n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.TLSHandshakes = 1 })
	slow := halfShaken(t, n, addr, hello)
	resting(t, n, 1)
	pass(t, n, 9*second)
	if s := srv.Stats(); s.TLSFailed != 0 || s.Open != 1 {
		t.Errorf("%d failed, %d open after 9 s", s.TLSFailed, s.Open)
	}
	_ = slow.Close()
}

// TestTLSShareOfAnAddress: an address with many silent handshakes leaves places for
// others, whose handshakes begin at once.
func TestTLSShareOfAnAddress(t *testing.T) {
	hello := helloBytes(t)
	const v1 = "PROXY TCP4 %s 198.51.100.1 4444 443\r\n"
	for name, test := range map[string]struct {
		from   func(i int) string // whence the crowd comes, and another
		header func(i int) string
		other  string
		served int
		setUp  func(*server.Server)
	}{
		"IPv4":    {from: func(int) string { return "192.0.2.1" }, other: "192.0.2.2", served: 6},
		"IPv6":    {from: func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, other: "2001:db8:0:1::1", served: 6},
		"many":    {from: func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) }, served: 8},
		"a proxy": {from: func(int) string { return "192.0.2.1" }, served: 8, setUp: func(s *server.Server) { s.Proxy.Trusted = prefixes("192.0.2.1/32") }},
		"a client behind a proxy": {
			from:   func(int) string { return "192.0.2.1" },
			header: func(i int) string { return fmt.Sprintf(v1, []string{"203.0.113.1", "203.0.113.2"}[i/20]) },
			other:  "192.0.2.1", served: 6,
			setUp: func(s *server.Server) { s.Proxy.Protocol = true },
		},
		"strangers behind a proxy": {
			from:   func(int) string { return "192.0.2.1" },
			header: func(int) string { return "PROXY UNKNOWN\r\n" },
			served: 8,
			setUp:  func(s *server.Server) { s.Proxy.Protocol = true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			eventually(t, "no peer is awaited", func() bool { return awaitingPeers() == 0 })
			n, addr, _ := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
				s.Limits.TLSHandshakes = 8
				if test.setUp != nil {
					test.setUp(s)
				}
			})
			header := func(i int) string {
				if test.header == nil {
					return ""
				}
				return test.header(i)
			}
			var crowd []*client
			for i := range 20 {
				crowd = append(crowd, shakingFrom(t, n, addr, test.from(i), header(i)+hello))
			}
			resting(t, n, test.served)
			if got := countServed(t, n, crowd); got != test.served {
				t.Errorf("%d of the crowd's handshakes are under way, want %d of 8", got, test.served)
			}
			if test.other != "" {
				other := shakingFrom(t, n, addr, test.other, header(20)+hello)
				resting(t, n, test.served+1)
				if !isServed(t, other) {
					t.Error("another address waits")
				}
				_ = other.Close()
			}
			for _, c := range crowd {
				_ = c.Close()
			}
		})
	}
}

// TestTLSShareOnUnixSocket: its peers have no address, and no bound by one.
func TestTLSShareOnUnixSocket(t *testing.T) {
	hello := helloBytes(t)
	eventually(t, "no peer is awaited", func() bool { return awaitingPeers() == 0 })
	n := simnet.New(simnet.Config{})
	srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: n}, Limits: server.Limits{TLSHandshakes: 8}, TLSConfig: &tls.Config{Certificates: []tls.Certificate{serverCertificate()}}}
	path := socketpath.New(t)
	ln, err := srv.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, "", "") }()
	eventually(t, "it listens", srv.Ready)
	for range 20 {
		halfShaken(t, n, path, hello)
	}
	resting(t, n, 8)
	closeServer(t, srv)
	<-served
	_ = os.Remove(path)
}

// TestTLSFewestUnderWayIsNext: the address with the fewest handshakes under way is next,
// one that had none so far before one that comes again; one that was cut for its
// silence comes last.
func TestTLSFewestUnderWayIsNext(t *testing.T) {
	hello := helloBytes(t)
	const a, b, c, silent, last = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"
	begun, goOn := make(chan string, 20), make(chan struct{}, 20)
	n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.TLSHandshakes = 1
		silences := 1
		s.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			from := hello.Conn.RemoteAddr().(*net.TCPAddr).IP.String()
			if from == silent && silences > 0 {
				silences--
				return nil, nil
			}
			begun <- from
			<-goOn
			return nil, errors.New("this one is over")
		}
	})
	come := func(all ...string) {
		t.Helper()
		for _, from := range all {
			before := srv.Stats()
			shakingFrom(t, n, addr, from, hello)
			eventually(t, "it is in the line", func() bool { // one after the other
				now := srv.Stats()
				return now.TLSUnderWay+now.TLSWaiting > before.TLSUnderWay+before.TLSWaiting
			})
		}
	}
	expect := func(all ...string) {
		t.Helper()
		for _, want := range all {
			if got := <-begun; got != want {
				t.Errorf("%s has its turn, want %s", got, want)
			}
			goOn <- struct{}{}
		}
	}
	come(a)
	eventually(t, "the first has its turn", func() bool { return len(begun) == 1 })
	come(a, a, b, c, b)
	expect(a, b, c, a, b, a)

	eventually(t, "none is left", func() bool { return srv.Stats().TLSUnderWay == 0 })
	come(silent)
	resting(t, n, 1)
	come(a)
	pass(t, n, 3*second)
	eventually(t, "the silent one has made room", func() bool { return len(begun) == 1 })
	come(silent, b, last)
	expect(a, b, last, silent)
}
