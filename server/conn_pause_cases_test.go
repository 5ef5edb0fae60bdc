package server_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestTruncatedAtAFramesEnd: a queue that is truncated at a frame's end keeps no empty
// segment, of which a bridge would take nothing for ever.
func TestTruncatedAtAFramesEnd(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	srv := &server.Server{Logger: noLog, Handler: opened(conns), Runtime: server.Runtime{Loops: 1}, Queue: server.Queue{Max: 200_000}}
	near, far := net.Pipe()
	web := &http.Server{Handler: http.HandlerFunc(srv.ServeHTTP)}
	ln := &oneConn{conn: far, done: make(chan struct{})}
	go func() { _ = web.Serve(ln) }()
	c := newClient(t, near)
	go c.send(upgradeRequest())
	c.expectSwitch()
	conn := <-conns
	eventually(t, "nothing waits", func() bool { return conn.Buffered() == 0 })
	time.Sleep(50 * time.Millisecond)
	// 16,400 bytes: the bridge's writer has them, in pieces of 16,384 and 16.
	if err := conn.Send(ws.Binary, make([]byte, 16396)); err != nil {
		t.Fatal(err)
	}
	for range 17 * 256 { // frames of 16 bytes: segments of 4096 that are full to the last byte
		if err := conn.Send(ws.Binary, make([]byte, 14)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(c.Conn, make([]byte, 16384)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the bridge takes 65,520 more: 15 segments and 4,080 of the 16th
	var err error
	for err == nil {
		err = conn.Send(ws.Binary, make([]byte, 14))
	}
	t.Logf("overflow: %v, %d wait", err, conn.Buffered())
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, c.Conn); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		stats := make(chan struct{})
		go func() { conn.Stats(); close(stats) }()
		select {
		case <-stats:
			t.Error("the peer is not told, and it is not over")
		case <-time.After(time.Second):
			t.Error("Conn.mu is held for ever: flush spins on an empty segment")
		}
		return
	}
	_, _ = web.Close(), srv.Close()
}

// TestRatesAfterAPause: what a peer sends in one go long after a pause is too fast.
func TestRatesAfterAPause(t *testing.T) {
	t.Parallel()
	for _, pauses := range []bool{false, true} {
		conns := make(chan *server.Conn, 1)
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Limits.MessageRate, s.Limits.MessageBurst = 10, 10
			s.Keepalive.Interval = -1
			s.Handler = opened(conns)
		})
		c := dialSim(t, n, addr).upgraded()
		conn := <-conns
		if pauses {
			conn.PauseReading()
		}
		c.send(frame(opText, "x"))
		idle(t, n)
		conn.ResumeReading()
		idle(t, n)
		for range 60 {
			pass(t, n, second)
		}
		c.send(strings.Repeat(frame(opText, "x"), 300)) // 30 seconds' worth at once
		idle(t, n)
		got := srv.Stats()
		t.Logf("paused before: %v: %d messages, rate limit met %d times", pauses, got.MessagesIn, got.Limits[server.LimitMessageRate])
		if got.Limits[server.LimitMessageRate] != 1 {
			t.Errorf("paused before: %v: 300 messages at once are within a rate of 10 a second, burst 10", pauses)
		}
	}
}

// TestPauseAndByteRate pauses from outside while too many bytes are handled.
func TestPauseAndByteRate(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 20, 20, 14
		s.Handler = opened(conns)
	})
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end) && srv.Stats().Panics == 0; {
		c := dialSim(t, n, addr).upgraded()
		conn := <-conns
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					conn.PauseReading()
					conn.ResumeReading()
				}
			}
		}()
		c.send(frame(opText, "12345678901234") + frame(opText, "")) // 20 bytes are within, 6 are not
		time.Sleep(300 * time.Microsecond)
		close(stop)
		<-done
		c.reset()
	}
	if got := srv.Stats().Panics; got != 0 {
		t.Errorf("%d panics", got)
	}
}

// TestCloseOfAPausedOne: a paused connection that is closed within a turn, here since
// its lifetime is over, reads on, and sees the peer's close frame.
func TestCloseOfAPausedOne(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Timeouts.Lifetime, s.Keepalive.Interval, s.Timeouts.Close = 10*time.Second, -1, time.Minute
		s.Handler = opened(conns)
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	conn.PauseReading()
	c.send(frame(opText, "x") + frame(opClose, closePayload(1000, "")))
	c.closeWrite()
	for range 11 {
		pass(t, n, second)
	}
	if got := srv.Stats(); got.Limits[server.LimitLifetime] != 1 {
		t.Fatalf("%+v", got)
	}
	for i := range 90 {
		if srv.Stats().Open == 0 {
			t.Logf("ended after %d s more", i)
			if i > 2 {
				t.Errorf("the peer's close frame and FIN were seen only by CloseTimeout, %d s later", i)
			}
			return
		}
		pass(t, n, second)
	}
	t.Error("it never ends")
}

// TestDrainOfAPausedOne: a drain waits two seconds for a handler to resume, and closes
// the connection then.
func TestDrainOfAPausedOne(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Handler = opened(conns)
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	conn.PauseReading()
	idle(t, n)
	go func() { _ = srv.Shutdown(t.Context()) }()
	eventually(t, "draining", func() bool { return srv.DrainProgress().Phase == server.PhaseDraining })
	idle(t, n)
	for range 3 {
		pass(t, n, time.Second)
	}
	c.expect(opClose, closePayload(1001, "server shutting down"))
	c.send(frame(opClose, ""))
	c.expectEOF()
}

// TestPausedPeerOnUnixSocket: on a Unix socket there is no peer's system that
// acknowledges a ping, so one that is not read lives without.
func TestPausedPeerOnUnixSocket(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	causes := make(chan *ws.CloseError, 1)
	srv := &server.Server{Logger: noLog, Keepalive: server.Keepalive{Interval: time.Second}, Handler: handler{open: func(c *server.Conn) { conns <- c }, close: closeCause(causes)}}
	path := socketpath.New(t)
	ln, err := srv.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn).upgraded()
	_ = c
	(<-conns).PauseReading()
	select {
	case cause := <-causes:
		t.Errorf("closed with %v", cause)
	case <-time.After(3500 * time.Millisecond):
	}
}

// TestIdleTimeoutAfterAPause: Timeouts.Idle counts again when a pause is over.
func TestIdleTimeoutAfterAPause(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		s.Timeouts.Idle, s.Keepalive.Interval = 10*time.Second, -1
		s.Handler = opened(conns)
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	conn.PauseReading()
	if err := conn.Send(ws.Binary, make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	c.expect(opBinary, string(make([]byte, 5000)))
	eventually(t, "the queue is gone", func() bool { return conn.Buffered() == 0 })
	idle(t, n)
	conn.ResumeReading()
	idle(t, n)
	for range 100 {
		pass(t, n, second)
	}
	if srv.Stats().States.Open != 0 {
		t.Error("100 s without a message, IdleTimeout is 10 s")
	}
}

// TestPausedPeerThatIsFed: a paused peer whose system has acknowledged all but the last
// message, which is always a moment old, lives.
func TestPausedPeerThatIsFed(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	causes := make(chan *ws.CloseError, 1)
	n, addr, srv := startSim(t, simnet.Config{AckOnRead: true}, func(s *server.Server) {
		s.Keepalive.Interval = 10 * time.Second
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }, close: closeCause(causes)}
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	conn.PauseReading()
	for i := range 100 { // a second each
		for range 10 {
			// The link takes 50 ms: what was sent in the last tick is acknowledged in this one.
			_, _ = io.ReadFull(c.r, make([]byte, c.r.Buffered()))
			for c.buffered() > 0 {
				_, _ = c.Conn.Read(make([]byte, 1000))
			}
			if conn.SendText("tick") != nil {
				t.Fatalf("closed after %d s with %v", i, <-causes)
			}
			pass(t, n, 100*time.Millisecond)
		}
	}
	t.Log(srv.Stats().Pings)
}

// TestCloseBehindTooManyBytes: bytes beyond a rate are dropped, but the peer's close
// frame behind them is found.
func TestCloseBehindTooManyBytes(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 20, 20, 14
		s.Keepalive.Interval = -1
	})
	c := dialSim(t, n, addr).upgraded()
	// 20 bytes are within the rate: a message of 19 and the first byte of a ping. The
	// rest of the ping is dropped, so what comes next is read as if it were its rest.
	c.send(frame(opText, "1234567890123") + frame(opPing, "abcdefghij"))
	c.expect(opText, "1234567890123")
	op, _ := c.frame()
	if op != opClose {
		t.Fatalf("frame %x", op)
	}
	c.send(frame(opClose, closePayload(1008, "")))
	c.expectEOF() // our FIN follows the peer's close frame; the clock stands still
}

// TestPauseEndsWithinATurn: whenever a pause ends, what was kept is handled before what
// is read then.
func TestPauseEndsWithinATurn(t *testing.T) {
	t.Parallel()
	var broken atomic.Int64
	var handled atomic.Int64
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Keepalive.Interval = -1
		s.Upgrade = func(*ws.Request) (server.Accept, error) {
			next := uint64(0)
			return server.Accept{Handler: handler{message: func(c *server.Conn, m ws.Message) {
				if got := binary.BigEndian.Uint64(m.Payload); got != next {
					if broken.Add(1) < 5 {
						t.Errorf("message %d, want %d", got, next)
					}
				}
				next++
				handled.Add(1)
				if next%2 == 0 {
					c.PauseReading()
					go c.ResumeReading()
				}
			}, close: func(c *server.Conn, err error) {
				if strings.Contains(err.Error(), "1002") && broken.Add(1) < 5 {
					t.Errorf("closed with %v", err)
				}
			}}}, nil
		}
	})
	end := time.Now().Add(500 * time.Millisecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for time.Now().Before(end) && broken.Load() == 0 {
				c := dialSim(t, n, addr).upgraded()
				for i := uint64(0); i < 20000 && broken.Load() == 0; {
					var b strings.Builder
					for range 3 {
						b.WriteString(frame(opBinary, string(binary.BigEndian.AppendUint64(nil, i))))
						i++
					}
					if _, err := io.WriteString(c.Conn, b.String()); err != nil {
						break
					}
				}
				c.reset()
			}
		})
	}
	wg.Wait()
	t.Logf("%d handled", handled.Load())
}

// TestDrainOfOnePausedTwice: paused by its queue and by its handler, a connection is
// closed for a drain when only the handler is left.
func TestDrainOfOnePausedTwice(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(s *server.Server) {
		s.Handler = opened(conns)
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	conn.PauseReading()
	if err := conn.Send(ws.Binary, make([]byte, 200_000)); err != nil {
		t.Fatal(err)
	}
	idle(t, n)
	go func() { _ = srv.Shutdown(t.Context()) }()
	eventually(t, "draining", func() bool { return srv.DrainProgress().Phase == server.PhaseDraining })
	idle(t, n)
	pass(t, n, time.Second)
	go func() { _, _ = io.Copy(io.Discard, c.r) }()
	eventually(t, "the queue is gone", func() bool { return conn.Buffered() == 0 })
	idle(t, n)
	for range 4 {
		pass(t, n, time.Second)
	}
	if got := srv.Stats().States; got.Open != 0 {
		t.Error("four seconds after its queue is gone it is still open")
	}
}

// TestPauseEndsWithinADrainsTurn: a pause that ends while a drain looks at the connection
// is none in which what was kept is dropped.
func TestPauseEndsWithinADrainsTurn(t *testing.T) {
	t.Parallel()
	const many = 500
	lost := int64(0)
	for range scaled(20) {
		var handled atomic.Int64
		var mu sync.Mutex
		var paused []*server.Conn
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Runtime.Loops, s.Keepalive.Interval = 1, -1
			s.Handler = handler{message: func(c *server.Conn, m ws.Message) {
				if handled.Add(1); string(m.Payload) == "1" {
					c.PauseReading()
					mu.Lock()
					paused = append(paused, c)
					mu.Unlock()
				}
			}}
		})
		for range many {
			c, err := n.Dial(addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte(upgradeRequest() + frame(opText, "1") + frame(opText, "2")))
		}
		eventually(t, "all are paused", func() bool { return srv.Stats().Paused == many })
		go func() { _ = srv.Shutdown(t.Context()) }()
		for srv.DrainProgress().Phase != server.PhaseDraining {
		}
		for _, c := range paused {
			c.ResumeReading()
		}
		eventually(t, "all are told", func() bool { return srv.Stats().States.Open == 0 })
		idle(t, n)
		lost += 2*many - handled.Load()
	}
	if lost > 0 {
		t.Errorf("%d messages that had been read before the drain were not handled", lost)
	}
}
