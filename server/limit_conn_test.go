package server_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// byRoute gives connections the limits and the handler of the route that their header X
// names, and remembers them by it.
func byRoute(s *server.Server, routes map[string]server.Accept) {
	s.Runtime.Loops = 1
	s.Upgrade = func(r *ws.Request) (server.Accept, error) { return routes[r.Header("X")], nil }
}

func on(route string) string { return "X: " + route }

// TestConnLimitsMessage: each route has its own bound of a message, to the byte, while
// messages of all of them come in pieces in turn, with all decoders from one worker.
func TestConnLimitsMessage(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		bounds := map[string]int{"small": 100, "server": 1000, "large": 70_000, "pieces": 70_000}
		connect, srv := start(t, func(s *server.Server) {
			s.Limits.Message = 1000
			byRoute(s, map[string]server.Accept{
				"small":  {Limits: &server.ConnLimits{Message: 100}},
				"large":  {Limits: &server.ConnLimits{Message: 70_000}},
				"pieces": {Limits: &server.ConnLimits{Message: 70_000}, Handler: inPieces(true, &gatherer{})},
			})
		})
		clients := make(map[string]*client)
		for route := range bounds {
			clients[route] = connect().upgraded(on(route))
		}
		for range 2 {
			for route, c := range clients { // the beginnings, then the ends
				c.send(fragment(opText, pattern(1, bounds[route])[:bounds[route]/2]) + frame(opPing, ""))
				c.expect(opPong, "")
			}
			for route, c := range clients {
				size := bounds[route]
				c.send(frame(opContinuation, pattern(1, size)[size/2:]) + frame(opText, "and one more"))
				c.expect(opText, pattern(1, size))
				c.expect(opText, "and one more")
			}
		}
		for route, c := range clients {
			c.send(fragment(opText, "x") + frame(opPing, ""))
			c.expect(opPong, "")
			c.send(frame(opContinuation, pattern(1, bounds[route])))
			c.expectClose(1009)
			c = connect().upgraded(on(route))
			c.send(frame(opText, pattern(1, bounds[route]+1)))
			c.expectClose(1009)
		}
		hits(t, srv, server.LimitMessage, uint64(2*len(bounds)))
	})
}

// TestConnLimitsInterleaved: connections with different limits, of which no kernel call
// does all it is asked to, take turns on one worker; SetLimits changes those of some now
// and then. Each message up to a connection's limit comes back, and one over it ends it.
func TestConnLimitsInterleaved(t *testing.T) {
	t.Parallel()
	for seed := range uint64(scaled(30)) + 1 {
		random := rand.New(rand.NewPCG(seed, 7))
		var mu sync.Mutex
		conns := make(map[int]*server.Conn)
		n, addr, _ := startSim(t, simnet.Config{Script: simnet.Chop(seed)}, func(s *server.Server) {
			s.Deflate = &server.Deflate{}
			s.Limits.Message = 1000
			routes := make(map[string]server.Accept)
			for i := range 12 {
				h := server.HandlerFuncs{
					OnOpen:    func(c *server.Conn) { mu.Lock(); conns[i] = c; mu.Unlock() },
					OnMessage: echo{}.Message,
				}
				routes[fmt.Sprint(i)] = server.Accept{Handler: h}
				if i%4 > 0 {
					routes[fmt.Sprint(i)] = server.Accept{Handler: h, Limits: &server.ConnLimits{Message: int64(i%4) * 100}}
				}
			}
			byRoute(s, routes)
		})
		var all sync.WaitGroup
		for i := range 12 {
			bound := 1000
			if i%4 > 0 {
				bound = i % 4 * 100
			}
			r := rand.New(rand.NewPCG(seed, random.Uint64()))
			all.Go(func() {
				c := dialSim(t, n, addr).upgraded(on(fmt.Sprint(i)))
				for range 20 {
					if r.IntN(5) == 0 {
						bound = 1 + r.IntN(2000)
						mu.Lock()
						conn := conns[i]
						mu.Unlock()
						if err := conn.SetLimits(server.ConnLimits{Message: int64(bound)}); err != nil {
							t.Error(err)
						}
					}
					text := pattern(i, bound-r.IntN(min(bound, 3)))
					cut := r.IntN(len(text))
					for _, piece := range []string{fragment(opText, text[:cut]), frame(opContinuation, text[cut:])} {
						half := r.IntN(len(piece))
						c.send(piece[:half])
						c.send(piece[half:])
					}
					c.expect(opText, text)
				}
				c.send(frame(opText, pattern(i, bound+1)))
				c.expectClose(1009)
			})
		}
		all.Wait()
	}
}

// TestConnLimitsDeflate: what is inflated is bound by the connection's own limit, of
// whole messages and of pieces.
func TestConnLimitsDeflate(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Deflate, s.Limits.Message = &server.Deflate{}, 1000
			h := inPieces(stream, &gatherer{})
			byRoute(s, map[string]server.Accept{
				"small": {Handler: h, Limits: &server.ConnLimits{Message: 100}},
				"large": {Handler: h, Limits: &server.ConnLimits{Message: 200_000}},
				"":      {Handler: h},
			})
		})
		for route, bound := range map[string]int{"small": 100, "": 1000, "large": 200_000} {
			d := dialDeflating(t, n, addr, offerDeflate+"\r\n"+on(route))
			text := strings.Repeat("a", bound)
			d.sendPacked(opText, text, 0)
			d.expectMessage(opText, text)
			d.sendPacked(opText, text+"a", 0)
			if op, payload := d.message(); op != opClose || payload[:2] != closePayload(1009, "") {
				t.Errorf("%s, stream %v: frame %x %q, want 1009", route, stream, op, payload)
			}
		}
	}
}

// TestConnLimitsQueue: own bounds and policies of the queue, and marks.
func TestConnLimitsQueue(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		s.Queue.Max, s.Queue.Policy, s.Queue.HighWater = 50_000, server.DropNewest, 40_000
		h := opened(conns)
		byRoute(s, map[string]server.Accept{
			"closes": {Handler: h, Limits: &server.ConnLimits{Queue: server.Queue{Max: 10_000, Policy: server.CloseWhenFull}}},
			"drops":  {Handler: h, Limits: &server.ConnLimits{Queue: server.Queue{Max: 10_000}}},
			"large":  {Handler: h, Limits: &server.ConnLimits{Queue: server.Queue{Max: 100_000, HighWater: -1}}},
			"":       {Handler: h},
		})
	})
	for route, want := range map[string]struct {
		bound  int
		paused bool
	}{"closes": {10_000, true}, "drops": {10_000, true}, "large": {100_000, false}, "": {50_000, true}} {
		c := dialSim(t, n, addr).upgraded(on(route))
		conn := <-conns
		if err := conn.Send(ws.Binary, make([]byte, want.bound+1)); !errors.Is(err, server.ErrMessageTooBig) {
			t.Errorf("%q: %v of a message larger than its queue", route, err)
		}
		if route == "closes" { // for that alone
			c.expectClose(1009)
			openConns(t, srv, 0)
			c = dialSim(t, n, addr).upgraded(on(route))
			conn = <-conns
		}
		var err error
		sent := 0
		for ; err == nil; sent += 1000 {
			err = conn.Send(ws.Binary, make([]byte, 1000))
		}
		if !errors.Is(err, server.ErrQueueFull) || sent < want.bound || sent > want.bound+5000 {
			t.Errorf("%q: %v after %d bytes", route, err, sent)
		}
		idle(t, n)
		if got := srv.Stats().Paused == 1; route != "closes" && got != want.paused {
			t.Errorf("%q: paused %v with a full queue", route, got)
		}
		if err := conn.SendText("x"); errors.Is(err, server.ErrClosed) != (route == "closes") {
			t.Errorf("%q: %v after the queue was full", route, err)
		}
		c.reset()
		openConns(t, srv, 0)
	}
}

// TestConnLimitsQueueFollows: with a larger Message, and nothing said of the queue, an
// answer as large finds room.
func TestConnLimitsQueueFollows(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		s.Limits.ByteRate, s.Limits.ByteBurst = 1<<20, 2<<20 // which is not enough
		byRoute(s, map[string]server.Accept{"large": {Limits: &server.ConnLimits{Message: 3 << 20}}})
	})
	c := dialSim(t, n, addr).upgraded(on("large"))
	text := pattern(1, 3<<20)
	c.send(frame(opText, text))
	c.expect(opText, text)
}

// TestConnLimitsTimes: own timeouts end a connection in time and no other one, and below
// 0 never.
func TestConnLimitsTimes(t *testing.T) {
	t.Parallel()
	off := server.ConnTimeouts{Message: -1, Idle: -1, Lifetime: -1}
	for name, test := range map[string]struct {
		limits server.ConnLimits
		sends  string
		after  time.Duration // the close frame comes, and not a tenth earlier
		reason string
		limit  server.Limit
	}{
		"idle":     {server.ConnLimits{Timeouts: server.ConnTimeouts{Idle: 10 * time.Second}}, "", 10 * time.Second, "idle timeout", server.LimitIdleTimeout},
		"message":  {server.ConnLimits{Timeouts: server.ConnTimeouts{Message: 10 * time.Second}}, fragment(opText, "a"), 10 * time.Second, "message timeout: it comes too slowly", server.LimitMessageTimeout},
		"lifetime": {server.ConnLimits{Timeouts: server.ConnTimeouts{Idle: -1, Lifetime: 10 * time.Second}}, "", 10 * time.Second, lifetimeReason, server.LimitLifetime},
	} {
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Timeouts = server.Timeouts{Message: 100 * time.Second, Idle: 100 * time.Second, Lifetime: 100 * time.Second}
			s.Keepalive.Interval = -1
			byRoute(s, map[string]server.Accept{"own": {Limits: &test.limits}, "off": {Limits: &server.ConnLimits{Timeouts: off}}})
		})
		own, never, other := dialSim(t, n, addr).upgraded(on("own")), dialSim(t, n, addr).upgraded(on("off")), dialSim(t, n, addr).upgraded()
		for _, c := range []*client{own, never, other} {
			c.send(test.sends)
		}
		idle(t, n)
		pass(t, n, test.after*8/10) // of a lifetime the last fifth is jitter
		hits(t, srv, test.limit, 0)
		pass(t, n, test.after*2/10+2*tickTime)
		hits(t, srv, test.limit, 1)
		if op, payload := own.frame(); op != opClose || payload[2:] != test.reason {
			t.Errorf("%s: frame %x %q", name, op, payload)
		}
		n.Advance(100 * time.Second)
		if op, _ := other.frame(); op != opClose {
			t.Errorf("%s: frame %x by the server's time", name, op)
		}
		n.Advance(time.Hour)
		never.send(frame(opPing, "still here"))
		never.expect(opPong, "still here")
	}
}

// TestConnLimitsEnds: own times for the peer to take what is queued, and to answer our
// close frame, and an own interval of pings.
func TestConnLimitsEnds(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		h := opened(conns)
		byRoute(s, map[string]server.Accept{
			"own": {Handler: h, Limits: &server.ConnLimits{
				Timeouts: server.ConnTimeouts{Write: 90 * time.Second, Close: 70 * time.Second}, PingInterval: 200 * time.Second,
			}},
			"off": {Handler: h, Limits: &server.ConnLimits{PingInterval: -1}},
			"":    {Handler: h},
		})
	})
	open := func(route string) (*client, *server.Conn) {
		c := dialSim(t, n, addr).upgraded(on(route))
		return c, <-conns
	}
	gone := func(limit server.Limit, after time.Duration, before uint64) {
		t.Helper()
		pass(t, n, after-tickTime)
		hits(t, srv, limit, before)
		pass(t, n, 3*tickTime)
		hits(t, srv, limit, before+1)
	}
	for i, times := range []struct {
		route       string
		write, shut time.Duration
	}{{"own", 90 * time.Second, 70 * time.Second}, {"", 30 * time.Second, 5 * time.Second}} {
		_, conn := open(times.route)
		if err := conn.Send(ws.Binary, make([]byte, 50_000)); err != nil {
			t.Fatal(err)
		}
		idle(t, n)
		gone(server.LimitWriteTimeout, times.write, uint64(i))
		c, conn := open(times.route)
		if err := conn.Close(ws.CodeNormal, ""); err != nil {
			t.Fatal(err)
		}
		c.expect(opClose, closePayload(1000, ""))
		idle(t, n)
		gone(server.LimitCloseTimeout, times.shut, uint64(i))
	}
	openConns(t, srv, 0)
	pinged, _ := open("own")
	open("off")
	pass(t, n, 150*time.Second)
	if got := srv.Stats().Pings; got != 0 {
		t.Errorf("%d pings after 150 s", got)
	}
	n.Advance(100 * time.Second)
	pinged.expect(opPing, "")
	n.Advance(time.Hour)
	idle(t, n)
	if got := srv.Stats(); got.Pings != 1 || got.Open != 1 {
		t.Errorf("%d pings and %d open in an hour, of one that is not pinged and one that did not answer", got.Pings, got.Open)
	}
}

// TestConnLimitsRates: rates of a route, and none where the server has some.
func TestConnLimitsRates(t *testing.T) {
	t.Parallel()
	for _, limits := range []server.Limits{{}, {MessageRate: 1, MessageBurst: 3, ByteRate: 1 << 20}} {
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Limits = limits
			byRoute(s, map[string]server.Accept{
				"own":  {Limits: &server.ConnLimits{MessageRate: 1, MessageBurst: 10}},
				"off":  {Limits: &server.ConnLimits{MessageRate: -1, ByteRate: -1}},
				"byte": {Limits: &server.ConnLimits{MessageRate: -1, Message: 100, ByteRate: 1000}},
			})
		})
		burst := func(route string, messages int) *client {
			c := dialSim(t, n, addr).upgraded(on(route))
			c.send(strings.Repeat(frame(opText, "x"), messages))
			for range messages {
				c.expect(opText, "x")
			}
			return c
		}
		n.Advance(time.Hour) // which nobody was late
		burst("own", 1)      // from here on it is known how late a loop is
		burst("off", 1000)
		c := burst("own", 10)
		hits(t, srv, server.LimitMessageRate, 0)
		c.send(frame(opText, "x"))
		c.expectClose(1008)
		hits(t, srv, server.LimitMessageRate, 1)
		c = burst("byte", 1000/7)
		c.send(frame(opText, "x"))
		c.expectClose(1008)
		hits(t, srv, server.LimitByteRate, 1)
	}
}
