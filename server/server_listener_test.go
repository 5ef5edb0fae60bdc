package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestServeListener: whatever listener there is, its connections are like those of Serve:
// WebSockets, pages, and one behind the other.
func TestServeListener(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		conns := make(chan *server.Conn, 10)
		srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
			srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if (r.TLS != nil) != d.secure {
					t.Errorf("TLS of a page: %v", r.TLS)
				}
				answerPlain(w, r)
			})
			srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message}
			srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
				if r.TLS != d.secure || (r.TLSState != nil) != d.secure {
					t.Errorf("TLS of an upgrade: %v, %v", r.TLS, r.TLSState)
				}
				return server.Accept{}, nil
			}
		})
		connect, ln := d.open(t, srv)
		if got := srv.ListenAddrs(); len(got) != 1 || got[0].String() != ln.Addr().String() {
			t.Errorf("ListenAddrs = %v, want %v", got, ln.Addr())
		}
		c := connect()
		c.send(upgradeRequest())
		c.expectSwitch()
		for _, size := range []int{0, 1, 5000, 300_000} {
			text := strings.Repeat("x", size)
			go c.send(frame(opText, text)) // a pipe holds nothing
			c.expect(opText, text)
		}
		d.expectAddrs(t, <-conns, c, ln)
		if s := srv.Stats(); s.Bridged != map[bool]int64{true: 1}[d.bridged] {
			t.Errorf("%d are bridged", s.Bridged)
		}
		c.send(frame(opClose, closePayload(1000, "")))
		c.expectClose(1000)

		c = connect()
		for i := range 3 {
			c.send(get(fmt.Sprint("/", i)))
			c.expectPlain(fmt.Sprintf("GET /%d ", i))
		}
		go c.send(post("/p", "hello") + chunked("/c", "world") + upgradeRequest() + frame(opText, "behind"))
		c.expectPlain("POST /p hello")
		c.expectPlain("POST /c world")
		c.expectSwitch()
		c.expect(opText, "behind")
		d.expectAddrs(t, <-conns, c, ln)
		c.send(frame(opClose, closePayload(1000, "")))
		c.expectClose(1000)
		openConns(t, srv, 0)
		if s := srv.Stats(); s.Accepted != 2 || s.Upgraded != 2 || s.HandedToHTTP != 1 || s.Returned != 1 || s.Bridged != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// expectAddrs compares what a connection says of its two ends.
func (d door) expectAddrs(t *testing.T, c *server.Conn, peer *client, ln net.Listener) {
	t.Helper()
	var remote, local netip.AddrPort
	name := "unix"
	switch ln.Addr().Network() {
	case "tcp":
		remote, local = netip.MustParseAddrPort(peer.LocalAddr().String()), netip.MustParseAddrPort(peer.RemoteAddr().String())
		name = remote.String()
	case "pipe":
		name = "unknown"
	}
	if c.RemoteAddr() != remote || c.LocalAddr() != local || c.RemoteName() != name {
		t.Errorf("%v (%s) at %v, want %v (%s) at %v", c.RemoteAddr(), c.RemoteName(), c.LocalAddr(), remote, name, local)
	}
	if (c.TLSState() != nil) != d.secure {
		t.Errorf("TLSState = %v", c.TLSState())
	}
}

// TestServeListenerDrains: a drain accepts what waits in the queue, closes the listener,
// and ends what is open; who comes after that is refused.
func TestServeListenerDrains(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		srv, _ := prepare(t, systemEngine(t), plainHTTP)
		connect, ln := d.open(t, srv)
		open, page := connect().upgraded(), connect()
		page.send(get("/"))
		page.expectPlain("GET / ")
		drained := make(chan error, 1)
		go func() { drained <- srv.Drain(context.Background(), server.DrainOptions{Timeout: patience}) }()
		open.expectClose(1001)
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		page.expectEnd()
		if conn, err := d.dialIt(ln); err == nil && !d.secure {
			_ = conn.Close()
			t.Error("somebody listens")
		}
		if addrs := srv.ListenAddrs(); len(addrs) != 0 || srv.Ready() {
			t.Errorf("ListenAddrs = %v, Ready = %v", addrs, srv.Ready())
		}
		if p := srv.DrainProgress(); p.Cut != 0 || p.Left != 0 || p.HTTP != 0 {
			t.Errorf("%+v", p)
		}
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close of the listener: %v", err)
		}
	})
}

// TestServeListenerEmptiesItsQueue: who has connected when the drain begins is answered.
func TestServeListenerEmptiesItsQueue(t *testing.T) {
	for _, name := range []string{"TCP", "wrapper", "wrapped"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := doors[name]
			gate := make(chan struct{})
			srv, _ := prepare(t, systemEngine(t), nil)
			ln := d.listen(t)
			d.serveIt(t, srv, &gatedListener{Listener: ln, gate: gate})
			waiting := make([]*client, 20)
			for i := range waiting {
				waiting[i] = d.connect(t, ln)
				waiting[i].send(upgradeRequest())
			}
			drained := make(chan error, 1)
			go func() { drained <- srv.Shutdown(context.Background()) }()
			eventually(t, "the drain begins", func() bool { return srv.DrainProgress().Phase == server.PhaseDraining })
			close(gate)
			for _, c := range waiting {
				if resp, _ := c.response(); resp.StatusCode != 503 && resp.StatusCode != 101 {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
			for _, c := range waiting {
				_ = c.Close()
			}
			if err := <-drained; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// gatedListener accepts nothing before its gate is closed.
type gatedListener struct {
	net.Listener
	gate chan struct{}
}

func (l *gatedListener) Accept() (net.Conn, error) {
	<-l.gate
	return l.Listener.Accept()
}

// TestServeListenerClosedByItsOwner: as with net/http, who closes the listener ends
// ServeListener, and what is open goes on.
func TestServeListenerClosedByItsOwner(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		srv, _ := prepare(t, systemEngine(t), nil)
		t.Cleanup(func() { closeServer(t, srv) })
		ln := d.listen(t)
		served := make(chan error, 1)
		serve := d.serve
		if serve == nil {
			serve = (*server.Server).ServeListener
		}
		go func() { served <- serve(srv, ln) }()
		eventually(t, "the server is ready", srv.Ready)
		c := d.connect(t, ln).upgraded()
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ServeListener: %v, want net.ErrClosed", err)
		}
		if addrs := srv.ListenAddrs(); len(addrs) != 0 {
			t.Errorf("ListenAddrs = %v", addrs)
		}
		c.send(frame(opText, "on"))
		c.expect(opText, "on")
	})
}

// TestServeListenerFails: the listener is closed in any case, and the error says why.
func TestServeListenerFails(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		closed := &server.Server{}
		closeServer(t, closed)
		for name, c := range map[string]struct {
			srv *server.Server
			is  func(error) bool
		}{
			"closed server": {closed, func(err error) bool { return errors.Is(err, server.ErrServerClosed) }},
			"wrong field": {&server.Server{Limits: server.Limits{Conns: -2}}, func(err error) bool {
				return errors.As(err, new(*server.FieldError))
			}},
		} {
			ln := d.listen(t)
			serve := d.serve
			if serve == nil {
				serve = (*server.Server).ServeListener
			}
			if err := serve(c.srv, ln); !c.is(err) {
				t.Errorf("%s: %v", name, err)
			}
			if conn, err := d.dialIt(ln); err == nil && !d.secure {
				_ = conn.Close()
				t.Errorf("%s: somebody listens", name)
			}
		}
	})
}

// flakyListener fails now and then.
type flakyListener struct {
	net.Listener
	errs []error // next ones
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

type temporary struct{ error }

func (temporary) Temporary() bool { return true }

// TestServeListenerAgain: errors that are temporary are counted, logged and tried again;
// another one is the end.
func TestServeListenerAgain(t *testing.T) {
	t.Parallel()
	var logs logBook
	srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Logger = logs.logger() })
	t.Cleanup(func() { closeServer(t, srv) })
	broken, once := errors.New("broken for good"), temporary{errors.New("too many of them")}
	ln := &flakyListener{listenTCP(t), []error{once, fmt.Errorf("wrapped: %w", once), once}}
	served := make(chan error, 1)
	go func() { served <- srv.ServeListener(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	newClient(t, conn).upgraded()
	if s := srv.Stats(); s.AcceptErrors != 3 || logs.count("too many of them") != 1 {
		t.Errorf("%d errors, log: %s", s.AcceptErrors, logs.String())
	}
	again := &flakyListener{listenTCP(t), []error{broken}}
	if err := srv.ServeListener(again); err != broken {
		t.Errorf("ServeListener: %v, want %v", err, broken)
	}
	if err := again.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close of the listener: %v, want it to be closed", err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("ServeListener: %v", err)
	}
}

// TestServeListenerLimits: limits hold for connections of any listener, and their places
// are free when they are gone.
func TestServeListenerLimits(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		t.Run("Handshakes", func(t *testing.T) {
			srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Limits.Handshakes = 1 })
			connect, _ := d.open(t, srv)
			for range 3 {
				silent := connect()
				go func() { _, _ = silent.Write(nil) }() // with TLS: the handshake
				eventually(t, "it is there", func() bool { return srv.Stats().States.Handshake == 1 })
				second := connect()
				if d.secure {
					second.expectEnd() // without a handshake there is nothing to read
				} else if resp, _ := second.response(); resp.StatusCode != 503 {
					t.Errorf("status %d, want 503", resp.StatusCode)
				}
				_, _ = silent.Close(), second.Close()
				eventually(t, "all are gone", func() bool { return srv.Stats().Open == 0 })
			}
			if s := srv.Stats(); s.Limits[server.LimitHandshakes] != 3 {
				t.Errorf("met %d times", s.Limits[server.LimitHandshakes])
			}
		})
		t.Run("ConnsPerAddr", func(t *testing.T) {
			srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Limits.ConnsPerAddr = 2; plainHTTP(srv) })
			connect, ln := d.open(t, srv)
			if ln.Addr().Network() != "tcp" {
				t.Skip("there are no addresses")
			}
			for range 3 {
				page := connect()
				page.send(get("/"))
				page.expectPlain("GET / ")
				first, third := connect().upgraded(), connect()
				if d.secure && !d.bridged {
					_, _ = third.Write(nil) // the handshake, without which there is nothing to read
					third.expectEnd()
				} else {
					third.send(upgradeRequest())
					third.expectRefusal(503)
				}
				page.send(upgradeRequest()) // it has its place
				page.expectSwitch()
				_, _, _ = page.Close(), first.Close(), third.Close()
				eventually(t, "all are gone", func() bool { return srv.Stats().Open == 0 })
			}
		})
		t.Run("HTTPConns", func(t *testing.T) {
			srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Limits.HTTPConns = 1; plainHTTP(srv) })
			connect, _ := d.open(t, srv)
			for range 3 {
				page, second := connect(), connect()
				page.send(get("/"))
				page.expectPlain("GET / ")
				second.send(get("/"))
				second.expectRefusal(503)
				_ = page.Close()
				eventually(t, "it is gone", func() bool { return srv.DrainProgress().HTTP == 0 })
			}
		})
	})
}

// TestServeListenerHandshakeTimeout: who says nothing, or too little, is cut in time,
// TLS included, on the engine's clock.
func TestServeListenerHandshakeTimeout(t *testing.T) {
	for _, name := range []string{"pipes", "wrapped", "TLS"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := simnet.New(simnet.Config{})
			srv, _ := prepare(t, n, func(srv *server.Server) { srv.Timeouts.Handshake = time.Minute })
			d := doors[name]
			d.secure = false // the client speaks no TLS
			connect, _ := d.open(t, srv)
			silent, half := connect(), connect()
			go half.send("GET / HT")
			left := int64(2)
			if name == "TLS" {
				left = 1
				half.expectEnd() // it is no TLS
			}
			eventually(t, "they are there", func() bool {
				s := srv.Stats()
				return s.Open == left && (s.BytesIn >= 8 || s.TLSFailed == 1)
			})
			n.Advance(59 * time.Second)
			idle(t, n)
			if open := srv.Stats().Open; open != left {
				t.Errorf("%d are there yet, want %d", open, left)
			}
			n.Advance(2 * time.Second)
			silent.expectEnd()
			if name == "TLS" {
				return
			}
			if resp, _ := half.response(); resp.StatusCode != 408 {
				t.Errorf("status %d, want 408", resp.StatusCode)
			}
			_ = half.Close()
			eventuallyOn(t, n, "they are gone", func() bool { return srv.Stats().Open == 0 })
		})
	}
}

// slowAddr is a connection that has to read to know whose it is, as those of libraries for
// the PROXY header.
type slowAddr struct {
	net.Conn
	known chan struct{}
}

func (c slowAddr) RemoteAddr() net.Addr {
	<-c.known
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 77}
}

// TestServeListenerSlowAddr: a connection that can not yet tell its address keeps nobody
// waiting, and has it when the hook asks.
func TestServeListenerSlowAddr(t *testing.T) {
	t.Parallel()
	known := make(chan struct{})
	wrap := func(conn net.Conn) net.Conn { return slowAddr{conn, known} }
	seen := make(chan netip.AddrPort, 10)
	srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) {
		srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
			seen <- r.RemoteAddr
			return server.Accept{}, nil
		}
	})
	d := door{listen: func(t *testing.T) net.Listener { return wrappingListener{listenTCP(t), wrap} }}
	connect, _ := d.open(t, srv)
	all := make([]*client, 5)
	for i := range all {
		all[i] = connect()
		all[i].send(upgradeRequest())
	}
	eventually(t, "all are accepted", func() bool { return srv.Stats().Open == 5 })
	close(known)
	for _, c := range all {
		c.expectSwitch()
		if got := <-seen; got.String() != "192.0.2.7:77" {
			t.Errorf("RemoteAddr = %v", got)
		}
	}
}

// TestServeListenerLoopsOnly: what no loop can watch is told so.
func TestServeListenerLoopsOnly(t *testing.T) {
	t.Parallel()
	srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Runtime.LoopsOnly = true })
	connect, _ := doors["wrapped"].open(t, srv)
	if resp, _ := connect().response(); resp.StatusCode != 501 {
		t.Errorf("status %d, want 501", resp.StatusCode)
	}
	byFD, _ := doors["wrapper"].open(t, srv)
	byFD().upgraded()
	eventually(t, "one is left", func() bool { s := srv.Stats(); return s.Open == 1 && s.Bridged == 0 })
}

// TestServeListenerClose: Close ends all at once, in whatever state it is.
func TestServeListenerClose(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		srv, l := prepare(t, systemEngine(t), plainHTTP)
		connect, _ := d.open(t, srv)
		silent, open, page := connect(), connect().upgraded(), connect()
		page.send(get("/"))
		page.expectPlain("GET / ")
		closing := make(chan struct{})
		go func() { // a pipe holds nothing
			closeServer(t, srv)
			close(closing)
		}()
		open.expect(opClose, closePayload(1001, "server stopped"))
		open.expectEnd()
		page.expectEnd()
		_ = silent.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(silent.under()); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("the silent one: %v", err)
		}
		<-closing
		eventually(t, "a Close for every Open", l.balanced)
		if s := srv.Stats(); s.Bridged != 0 || s.Open != 0 {
			t.Errorf("%d are open, %d bridged", s.Open, s.Bridged)
		}
	})
}

// TestServeListenerLeavesToHTTP: an upgrade that its hook leaves to HTTP takes the
// connection along, though its reader has read on meanwhile.
func TestServeListenerLeavesToHTTP(t *testing.T) {
	onDoors(t, func(t *testing.T, d door) {
		srv, _ := prepare(t, systemEngine(t), func(s *server.Server) {
			s.Upgrade, s.HTTP = leaveToHTTP, http.HandlerFunc(lineServer)
		})
		connect, _ := d.open(t, srv)
		for range 3 {
			c := connect()
			go c.send(upgradeTo("/proxied") + "behind")
			c.expectOther("/proxied")
			c.expectBytes("behind")
			c.send("and on")
			c.expectBytes("and on")
			_ = c.Close()
		}
		c := connect()
		c.send(get("/page"))
		c.expectPlain("GET /page ")
		c.send(upgradeTo("/proxied"))
		c.expectOther("/proxied")
		c.send("and on")
		c.expectBytes("and on")
	})
}

// TestServeListenerTwice: a server may have many listeners of all kinds.
func TestServeListenerTwice(t *testing.T) {
	t.Parallel()
	srv, _ := prepare(t, systemEngine(t), nil)
	var connects []func() *client
	for _, name := range []string{"TCP", "Unix", "wrapped", "pipes", "TLS", "TCP"} {
		connect, _ := doors[name].open(t, srv)
		connects = append(connects, connect)
	}
	eventually(t, "all are served", func() bool { return len(srv.ListenAddrs()) == len(connects) })
	slices.Reverse(connects)
	for _, connect := range connects {
		connect().upgraded()
	}
}
