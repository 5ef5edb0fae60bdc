package server_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestStates: each connection is counted where it stands, and nowhere once it is
// gone.
func TestStates(t *testing.T) {
	t.Parallel()
	opened := make(chan *server.Conn, 10)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Handler = handler{open: func(c *server.Conn) { opened <- c }}
	})
	expect := func(want server.States) {
		t.Helper()
		idle(t, n)
		if got := srv.Stats(); got.States != want || got.Open != want.Handshake+want.Open+want.Closing+want.Ending {
			t.Errorf("%d connections are %+v, want %+v", got.Open, got.States, want)
		}
	}
	expect(server.States{})
	silent := dialSim(t, n, addr)
	expect(server.States{Handshake: 1})
	half := dialSim(t, n, addr)
	half.send("GET / HTTP/1.1\r\n")
	expect(server.States{Handshake: 2})
	open := dialSim(t, n, addr).upgraded()
	closing := dialSim(t, n, addr).upgraded()
	<-opened
	expect(server.States{Handshake: 2, Open: 2})
	if err := (<-opened).Close(ws.CodeNormal, ""); err != nil {
		t.Fatal(err)
	}
	expect(server.States{Handshake: 2, Open: 1, Closing: 1})
	half.send("no field\r\n\r\n")
	expect(server.States{Handshake: 1, Open: 1, Closing: 1, Ending: 1}) // it lingers
	half.reset()
	closing.send(frame(opClose, closePayload(1000, "")))
	silent.reset()
	expect(server.States{Open: 1})
	open.send(frame(opClose, ""))
	expect(server.States{})
}

// TestRefusalCounts: refused requests are counted by status, also those that net/http
// has answered, and statuses that are none as what is sent.
func TestRefusalCounts(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			var status int
			if _, err := fmt.Sscanf(r.Header("X-Status"), "%d", &status); err != nil {
				return server.Accept{}, err
			}
			return server.Accept{}, &ws.Refusal{Status: status}
		}
	})
	for _, request := range []string{
		"nonsense\r\n\r\n", upgradeRequest("Origin: https://elsewhere.example"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		upgradeRequest("X-Status: 401"), upgradeRequest("X-Status: 401"), upgradeRequest("X-Status: 199"),
		upgradeRequest("X-Status: 600"), upgradeRequest("X-Status: 503"), upgradeRequest("X-Status: none"),
	} {
		c := dialSim(t, n, addr)
		c.send(request)
		c.response()
	}
	want := map[int]uint64{400: 1, 401: 2, 403: 1, 426: 1, 500: 3, 503: 1}
	idle(t, n)
	if got := srv.Stats(); !maps.Equal(got.Refusals, want) || got.Refused != 9 || got.Upgraded != 0 {
		t.Errorf("refused %d as %v, upgraded %d; want %v", got.Refused, got.Refusals, got.Upgraded, want)
	}
}

// TestCloses: ends are counted by code and by who closed; a peer's own codes need
// no room of their own.
func TestCloses(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			if string(m.Payload) == "panic" {
				panic("as asked")
			}
			_ = c.Close(ws.Code(len(m.Payload)), "") // the test sees
		})
	})
	ask := func(send string) {
		c := dialSim(t, n, addr).upgraded()
		c.send(send)
		if op, payload := c.frame(); op == opClose {
			c.send(frame(opClose, payload))
		}
		c.expectEnd()
	}
	for _, code := range []uint16{1000, 1000, 1001, 1014, 3000, 3999, 4000, 4999} {
		ask(frame(opClose, closePayload(code, "")))
	}
	ask(frame(opClose, ""))
	for _, code := range []int{1000, 1012, 4321} {
		ask(frame(opBinary, strings.Repeat("x", code)))
	}
	ask(frame(opText, "panic"))
	ask(frame(opText, "\xff"))
	dialSim(t, n, addr).upgraded().reset()
	refused := dialSim(t, n, addr)
	refused.send("nonsense\r\n\r\n")
	refused.response()
	want := map[string]uint64{
		"1000 true": 2, "1001 true": 1, "1014 true": 1, "3000 true": 2, "4000 true": 2, "1005 true": 1,
		"1000 false": 1, "1012 false": 1, "4000 false": 1, "1011 false": 1, "1007 false": 1, "1006 true": 1,
	}
	eventuallyOn(t, n, "all are closed", func() bool { return srv.Stats().Open == 0 })
	got := map[string]uint64{}
	for _, c := range srv.Stats().Closes {
		got[fmt.Sprint(uint16(c.Code), c.Remote)] = c.Count
	}
	if !maps.Equal(got, want) {
		t.Errorf("closed by code and peer: %v, want %v", got, want)
	}
}

// TestTraffic: messages and bytes in both directions are what the peers have sent
// and received, whoever sends them and however they leave: in a turn, from
// elsewhere, through a queue, or while the handler has lost its loop.
func TestTraffic(t *testing.T) {
	t.Parallel()
	s := newStaller()
	conns := make(chan *server.Conn, 2)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: func(c *server.Conn, m ws.Message) {
			if string(m.Payload) == "hold" {
				_ = c.Send(opText, []byte("before")) // the peer sees, as with the others
				s.hold(m)
			}
			_ = c.Send(m.Opcode, m.Payload)
		}}
	})
	var read, wrote, messagesIn, messagesOut uint64
	c := &counting{client: dialSim(t, n, addr), read: &read}
	send := func(text string, messages uint64) {
		c.send(text)
		wrote += uint64(len(text))
		messagesIn += messages
	}
	expect := func(payload string) {
		c.expect(opText, payload)
		messagesOut++
	}
	c.r.Reset(c)
	send(upgradeRequest(), 0)
	c.expectSwitch()
	conn := <-conns
	send(frame(opText, "one")+frame(opText, "two")+frame(opPing, "p"), 2)
	expect("one")
	expect("two")
	c.expect(opPong, "p")
	for _, size := range []int{10, 30 << 10} { // copied, and written from the caller's bytes
		if err := conn.Send(opText, []byte(strings.Repeat("y", size))); err != nil {
			t.Fatal(err)
		}
		expect(strings.Repeat("y", size))
	}
	if err := conn.SendPrepared(ws.Prepare(ws.Text, []byte("prepared"))); err != nil {
		t.Fatal(err)
	}
	expect("prepared")
	big := strings.Repeat("z", 100<<10) // more than the network holds: a queue
	for range 5 {
		if err := conn.Send(opText, []byte(big)); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		expect(big)
	}
	send(frame(opText, "hold"), 1)
	<-s.held
	expect("before")
	close(s.release)
	expect("hold")
	eventually(t, "the counts to be complete", func() bool {
		got := srv.Stats()
		return got.MessagesIn == messagesIn && got.BytesIn == wrote && got.MessagesOut == messagesOut && got.BytesOut == read
	})
	got, own := srv.Stats(), conn.Stats()
	if own.MessagesOut != got.MessagesOut || own.BytesOut != got.BytesOut || own.BytesIn != got.BytesIn || got.MessagesOut != messagesOut || got.BytesOut != read {
		t.Errorf("the server counts %d messages of %d bytes out, the connection %+v, the peer %d of %d",
			got.MessagesOut, got.BytesOut, own, messagesOut, read)
	}
}

// counting is a client that counts what it reads.
type counting struct {
	*client
	read *uint64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	*c.read += uint64(n)
	return n, err
}

// TestKeepaliveStats: pings and peers found dead are counted.
func TestKeepaliveStats(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Keepalive.Interval = 10 * time.Second })
	c := dialSim(t, n, addr).upgraded()
	pass(t, n, 12*time.Second+2*tickTime)
	c.expect(opPing, "")
	if got := srv.Stats(); got.Pings != 1 || got.Dead != 0 {
		t.Errorf("%d pings, %d dead; want 1 and none", got.Pings, got.Dead)
	}
	eventuallyOn(t, n, "the silent peer is found dead", func() bool { return srv.Stats().Dead == 1 })
}

// wakes is a network that counts how often its pollers are woken.
type wakes struct {
	poller.Engine
	count atomic.Int64
}

func (w *wakes) NewPoller() (poller.Poller, error) {
	p, err := w.Engine.NewPoller()
	return &wakeCounter{p, w}, err
}

type wakeCounter struct {
	poller.Poller
	of *wakes
}

func (p *wakeCounter) Wake() {
	p.of.count.Add(1)
	p.Poller.Wake()
}

// TestLoopLag: a loop that can not look into its inbox for three seconds has been
// late by that, and weighs as much as the probes it has missed. An idle server is
// asked nothing.
func TestLoopLag(t *testing.T) {
	t.Parallel()
	s := newStaller()
	n := simnet.New(simnet.Config{})
	engine := &wakes{Engine: n}
	addr, srv := start(t, engine, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = onlyMessage(func(_ *server.Conn, m ws.Message) { s.hold(m) })
	})
	s.stall(dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded())
	looks := srv.Stats().Waits // the watchdog counts one each time it looks at the stalled loop
	eventually(t, "a probe", func() bool { return srv.Stats().Waits > looks+100 })
	if w := srv.Stats().Workers; w != (server.Workers{Leading: 1, Held: 1, Max: 2}) {
		t.Errorf("workers %+v: want one that leads and one that is held", w)
	}
	n.Advance(3 * time.Second)
	close(s.release)
	late := func() (n uint64) {
		got := srv.Stats().LoopLag
		for i, bound := range server.LagBounds {
			if bound > time.Second {
				n += got.Counts[i]
			}
		}
		return n
	}
	eventually(t, "the answer", func() bool { return late() > 0 })
	if got := late(); got != 20 {
		t.Errorf("%d probes were late by more than a second, want those of two seconds", got)
	}
	if got := srv.Stats().LoopLag; got.Sum < 45*time.Second || got.Count() < 30 {
		t.Errorf("%d probes, late by %v together", got.Count(), got.Sum)
	}
	eventually(t, "the workers to be back", func() bool { return srv.Stats().Workers.Held == 0 })
	idle(t, n)
	before := engine.count.Load()
	time.Sleep(300 * time.Millisecond) // three probes' time: nothing is to come
	if got := engine.count.Load() - before; got > 1 {
		t.Errorf("an idle server was woken %d times", got)
	}
}

// TestLagOfABusyServer: while there is traffic, every loop's lag is known.
func TestLagOfABusyServer(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, func(s *server.Server) { s.Runtime.Loops = 2 })
	clients := []*client{dial(t, addr).upgraded(), dial(t, addr).upgraded()}
	eventually(t, "five probes", func() bool {
		for _, c := range clients {
			c.send(frame(opText, "x"))
			c.expect(opText, "x")
		}
		got := srv.Stats().LoopLag
		return got.Count() >= 5
	})
	if !slices.IsSorted(server.LagBounds[:]) {
		t.Errorf("the bounds are not in order: %v", server.LagBounds)
	}
}
