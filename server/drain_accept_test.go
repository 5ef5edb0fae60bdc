package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestDrainAcceptQueue: who waits in the queue of the listener when the drain
// begins is taken and told, not reset.
func TestDrainAcceptQueue(t *testing.T) {
	t.Parallel()
	onBoth(t, testDrainAcceptQueue)
}

func testDrainAcceptQueue(t *testing.T, start starter) {
	s := newStaller()
	connect, srv := start(t, func(srv *server.Server) {
		twoWorkers(srv)
		srv.HTTP = http.HandlerFunc(answerPlain)
		srv.Handler = holdOrEcho(s)
	})
	held := []*client{connect().upgraded(), connect().upgraded()}
	s.stall(held[0], held[1])
	upgrades, plain, late := make([]*client, 100), make([]*client, 20), make([]*client, 20) // more than one round
	for i := range upgrades {
		upgrades[i] = connect()
		upgrades[i].send(upgradeRequest())
	}
	for i := range plain {
		plain[i], late[i] = connect(), connect()
		plain[i].send(get("/healthz"))
	}
	done := beginDrain(t, srv, server.DrainOptions{})
	released := time.Now()
	close(s.release)
	for _, c := range held {
		c.expect(opText, "hold")
		c.expect(opClose, closePayload(1001, "server shutting down"))
	}
	for _, c := range late { // their request was still on its way, and the server waits a second for it
		_, _ = io.WriteString(c.Conn, upgradeRequest()) // the answer tells
	}
	inTime := time.Since(released) < time.Second
	for _, c := range upgrades {
		if resp := c.expectRefusal(http.StatusServiceUnavailable); resp.Header.Get("Retry-After") == "" {
			t.Errorf("503 with %v", resp.Header)
		}
		_ = c.Close()
	}
	for _, c := range plain {
		if resp, body := c.response(); resp.StatusCode != 200 || body != "GET /healthz " || !resp.Close {
			t.Errorf("%s %q, close: %v", resp.Status, body, resp.Close)
		}
		c.expectEOF()
	}
	for _, c := range late {
		if inTime { // on sockets a machine may be too slow for that
			c.expectRefusal(http.StatusServiceUnavailable)
		}
		_ = c.Close()
	}
	for _, c := range held {
		_ = c.Close()
	}
	expectDrained(t, done, nil)
	if len(srv.ListenAddrs()) != 0 {
		t.Error("it still listens")
	}
}

// TestDrainAcceptQueueLate: the time for those in the queue begins when the loop looks at them, which handlers
// have kept from it.
func TestDrainAcceptQueueLate(t *testing.T) {
	t.Parallel()
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = holdOrEcho(s)
	})
	held := []*client{dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()}
	s.stall(held[0], held[1])
	waiting := make([]*client, 200) // more than one round
	for i := range waiting {
		waiting[i] = dialSim(t, n, addr)
		waiting[i].send(upgradeRequest())
	}
	done := beginDrain(t, srv, server.DrainOptions{})
	n.Advance(3 * time.Second)
	close(s.release)
	for _, c := range waiting {
		c.expectRefusal(http.StatusServiceUnavailable)
		_ = c.Close()
	}
	_, _ = held[0].Close(), held[1].Close()
	expectDrained(t, done, nil)
}

// TestDrainAcceptQueueTLS: their handshake is still done, so that they can be told.
func TestDrainAcceptQueueTLS(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]starter{"simnet": onTLSSimnet, "sockets": onTLSSockets} {
		t.Run(name, func(t *testing.T) {
			s := newStaller()
			connect, srv := start(t, func(srv *server.Server) {
				twoWorkers(srv)
				srv.Handler = holdOrEcho(s)
			})
			a, b := connect().upgraded(), connect().upgraded()
			s.stall(a, b)
			waiting := make([]*client, 20)
			for i := range waiting {
				waiting[i] = connect()
			}
			done := beginDrain(t, srv, server.DrainOptions{})
			close(s.release)
			for _, c := range waiting {
				c.send(upgradeRequest())
			}
			for _, c := range waiting {
				c.expectRefusal(http.StatusServiceUnavailable)
				_ = c.Close()
			}
			_, _ = a.Close(), b.Close()
			expectDrained(t, done, nil)
		})
	}
}

// TestDrainAcceptQueueExhausted: without descriptors for the queue it is given up
// in the end, and the drain goes on.
func TestDrainAcceptQueueExhausted(t *testing.T) {
	t.Parallel()
	var logs logBook
	script := func(call simnet.Call) (v simnet.Verdict) {
		if call.Op == simnet.OpAccept {
			v.Err = syscall.EMFILE
		}
		return v
	}
	n, addr, srv := startSim(t, simnet.Config{Script: script}, func(srv *server.Server) { srv.Logger = logs.logger() })
	waiting := dialSim(t, n, addr)
	done := beginDrain(t, srv, server.DrainOptions{})
	idle(t, n)
	if srv.DrainProgress().Phase != server.PhaseDraining {
		t.Error("given up at once")
	}
	n.Advance(time.Second)
	expectDrained(t, done, nil)
	waiting.expectEnd()
	if logs.count("connections reset in the accept queue") != 1 {
		t.Errorf("logs: %s", logs.String())
	}
}

// TestDrainHandshakes: what is under way when the drain begins gets an answer, or
// the time to ask.
func TestDrainHandshakes(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 1), make(chan struct{})
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.HTTP = http.HandlerFunc(answerPlain)
		srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Path() == "/slow" {
				asked <- struct{}{}
				<-release
			}
			return server.Accept{}, nil
		}
	})
	const request = "GET /slow HTTP/1.1\r\n" + upgradeLines + "\r\n"
	half, slow := dialSim(t, n, addr), dialSim(t, n, addr)
	silent, asks, halfLate, web := dialSim(t, n, addr), dialSim(t, n, addr), dialSim(t, n, addr), dialSim(t, n, addr)
	half.send(request[:30])
	slow.send(request)
	<-asked
	idle(t, n)
	done := beginDrain(t, srv, server.DrainOptions{})
	half.expectRefusal(http.StatusServiceUnavailable)
	idle(t, n)
	n.Advance(1900 * time.Millisecond)
	idle(t, n)
	asks.send(upgradeRequest())
	asks.expectRefusal(http.StatusServiceUnavailable)
	web.send(get("/x"))
	if resp, body := web.response(); resp.StatusCode != 200 || !resp.Close || body != "GET /x " {
		t.Errorf("%s %q, close: %v", resp.Status, body, resp.Close)
	}
	halfLate.send(request[:30])
	idle(t, n)
	n.Advance(100*time.Millisecond + tickTime)
	silent.expectEOF()
	halfLate.expectRefusal(http.StatusServiceUnavailable)
	close(release)
	slow.expectRefusal(http.StatusServiceUnavailable)
	for _, c := range []*client{half, slow, silent, asks, halfLate, web} {
		_ = c.Close()
	}
	expectDrained(t, done, nil)
}

// TestDrainBlockedHandler: a handler that blocks is waited for, its answer goes
// out, and its connection is closed after it.
func TestDrainBlockedHandler(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		s := newStaller()
		connect, srv := start(t, func(srv *server.Server) { srv.Handler = holdOrEcho(s) })
		c, other := connect().upgraded(), connect().upgraded()
		c.send(frame(opText, "hold"))
		<-s.held
		done := beginDrain(t, srv, server.DrainOptions{})
		other.expect(opClose, closePayload(1001, "server shutting down"))
		_ = other.Close()
		eventually(t, "the other to be gone", func() bool { return srv.DrainProgress().Left == 1 })
		close(s.release)
		c.expect(opText, "hold")
		c.expect(opClose, closePayload(1001, "server shutting down"))
		c.send(frame(opClose, ""))
		c.expectEOF()
		expectDrained(t, done, nil)
	})
}

// TestDrainWorkers: a worker that is held is counted as such also when other loops are
// over.
func TestDrainWorkers(t *testing.T) {
	t.Parallel()
	s := newStaller()
	connect, srv := onSimnet(t, func(srv *server.Server) {
		srv.Runtime.Loops, srv.Runtime.Workers = 2, 8
		srv.Handler = holdOrEcho(s)
	})
	c := connect().upgraded()
	c.send(frame(opText, "hold"))
	<-s.held
	eventually(t, "its loop is handed over", func() bool { return srv.Stats().Handovers == 1 })
	done := beginDrain(t, srv, server.DrainOptions{})
	want := server.Workers{Leading: 1, Standby: 1, Held: 1, Max: 8}
	eventually(t, fmt.Sprintf("%+v", want), func() bool { return srv.Stats().Workers == want })
	close(s.release)
	c.expect(opText, "hold")
	_ = c.Close()
	expectDrained(t, done, nil)
}

// TestDrainDeadlineBlockedHandler: the deadline does not wait for handlers.
func TestDrainDeadlineBlockedHandler(t *testing.T) {
	t.Parallel()
	s := newStaller()
	connect, srv := onSimnet(t, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = holdOrEcho(s)
	})
	a, b := connect().upgraded(), connect().upgraded()
	s.stall(a, b) // the loop itself stands still
	done := beginDrain(t, srv, server.DrainOptions{Timeout: 10 * time.Millisecond})
	expectDrained(t, done, context.DeadlineExceeded)
	if p := srv.DrainProgress(); p.Left != 2 || p.Phase != server.PhaseStopped {
		t.Errorf("progress %+v, want 2 left", p)
	}
	close(s.release)
	eventually(t, "they end", func() bool { return srv.DrainProgress().Left == 0 })
}

// TestDrainQueues: what waits for a slow reader is written before the close frame.
func TestDrainQueues(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		const messages, size = 50, 20_000
		sent := make(chan struct{})
		connect, srv := start(t, func(srv *server.Server) {
			srv.Queue.Max = messages * (size + 100)
			srv.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) {
				for i := range messages {
					if err := c.Send(ws.Binary, []byte(pattern(i, size))); err != nil {
						t.Errorf("Send: %v", err)
					}
				}
				close(sent)
			})
		})
		c := connect().upgraded()
		c.send(frame(opText, "go"))
		<-sent
		done := beginDrain(t, srv, server.DrainOptions{})
		for i := range messages {
			c.expect(opBinary, pattern(i, size))
		}
		c.expect(opClose, closePayload(1001, "server shutting down"))
		c.send(frame(opClose, ""))
		c.expectEOF()
		expectDrained(t, done, nil)
	})
}

// TestDrainTakenOver: what net/http gives back while the server drains gets 503,
// what was handed over before is closed politely.
func TestDrainTakenOver(t *testing.T) {
	t.Parallel()
	connect, srv := onSimnet(t, func(srv *server.Server) { srv.HTTP = http.HandlerFunc(answerPlain) })
	c, late := connect(), connect()
	for _, c := range []*client{c, late} {
		c.send(get("/first"))
		c.expectPlain("GET /first ")
	}
	c.send(upgradeRequest())
	c.expectSwitch()
	c.send(frame(opText, "open"))
	c.expect(opText, "open")
	done := beginDrain(t, srv, server.DrainOptions{})
	c.expect(opClose, closePayload(1001, "server shutting down"))
	late.send(upgradeRequest())
	late.expectRefusal(http.StatusServiceUnavailable)
	_ = late.Close() // or its loop gives it the time to read why
	c.send(frame(opClose, ""))
	c.expectEOF()
	expectDrained(t, done, nil)
}

// TestDrainInTheMidst drains at a pace while connections come, go, talk, fill
// their queues and block their handlers; Close or the deadline may come on top.
func TestDrainInTheMidst(t *testing.T) {
	for round := range partly(8) {
		drains := map[string]func(*server.Server) error{
			"to the end": func(srv *server.Server) error {
				return srv.Drain(context.Background(), server.DrainOptions{Rate: 50, Delay: time.Millisecond})
			},
			"to a deadline": func(srv *server.Server) error {
				return srv.Drain(context.Background(), server.DrainOptions{Rate: 50, Timeout: time.Duration(round) * time.Millisecond})
			},
			"to a Close": func(srv *server.Server) error {
				go func() {
					time.Sleep(time.Duration(round) * time.Millisecond)
					_ = srv.Close()
				}()
				return srv.Drain(context.Background(), server.DrainOptions{Rate: 50})
			},
		}
		for name, drain := range drains {
			t.Run(fmt.Sprint(name, " ", round), func(t *testing.T) { testDrainInTheMidst(t, uint64(round), drain) })
		}
	}
}

func testDrainInTheMidst(t *testing.T, seed uint64, drain func(*server.Server) error) {
	config := simnet.Config{Script: simnet.Chop(seed), SendBuffer: 5000, StaleEvents: true}
	var handled atomic.Int64
	s := newStaller()
	s.held = make(chan struct{}, 1<<20) // nobody waits for them
	n, addr, srv := startSim(t, config, func(srv *server.Server) {
		srv.Runtime.Loops = 3
		srv.HTTP = http.NotFoundHandler()
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			handled.Add(1)
			s.hold(m)
			_ = c.Send(m.Opcode, m.Payload) // closing: as it should
		})
	})
	stopped := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { comeAndGo(n, addr, stopped) })
	}
	eventually(t, "traffic", func() bool { return handled.Load() >= 50 })
	done := make(chan error, 1)
	go func() { done <- drain(srv) }()
	eventually(t, "draining", func() bool { return srv.DrainProgress().Phase >= server.PhaseDraining })
	for i := 0; ; i++ {
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Drain: %v", err)
			}
			close(stopped)
			clients.Wait()
			expectAccounts(t, srv)
			return
		default:
			n.Advance(50 * time.Millisecond)
			time.Sleep(100 * time.Microsecond) // real time is what handlers and deadlines need
		}
		if i == 10 {
			close(s.release)
		}
	}
}

// expectAccounts: nobody is left, and each connection that was accepted is
// accounted for.
func expectAccounts(t *testing.T, srv *server.Server) {
	t.Helper()
	eventually(t, "all to be gone", func() bool {
		p := srv.DrainProgress()
		return p.Left == 0 && p.HTTP == 0
	})
	if s := srv.Stats(); s.Open != 0 || s.States != (server.States{}) {
		t.Errorf("open %d, states %+v: want none", s.Open, s.States)
	}
}

// TestDrainOnSocketsEndsCleanly: two hundred clients at a pace of two thousand a second, each
// of which gets its close frame and a clean end.
func TestDrainOnSocketsEndsCleanly(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, nil)
	open := make([]*client, 200)
	for i := range open {
		open[i] = dial(t, addr).upgraded()
	}
	done := beginDrain(t, srv, server.DrainOptions{Rate: 2000, Timeout: patience})
	var all sync.WaitGroup
	for i, c := range open {
		all.Go(func() {
			op, payload := c.frame()
			if op != opClose || payload != closePayload(1001, "server shutting down") {
				t.Errorf("client %d: frame %x %q", i, op, payload)
			}
			if _, err := io.WriteString(c.Conn, frame(opClose, closePayload(1001, ""))); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			if b, err := c.r.ReadByte(); err != io.EOF {
				t.Errorf("client %d: byte %x, %v", i, b, err)
			}
		})
	}
	all.Wait()
	expectDrained(t, done, nil)
	expectProgress(t, srv, server.DrainProgress{Phase: server.PhaseStopped, Closed: 200})
}
