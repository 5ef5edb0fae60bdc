package server_test

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// arrived are messages for one go.
func arrived(count, size int) string {
	var b strings.Builder
	for i := range count {
		b.WriteString(frame(opText, pattern(i, size)))
	}
	return b.String()
}

// expectArrived reads the answers to them, then the close frame of a drain, and answers
// that.
func (c *client) expectArrived(count, size int) {
	c.t.Helper()
	for i := range count {
		c.expect(opText, pattern(i, size))
	}
	c.expectSays(1001)
	c.send(frame(opClose, closePayload(1001, "")))
	c.expectEOF()
}

// TestDrainArrived: what had arrived when a drain began is handled and answered before
// the close frame, on every transport, also if its handlers take their time.
func TestDrainArrived(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		count, size int           // together less than any receive buffer
		takes       time.Duration // each
	}{
		{300, 150, 0}, {60, 1 << 10, 8 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(test.count, " that take ", test.takes), func(t *testing.T) {
			t.Parallel()
			onAll(t, func(t *testing.T, start starter) {
				s := newStaller()
				connect, srv := start(t, func(srv *server.Server) {
					twoWorkers(srv)
					srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
						if !s.hold(m) {
							time.Sleep(test.takes)
						}
						_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
					})
				})
				a, b, c := connect().upgraded(), connect().upgraded(), connect().upgraded()
				s.stall(a, b)
				for i := range test.count {
					c.send(frame(opText, pattern(i, test.size))) // over TLS, a record each
				}
				done := beginDrain(t, srv, server.DrainOptions{})
				close(s.release)
				c.expectArrived(test.count, test.size)
				for _, c := range []*client{a, b} {
					c.expect(opText, "hold")
					c.expectSays(1001)
					_ = c.Close()
				}
				_ = c.Close()
				expectDrained(t, done, nil)
			})
		})
	}
}

// onLargeWindows runs a test on simnet, where more can arrive than one read takes.
func onLargeWindows(t *testing.T, window int, test func(t *testing.T, start starter)) {
	t.Helper()
	config := simnet.Config{RecvBuffer: window}
	t.Run("plain", func(t *testing.T) {
		test(t, func(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
			n, addr, srv := startSim(t, config, configure)
			return func() *client { return dialSim(t, n, addr) }, srv
		})
	})
	t.Run("TLS", func(t *testing.T) {
		test(t, func(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
			n, addr, srv := startTLSSim(t, config, configure)
			return func() *client { return dialTLSSim(t, n, addr) }, srv
		})
	})
}

// TestDrainArrivedLong: the same of what takes many reads, whether the peer takes the
// answers meanwhile or they make a queue that holds it up.
func TestDrainArrivedLong(t *testing.T) {
	t.Parallel()
	const count = 300
	for _, size := range []int{1 << 10, 10 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			onLargeWindows(t, 4<<20, func(t *testing.T, start starter) {
				s := newStaller()
				connect, srv := start(t, func(srv *server.Server) {
					twoWorkers(srv)
					srv.Handler = holdOrEcho(s)
				})
				a, b, c := connect().upgraded(), connect().upgraded(), connect().upgraded()
				s.stall(a, b)
				c.send(arrived(count, size))
				done := beginDrain(t, srv, server.DrainOptions{})
				close(s.release)
				eventually(t, "it is held up by its answers", func() bool { return srv.Stats().Paused == 1 })
				c.expectArrived(count, size)
				_, _, _ = a.Close(), b.Close(), c.Close()
				expectDrained(t, done, nil)
			})
		})
	}
}

// TestDrainArrivedPaused: what had arrived is handled when its handler lets it be.
func TestDrainArrivedPaused(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) { testDrainArrivedPaused(t, start, 150) })
	onLargeWindows(t, 4<<20, func(t *testing.T, start starter) { testDrainArrivedPaused(t, start, 2<<10) })
}

func testDrainArrivedPaused(t *testing.T, start starter, size int) {
	const count = 300
	conns := make(chan *server.Conn, 1)
	connect, srv := start(t, func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message}
	})
	c := connect().upgraded()
	conn := <-conns
	conn.PauseReading()
	c.send(arrived(count, size))
	done := beginDrain(t, srv, server.DrainOptions{})
	for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if srv.Stats().States.Open != 1 || srv.Stats().MessagesIn != 0 {
			t.Fatalf("%+v, want one that is open and waits", srv.Stats())
		}
	}
	conn.ResumeReading()
	c.expectArrived(count, size)
	_ = c.Close()
	expectDrained(t, done, nil)
}

// TestDrainFlood: what comes later is not waited for: a peer that sends more than is
// handled, and goes on, is closed like any other.
func TestDrainFlood(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) { testDrainFlood(t, start, 4<<10, 64<<20) })
	onLargeWindows(t, 1<<20, func(t *testing.T, start starter) { testDrainFlood(t, start, 1<<10, 3<<20) }) // each turn is slow
}

// testDrainFlood floods with messages of a size; most is more than the network keeps for
// a connection, and a few turns.
func testDrainFlood(t *testing.T, start starter, size int, most int64) {
	var handled atomic.Int64
	connect, srv := start(t, func(srv *server.Server) {
		srv.Handler = onlyMessage(func(_ *server.Conn, m ws.Message) {
			time.Sleep(time.Microsecond) // or some more
			handled.Add(int64(len(m.Payload)))
		})
	})
	c := connect().upgraded()
	flood := arrived(100, size)
	go func() {
		for {
			if _, err := io.WriteString(c.Conn, flood); err != nil {
				return // it is closed
			}
		}
	}()
	eventually(t, "traffic", func() bool { return handled.Load() > 1<<20 })
	done := beginDrain(t, srv, server.DrainOptions{})
	before := handled.Load()
	c.expectSays(1001)
	if n := handled.Load() - before; n > most {
		t.Errorf("%d bytes were handled", n)
	}
	_ = c.Close()
	expectDrained(t, done, nil)
}
