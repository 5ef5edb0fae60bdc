package server_test

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// closeCause is a Handler.Close that keeps why.
func closeCause(to chan<- *ws.CloseError) func(*server.Conn, error) {
	return func(_ *server.Conn, err error) {
		var cause *ws.CloseError
		errors.As(err, &cause)
		to <- cause
	}
}

// TestNotReadingBroadcast has others send to a peer that reads nothing: it is closed
// at the cap of its queue, and when it reads again there are whole frames and then
// 1008. For its own messages see TestBackPressure.
func TestNotReadingBroadcast(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		causes := make(chan *ws.CloseError, 1)
		conns := make(chan *server.Conn, 1)
		connect, _ := start(t, func(srv *server.Server) {
			srv.Queue.Max = 1 << 20
			srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, close: closeCause(causes)}
		})
		c := connect().upgraded()
		conn := <-conns
		p := ws.Prepare(ws.Binary, make([]byte, 10_000))
		queued := 0
		err := conn.SendPrepared(p)
		for ; err == nil; err = conn.SendPrepared(p) {
			queued = max(queued, conn.Buffered())
		}
		if !errors.Is(err, server.ErrQueueFull) {
			t.Errorf("Send: %v, want ErrQueueFull", err)
		}
		if queued > 1<<20 || queued < 1<<20-11_000 {
			t.Errorf("%d bytes were queued, want nearly 1 MiB", queued)
		}
		if err := conn.Send(ws.Text, nil); !errors.Is(err, server.ErrClosed) {
			t.Errorf("Send after ErrQueueFull: %v, want ErrClosed", err)
		}
		if cause := <-causes; cause.Code != ws.CodePolicy {
			t.Errorf("closed with %v, want 1008", cause)
		}
		op, payload := c.frame()
		for ; op == opBinary; op, payload = c.frame() {
			if len(payload) != 10_000 {
				t.Fatalf("frame of %d bytes", len(payload))
			}
		}
		if op != opClose || payload[:2] != closePayload(1008, "") {
			t.Errorf("frame %x %q, want 1008", op, payload)
		}
	})
}

// TestPingFlood floods the server with pings and reads nothing: one pong is
// enough, so nothing grows, and when the flooder reads it gets the latest.
func TestPingFlood(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		connect, srv := start(t, nil)
		c := connect().upgraded()
		before := liveHeap()
		one := frame(opPing, strings.Repeat("p", 125))
		chunk := strings.Repeat(one, 8000)
		sent, total := 0, scaled(128<<20)
		for ; sent < total; sent += len(chunk) {
			c.send(chunk)
		}
		c.send(frame(opPing, "the last"))
		sent += len(frame(opPing, "the last"))
		eventually(t, "all is read", func() bool {
			behind := int(srv.Stats().BytesIn) - sent
			return behind == 0 || behind == len(upgradeRequest()) // net/http has read it, or we
		})
		if grown := int64(liveHeap()) - int64(before); grown > 2<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		for payload := ""; payload != "the last"; {
			var op byte
			if op, payload = c.frame(); op != opPong {
				t.Fatalf("frame %x, want pongs", op)
			}
		}
	})
}

// TestPongKeepsItsPlace: a pong that waits goes before the answer to what comes behind its
// ping, the latest alone.
func TestPongKeepsItsPlace(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		connect, srv := start(t, func(s *server.Server) {
			s.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: func(c *server.Conn, m ws.Message) {
				if err := c.Send(m.Opcode, m.Payload); err != nil {
					t.Error(err)
				}
			}}
		})
		c := connect().upgraded()
		conn := <-conns
		full := 0
		for ; conn.Buffered() == 0 || full == 0; full++ {
			if err := conn.Send(ws.Binary, make([]byte, 10_000)); err != nil {
				t.Fatal(err)
			}
		}
		before := srv.Stats().BytesIn
		from := []string{frame(opPing, "1") + frame(opText, "a"), frame(opPing, "2") + frame(opPing, "3") + frame(opText, "b") + frame(opPing, "4")}
		c.send(from[0] + from[1])
		eventually(t, "all is read", func() bool { return srv.Stats().BytesIn == before+uint64(len(from[0]+from[1])) })
		for range full {
			c.expect(opBinary, string(make([]byte, 10_000)))
		}
		c.expect(opPong, "1")
		c.expect(opText, "a")
		if op, payload := c.frame(); payload == "2" {
			c.want(op, payload, opPong, "2")
			c.expect(opPong, "3")
		} else {
			c.want(op, payload, opPong, "3")
		}
		c.expect(opText, "b")
		c.expect(opPong, "4")
	})
}

// pinger answers each ping with a ping of its own.
type pinger struct{ handler }

func (pinger) Ping(c *server.Conn, payload []byte) { _ = c.Ping(payload) } // at the cap: the test sees

// TestOwnPingsBounded: the application's pings count in the cap as well.
func TestOwnPingsBounded(t *testing.T) {
	causes := make(chan *ws.CloseError, 1)
	n, addr, _ := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Queue.Max, srv.Queue.HighWater = 50_000, -1
		srv.Handler = pinger{handler{close: closeCause(causes)}}
	})
	c := dialSim(t, n, addr).upgraded()
	flood := strings.Repeat(frame(opPing, strings.Repeat("p", 125)), 5000)
	go func() { _, _ = c.Write([]byte(flood)) }() // it is cut
	if cause := <-causes; cause.Code != ws.CodePolicy {
		t.Errorf("closed with %v, want 1008", cause)
	}
}

// TestWriteDeadline reads a byte a second: that is no progress.
func TestWriteDeadline(t *testing.T) {
	causes := make(chan *ws.CloseError, 1)
	n, addr, _ := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Handler = handler{message: echo{}.Message, close: closeCause(causes)}
	})
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, pattern(1, 50_000)))
	idle(t, n)
	for second := 1; ; second++ {
		_, _ = c.Conn.Read(make([]byte, 1)) // the end shows in causes
		c.send(frame(opPong, ""))           // alive, but not reading
		n.Advance(time.Second)
		idle(t, n)
		select {
		case cause := <-causes:
			if second < 29 || second > 32 || cause.Code != ws.CodeAbnormal {
				t.Errorf("cut after %d s with %v, want 30 s and 1006", second, cause)
			}
			return
		default:
		}
		if second > 40 {
			t.Fatal("still there after 40 s")
		}
	}
}

// TestBusyPeerIsCut: a message that comes when a deadline is just over does not
// put it off, or a busy peer would never be cut.
func TestBusyPeerIsCut(t *testing.T) {
	s := newStaller()
	n, addr, _ := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Timeouts.Close = 5 * time.Second
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			if !s.hold(m) {
				_ = c.Close(ws.CodeNormal, "") // the test sees
			}
		})
	})
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, "close me"))
	c.expect(opClose, closePayload(1000, ""))
	s.stall(hold1, hold2)
	n.Advance(5*time.Second + tickTime)
	c.send(frame(opText, "and so on"))
	close(s.release)
	c.expectEnd()
}

// TestWriteProgress reads 4 KiB in 20 s: slow, but it goes on.
func TestWriteProgress(t *testing.T) {
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, nil)
	c := dialSim(t, n, addr).upgraded()
	text := pattern(1, 50_000)
	c.send(frame(opText, text))
	got := ""
	for len(got) < len(text)+4 {
		b := make([]byte, 1000)
		read := 0
		for read < 4100 {
			idle(t, n)
			k, err := c.Conn.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			if read += k; k < len(b) {
				break
			}
		}
		got += strings.Repeat("x", read)
		c.send(frame(opPong, ""))
		n.Advance(20 * time.Second)
		idle(t, n)
	}
	if srv.Stats().Open != 1 {
		t.Error("it was cut")
	}
}

// drainer counts the calls of Drained.
type drainer struct {
	handler
	drained *atomic.Int32
}

func (d drainer) Drained(c *server.Conn) {
	if d.drained.Add(1); c.Buffered() != 0 {
		panic("Drained with something in the queue")
	}
}

// TestDropNewest refuses what is too much and goes on; Drained comes once each
// time that the queue is empty again.
func TestDropNewest(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	var drained atomic.Int32
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Queue.Policy = server.DropNewest
		srv.Queue.Max = 20_000
		srv.Handler = drainer{handler{open: func(c *server.Conn) { conns <- c }}, &drained}
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	for round := range 5 {
		accepted := 0
		for i := range 20 {
			switch err := conn.Send(ws.Binary, []byte(pattern(i, 3000))); {
			case err == nil:
				accepted = i + 1
			case !errors.Is(err, server.ErrQueueFull):
				t.Fatalf("Send: %v", err)
			}
		}
		if accepted < 5 || accepted > 8 {
			t.Fatalf("%d messages of 3,000 bytes accepted with a queue of 20,000", accepted)
		}
		if got := drained.Load(); got != int32(round) {
			t.Fatalf("Drained called %d times after %d drains", got, round)
		}
		for i := range accepted {
			c.expect(opBinary, pattern(i, 3000))
		}
		idle(t, n)
	}
	if got := drained.Load(); got != 5 {
		t.Errorf("Drained called %d times for 5 drains", got)
	}
	if got := srv.Stats(); got.Dropped == 0 || got.Open != 1 || got.Panics != 0 {
		t.Errorf("%+v, want some dropped, one open, no panic", got)
	}
	if err := conn.Send(ws.Binary, make([]byte, 20_001)); !errors.Is(err, server.ErrMessageTooBig) {
		t.Errorf("Send of more than the queue: %v, want ErrMessageTooBig", err)
	}
	runtime.KeepAlive(conn)
}
