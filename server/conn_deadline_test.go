package server_test

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// simClock moves simnet's clock while a server does all there is to do, the turns
// included that are slow on a busy machine, for which its loops do not wait.
type simClock struct {
	t   *testing.T
	n   *simnet.Network
	srv *server.Server
}

// rest waits until all is done.
func (s *simClock) rest() {
	s.t.Helper()
	idle(s.t, s.n)
	eventually(s.t, "no turn is slow", func() bool { return s.srv.Stats().Workers.Held == 0 })
	idle(s.t, s.n)
}

// pass lets the clock go on at once, as when the server is away.
func (s *simClock) pass(d time.Duration) {
	s.t.Helper()
	s.rest()
	s.n.Advance(d)
	s.rest()
}

// step is pass in steps.
func (s *simClock) step(d time.Duration) {
	s.t.Helper()
	const most = 25 * time.Millisecond
	for ; d > 0; d -= most {
		s.pass(min(d, most))
	}
}

// timeoutBed is where a timeout is tested.
type timeoutBed struct {
	simClock
	addr  string
	conns chan *server.Conn
	d     time.Duration
}

// open gives a connection that is a WebSocket, both of its ends.
func (b *timeoutBed) open() (*client, *server.Conn) {
	b.t.Helper()
	c := dialSim(b.t, b.n, b.addr).upgraded()
	return c, <-b.conns
}

// send sends n bytes of a message to conn's peer.
func (b *timeoutBed) send(conn *server.Conn, n int) {
	b.t.Helper()
	if err := conn.Send(ws.Binary, make([]byte, n)); err != nil {
		b.t.Fatal(err)
	}
}

// close starts the closing handshake.
func (b *timeoutBed) close(conn *server.Conn) {
	b.t.Helper()
	if err := conn.Close(ws.CodeNormal, ""); err != nil {
		b.t.Fatal(err)
	}
}

// met says that a limit was met.
func met(limit server.Limit) func(*server.Server) bool {
	return func(srv *server.Server) bool { return srv.Stats().Limits[limit] > 0 }
}

// freed says that no connection is left.
func freed(srv *server.Server) bool { return srv.Stats().Open == 0 }

// timeouts are all there are.
var timeouts = []struct {
	name   string
	config simnet.Config
	tls    bool
	set    func(s *server.Server, d time.Duration) // nil: it is always two seconds
	times  time.Duration                           // 0: 1; it is over after so often d
	begin  func(*timeoutBed)                       // it counts from the end of this
	over   func(*server.Server) bool
}{
	{
		name:  "HandshakeTimeout, silent",
		set:   func(s *server.Server, d time.Duration) { s.Timeouts.Handshake = d },
		begin: func(b *timeoutBed) { dialSim(b.t, b.n, b.addr) },
		over:  met(server.LimitHandshakeTimeout),
	},
	{
		name:  "HandshakeTimeout, half a request",
		set:   func(s *server.Server, d time.Duration) { s.Timeouts.Handshake = d },
		begin: func(b *timeoutBed) { dialSim(b.t, b.n, b.addr).send(upgradeRequest()[:30]) },
		over:  met(server.LimitHandshakeTimeout),
	},
	{
		name:  "HandshakeTimeout, half a ClientHello",
		tls:   true,
		set:   func(s *server.Server, d time.Duration) { s.Timeouts.Handshake = d },
		begin: func(b *timeoutBed) { dialSim(b.t, b.n, b.addr).send("\x16\x03\x01\x01\x00\x01") },
		over:  met(server.LimitHandshakeTimeout),
	},
	{
		name:   "WriteTimeout",
		config: simnet.Config{SendBuffer: 1000},
		set:    func(s *server.Server, d time.Duration) { s.Timeouts.Write = d },
		begin: func(b *timeoutBed) {
			_, conn := b.open()
			b.send(conn, 100_000)
		},
		over: met(server.LimitWriteTimeout),
	},
	{
		name:   "WriteTimeout, after progress",
		config: simnet.Config{SendBuffer: 1000},
		set:    func(s *server.Server, d time.Duration) { s.Timeouts.Write = d },
		begin: func(b *timeoutBed) {
			c, conn := b.open()
			b.send(conn, 100_000)
			b.pass(b.d - time.Millisecond)
			c.full(make([]byte, 8000))
		},
		over: met(server.LimitWriteTimeout),
	},
	{
		name:   "WriteTimeout, of what the kernel has",
		config: simnet.Config{SendBuffer: 1 << 20, AckOnRead: true},
		set:    func(s *server.Server, d time.Duration) { s.Timeouts.Write, s.Timeouts.Close = d, time.Millisecond },
		begin: func(b *timeoutBed) {
			_, conn := b.open()
			b.send(conn, 100_000)
			b.close(conn)
		},
		over: met(server.LimitWriteTimeout),
	},
	{
		name: "CloseTimeout",
		set:  func(s *server.Server, d time.Duration) { s.Timeouts.Close = d },
		begin: func(b *timeoutBed) {
			_, conn := b.open()
			b.close(conn)
		},
		over: met(server.LimitCloseTimeout),
	},
	{
		name: "CloseTimeout, drained",
		set:  func(s *server.Server, d time.Duration) { s.Timeouts.Close = d },
		begin: func(b *timeoutBed) {
			b.open()
			beginDrain(b.t, b.srv, server.DrainOptions{})
		},
		over: met(server.LimitCloseTimeout),
	},
	{
		name: "IdleTimeout",
		set:  func(s *server.Server, d time.Duration) { s.Timeouts.Idle = d },
		begin: func(b *timeoutBed) {
			c, _ := b.open()
			b.pass(b.d - time.Millisecond)
			c.send(frame(opText, "not idle"))
		},
		over: met(server.LimitIdleTimeout),
	},
	{
		name: "IdleTimeout, after a pause",
		set:  func(s *server.Server, d time.Duration) { s.Timeouts.Idle = d },
		begin: func(b *timeoutBed) {
			c, conn := b.open()
			conn.PauseReading()
			c.send(frame(opText, "put off"))
			b.pass(5 * b.d)
			conn.ResumeReading()
		},
		over: met(server.LimitIdleTimeout),
	},
	{
		name:  "PingInterval, twice",
		set:   func(s *server.Server, d time.Duration) { s.Keepalive.Interval = d },
		times: 2,
		begin: func(b *timeoutBed) { b.open() },
		over:  met(server.LimitPingTimeout),
	},
	{
		name: "PingInterval, once after a late ping",
		set:  func(s *server.Server, d time.Duration) { s.Keepalive.Interval = d },
		begin: func(b *timeoutBed) {
			b.open()
			b.pass(50 * b.d)
		},
		over: met(server.LimitPingTimeout),
	},
	{
		name: "a failure's peer",
		begin: func(b *timeoutBed) {
			c, _ := b.open()
			c.send(rawFrame(0xf2, ""))
		},
		over: freed,
	},
	{
		name:  "a refusal's peer",
		begin: func(b *timeoutBed) { dialSim(b.t, b.n, b.addr).send("nonsense\r\n\r\n") },
		over:  freed,
	},
	{
		name: "a drain's newcomer",
		begin: func(b *timeoutBed) {
			dialSim(b.t, b.n, b.addr)
			b.rest()
			beginDrain(b.t, b.srv, server.DrainOptions{})
		},
		over: freed,
	},
}

// TestNeverEarly: no timeout is over before its time, wherever within a tick of the
// clock it begins, and each is by two ticks after it.
func TestNeverEarly(t *testing.T) {
	t.Parallel()
	for i, test := range timeouts {
		durations := []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second}
		if test.set == nil {
			durations = []time.Duration{2 * time.Second}
		}
		for _, d := range durations {
			for _, offset := range []time.Duration{0, time.Millisecond, 37 * time.Millisecond, tickTime - time.Nanosecond} {
				t.Run(fmt.Sprint(test.name, " ", d, " at ", offset), func(t *testing.T) { testNeverEarly(t, i, d, offset) })
			}
		}
	}
}

func testNeverEarly(t *testing.T, i int, d, offset time.Duration) {
	test := timeouts[i]
	b := &timeoutBed{simClock: simClock{t: t}, conns: make(chan *server.Conn, 1), d: d}
	b.n, b.addr, b.srv = startSim(t, test.config, func(s *server.Server) {
		s.Handler = opened(b.conns)
		if test.tls {
			s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{serverCertificate()}}
		}
		if test.set != nil {
			test.set(s, d)
		}
	})
	b.pass(10*time.Second + offset)
	test.begin(b)
	b.rest()
	after := d * max(test.times, 1)
	b.step(after - time.Millisecond)
	if test.over(b.srv) {
		t.Error("over early")
	}
	b.step(time.Millisecond + 2*tickTime)
	if !test.over(b.srv) {
		t.Error("not over two ticks later")
	}
}

// TestAcceptedLate: the time for a handshake counts from accept, also where the loop
// was long at what came before it.
func TestAcceptedLate(t *testing.T) {
	t.Parallel()
	var n *simnet.Network
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = onlyMessage(func(_ *server.Conn, m ws.Message) {
			if !s.hold(m) {
				n.Advance(13 * time.Second)
			}
		})
	})
	hold1, hold2, long := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	s.stall(hold1, hold2)
	long.send(frame(opText, "be long"))
	dialSim(t, n, addr) // in the same batch
	close(s.release)
	eventually(t, "it is accepted", func() bool { return srv.Stats().Accepted == 4 })
	pass(t, n, 9*time.Second)
	hits(t, srv, server.LimitHandshakeTimeout, 0)
	pass(t, n, 2*time.Second)
	hits(t, srv, server.LimitHandshakeTimeout, 1)
}
