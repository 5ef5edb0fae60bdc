package server_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// expectBusy reads a 503 that says when to come again, and the end of the stream.
func (c *client) expectBusy() {
	c.t.Helper()
	if resp := c.expectRefusal(http.StatusServiceUnavailable); resp.Header.Get("Retry-After") == "" {
		c.t.Errorf("503 without Retry-After: %v", resp.Header)
	}
}

// hits expects that a limit was met so many times.
func hits(t *testing.T, srv *server.Server, limit server.Limit, want uint64) {
	t.Helper()
	if got := srv.Stats().Limits[limit]; got != want {
		t.Errorf("limit %v was met %d times, want %d", limit, got, want)
	}
}

// openConns expects so many connections in the loops, soon.
func openConns(t *testing.T, srv *server.Server, want int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d open connections", want), func() bool { return srv.Stats().Open == want })
}

// refuseOne is a hook that refuses, or panics on, the paths of that name.
func refuseOne(r *ws.Request) (server.Accept, error) {
	switch r.Path() {
	case "/refuse":
		return server.Accept{}, &ws.Refusal{Status: 403}
	case "/panic":
		panic(http.ErrAbortHandler) // net/http does not log this one
	}
	return server.Accept{}, nil
}

// TestMaxConns: as many WebSockets as allowed are open at once; one more is
// refused, plain requests are not, and each that ends in whatever way makes room.
func TestMaxConns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			s.Limits.Conns = 3
			s.Upgrade = refuseOne
			s.HTTP = http.HandlerFunc(answerPlain)
		})
		for round := range 5 {
			for _, path := range []string{"/refuse", "/panic"} {
				c := connect()
				c.send(strings.Replace(upgradeRequest(), " / ", " "+path+" ", 1))
				c.expectRefusal(403, 500)
				_ = c.Close()
			}
			all := []*client{connect().upgraded(), connect().upgraded(), connect().upgraded()}
			over := connect()
			over.send(upgradeRequest())
			over.expectBusy()
			_ = over.Close()
			hits(t, srv, server.LimitConns, uint64(round+1))
			if round == 0 && !simulated(over) {
				plain := connect()
				plain.send(get("/healthz"))
				plain.expectPlain("GET /healthz ")
				_ = plain.Close()
			}
			all[0].send(frame(opClose, closePayload(1000, "")))
			all[0].expectClose(1000)
			all[1].reset()
			openConns(t, srv, 1)
			connect().upgraded().reset()
			all[2].send("not a frame")
			all[2].expectClose(1002)
			_ = all[2].Close()
			openConns(t, srv, 0)
		}
	})
}

// simulated says whether c is on a network in memory, from which net/http can
// take no connection.
func simulated(c *client) bool {
	_, ok := c.Conn.(*simnet.Conn)
	return ok
}

// TestMaxHandshakes: so many silent connections may be there; the next is told
// to come again without being asked, and a place is free as soon as one is open
// or gone.
func TestMaxHandshakes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) { s.Limits.Handshakes = 3 })
		for round := range 3 {
			silent := []*client{connect(), connect(), connect()}
			over := connect()
			over.expectBusy()
			over.send(upgradeRequest()) // nobody reads it
			hits(t, srv, server.LimitHandshakes, uint64(round+1))
			silent[0].upgraded()
			_ = silent[1].Close()
			silent[2].send("garbage\n")
			silent[2].expectRefusal(400)
			for _, c := range append(silent, over) {
				_ = c.Close()
			}
			openConns(t, srv, 0)
		}
		// Those that are open take no place from those that come.
		for range 10 {
			connect().upgraded()
		}
	})
}

// TestTurnedAwayBound: those that are told to come again have a bound too, and 2 s.
func TestTurnedAwayBound(t *testing.T) {
	t.Parallel()
	const turnedAway = 1024
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.Handshakes = 1 })
	silent := dialSim(t, n, addr)
	for range turnedAway {
		dialSim(t, n, addr).expectBusy() // and it does not close
	}
	for range 10 {
		dialSim(t, n, addr).expectEnd()
	}
	openConns(t, srv, turnedAway+1)
	hits(t, srv, server.LimitHandshakes, turnedAway+10)
	eventuallyOn(t, n, "those told to be gone", func() bool { return srv.Stats().Open <= 1 })
	_ = silent.Close()
	openConns(t, srv, 0)
	dialSim(t, n, addr).upgraded()
}

// TestHandshakeRate moves the clock: a burst, then one each 100 ms, whatever
// becomes of it; a plain request takes nothing.
func TestHandshakeRate(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.HandshakeRate, s.Limits.HandshakeBurst = 10, 3
		s.Upgrade = refuseOne
	})
	refused := func() {
		t.Helper()
		c := dialSim(t, n, addr)
		c.send(upgradeRequest())
		c.expectBusy()
	}
	for range 3 {
		dialSim(t, n, addr).upgraded()
	}
	refused()
	plain := dialSim(t, n, addr)
	plain.send(get("/"))
	plain.expectRefusal(426)
	for range 5 {
		n.Advance(100 * time.Millisecond)
		c := dialSim(t, n, addr)
		c.send(with("GET /", "GET /refuse"))
		c.expectRefusal(403)
		refused()
	}
	n.Advance(time.Hour)
	for range 3 {
		dialSim(t, n, addr).upgraded()
	}
	refused()
	hits(t, srv, server.LimitHandshakeRate, 7)
}

// dialAs connects from an address.
func dialAs(t *testing.T, n *simnet.Network, addr, from string) *client {
	t.Helper()
	conn, err := n.DialFrom(netip.AddrPortFrom(netip.MustParseAddr(from), 0), addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

// TestMaxConnsPerAddr: an address has so many connections at once, whatever their
// state, and each way out makes room for exactly one.
func TestMaxConnsPerAddr(t *testing.T) {
	t.Parallel()
	const most = 3
	failing := ""
	config := simnet.Config{Script: func(call simnet.Call) simnet.Verdict {
		if call.Op == simnet.OpAdd && failing != "" {
			return simnet.Verdict{Err: syscall.ENOSPC}
		}
		return simnet.Verdict{}
	}}
	n, addr, srv := startSim(t, config, func(s *server.Server) { s.Limits.ConnsPerAddr = most })
	dial := func(from string) *client { return dialAs(t, n, addr, from) }
	ends := map[string]func(*client){
		"closed": func(c *client) {
			c.upgraded().send(frame(opClose, ""))
			c.expectClose(1005)
		},
		"reset":         func(c *client) { c.upgraded().reset() },
		"silent":        func(c *client) { pass(t, n, 11*second); c.expectEOF() },
		"refused":       func(c *client) { c.send("x\n"); c.expectRefusal(400); _ = c.Close() },
		"plain request": func(c *client) { c.send(get("/")); c.expectRefusal(426); _ = c.Close() },
	}
	filled := func(from, same string) {
		t.Helper()
		all := make([]*client, most)
		for i := range all {
			all[i] = dial(from).upgraded()
		}
		dial(same).expectBusy()
		for _, c := range all {
			_ = c.Close()
		}
		eventuallyOn(t, n, "none open", func() bool { return srv.Stats().Open == 0 })
	}
	for from, same := range map[string]string{
		"192.0.2.1":        "192.0.2.1",
		"2001:db8::1":      "2001:db8::ffff:1",
		"2001:db8:0:1::":   "2001:db8:0:1:8000::",
		"::ffff:192.0.2.7": "192.0.2.7",
	} {
		filled(from, same)
		for name, end := range ends {
			c := dial(from)
			end(c)
			eventuallyOn(t, n, name+": none open", func() bool { return srv.Stats().Open == 0 })
		}
		idle(t, n)
		failing = from
		dial(from).expectEnd()
		idle(t, n)
		failing = ""
		filled(from, same)
	}
	for i := range 2 * most {
		dial(fmt.Sprintf("2001:db8:0:%x::1", i)).upgraded() // networks of their own
		dial(fmt.Sprintf("198.51.100.%d", i)).upgraded()
	}
	hits(t, srv, server.LimitConnsPerAddr, 8)
}

// TestMaxHTTPConns: net/http has so many connections at once, idle ones and all, and
// each way out of it makes room for one more.
func TestMaxHTTPConns(t *testing.T) {
	t.Parallel()
	const most = 3
	addr, srv := startServer(t, func(s *server.Server) {
		plainHTTP(s)
		s.Limits.HTTPConns = most
	})
	served := func() *client {
		c := dial(t, addr)
		c.send(get("/"))
		c.expectPlain("GET / ")
		return c
	}
	all := make([]*client, most)
	for i := range all {
		all[i] = served()
	}
	refused := func() {
		over := dial(t, addr)
		over.send(get("/"))
		over.expectBusy()
	}
	refused()
	dial(t, addr).upgraded() // which never was net/http's
	all[0].upgraded()        // and is not any more
	eventually(t, "a place is free", func() bool { return srv.DrainProgress().HTTP == most-1 })
	served()
	refused()
	_ = all[1].Close()
	eventually(t, "a place is free", func() bool { return srv.DrainProgress().HTTP == most-1 })
	served()
	refused()
	hits(t, srv, server.LimitHTTPConns, 3)
}

// TestMaxHTTPConnsOverHTTP2: a connection that has agreed on HTTP/2 counts from there on.
func TestMaxHTTPConnsOverHTTP2(t *testing.T) {
	t.Parallel()
	addr, srv := startTLS(t, func(s *server.Server) {
		plainHTTP(s)
		s.Limits.HTTPConns = 1
	})
	config := clientTLS()
	config.NextProtos = []string{"h2"}
	secured(t, connect(t, addr), config)
	eventually(t, "net/http has it", func() bool { return srv.DrainProgress().HTTP == 1 })
	over, _ := secured(t, connect(t, addr), config)
	goAway := make([]byte, 9+9+8+len("too many plain connections"))
	if over.full(goAway); string(goAway[:13]) != "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x22\x07" {
		t.Errorf("%q, want SETTINGS and a GOAWAY", goAway)
	}
	over.expectEOF()
	dialTLS(t, addr).upgraded()
	hits(t, srv, server.LimitHTTPConns, 1)
}

// TestMountedBounds: the bounds hold for connections that come from net/http alone.
func TestMountedBounds(t *testing.T) {
	t.Parallel()
	srv := &server.Server{Limits: server.Limits{Conns: 2, HandshakeRate: 1000, HandshakeBurst: 100}, Upgrade: refuseOne}
	addr := mount(t, srv, srv.ServeHTTP)
	for range 5 {
		c := dial(t, addr)
		c.send(with("GET /", "GET /refuse"))
		c.expectRefusal(403)
		c = dial(t, addr)
		c.send(with("GET /", "GET /panic"))
		c.expectEnd()
	}
	a, _ := dial(t, addr).upgraded(), dial(t, addr).upgraded()
	over := dial(t, addr)
	over.send(upgradeRequest())
	over.expectBusy()
	a.reset()
	openConns(t, srv, 1)
	dial(t, addr).upgraded()
	hits(t, srv, server.LimitConns, 1)
}

// TestAdmissionBaseline has many connections live all sorts of lives under the
// bounds: all places are free after it.
func TestAdmissionBaseline(t *testing.T) {
	t.Parallel()
	const most = 40
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.Conns, s.Limits.Handshakes, s.Limits.ConnsPerAddr = most, most, most
		s.Runtime.Loops = 3
	})
	for i := range scaled(20_000) {
		c := dialAs(t, n, addr, "192.0.2.1")
		liveAndDie(t, c, i, c.reset)
		if i%most == most-1 {
			openConns(t, srv, 0)
		}
	}
	openConns(t, srv, 0)
	for i := range server.NumLimits {
		hits(t, srv, i, 0)
	}
	for range most {
		dialAs(t, n, addr, "192.0.2.1").upgraded()
	}
	dialAs(t, n, addr, "192.0.2.1").expectBusy()
	over := dialAs(t, n, addr, "192.0.2.2")
	over.send(upgradeRequest())
	over.expectBusy()
}

// TestSlowLoris: silent connections keep others out up to Limits.Handshakes and the
// handshake timeout, and those that are in not at all.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	most := scaled(5000)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.Handshakes = most })
	inside := dialSim(t, n, addr).upgraded()
	for i := range 2 * most {
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			_, _ = conn.Write([]byte("GET / HT")) // most are gone already
		}
		if i%(most/10) == 0 {
			inside.send(frame(opText, "others live"))
			inside.expect(opText, "others live")
		}
	}
	idle(t, n)
	hits(t, srv, server.LimitHandshakes, uint64(most))
	if open := srv.Stats().Open; open > int64(most)+1024+1 {
		t.Errorf("%d connections are open", open)
	}
	pass(t, n, 11*second)
	late := dialSim(t, n, addr).upgraded()
	late.send(frame(opText, "in again"))
	late.expect(opText, "in again")
	hits(t, srv, server.LimitHandshakes, uint64(most))
}
