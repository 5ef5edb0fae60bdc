package server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestBackPressure: a peer that sends all it has in one go, and reads the echoes
// all the time, gets all of them, in order.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		for _, load := range []struct{ messages, size int }{
			{fewer(t, scaled(640)), 256 << 10}, {fewer(t, scaled(20_000)), 1 << 10}, {fewer(t, 20), 1 << 20},
		} {
			connect, srv := start(t, nil)
			c := connect().upgraded()
			go func() {
				for i := range load.messages {
					if _, err := io.WriteString(c.Conn, frame(opText, pattern(i, load.size))); err != nil {
						return // the reader tells
					}
				}
			}()
			for i := range load.messages {
				c.expect(opText, pattern(i, load.size))
			}
			hits(t, srv, server.LimitQueue, 0)
		}
	})
}

// TestBackPressureDeflated is the same with compression, whole and in pieces.
func TestBackPressureDeflated(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // is never an error
	for _, stream := range []bool{false, true} {
		got := make(chan string, 1000)
		n, addr, srv := startSim(t, simnet.Config{SendBuffer: 10_000}, func(s *server.Server) {
			s.Deflate = &server.Deflate{ServerTakeover: true, ClientTakeover: true}
			s.Queue.HighWater = 20_000
			s.Handler = inPieces(stream, onlyMessage(func(c *server.Conn, m ws.Message) {
				got <- string(m.Payload)
				_ = c.Send(ws.Binary, noise[:len(m.Payload)]) // which does not become smaller
			}))
		})
		c := dialSim(t, n, addr)
		c.send(upgradeRequest("Sec-WebSocket-Extensions: permessage-deflate"))
		resp, _ := c.response()
		if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Extensions") == "" {
			t.Fatalf("%s without compression", resp.Status)
		}
		text := strings.Repeat("all work and no play ", 10_000)
		whole, _ := ws.Deflater{}.AppendMaskedFrame(nil, ws.Text, []byte(text), [4]byte{1, 2, 3, 4}, nil)
		go c.send(strings.Repeat(string(whole), 3))
		eventually(t, "it is not read any more", func() bool { return srv.Stats().Paused == 1 })
		idle(t, n)
		if stream && len(got) > 2 || !stream && len(got) > 1 {
			t.Errorf("stream %v: %d pieces were handled with a queue above the mark", stream, len(got))
		}
		go func() { _, _ = io.Copy(io.Discard, c.r) }()
		all := ""
		for len(all) < 3*len(text) {
			all += <-got
		}
		if all != strings.Repeat(text, 3) {
			t.Errorf("stream %v: what came is not what was sent", stream)
		}
	}
}

// TestNotReadingEcho echoes to a peer that reads nothing: it is not read either, so
// that no more than the mark, one message and one read wait; it is not pinged; and it
// is cut when it has taken nothing for the write timeout. When it reads in time, it
// gets all.
func TestNotReadingEcho(t *testing.T) {
	t.Parallel()
	for _, reads := range []bool{false, true} {
		const size, high = 3000, 20_000
		causes := make(chan *ws.CloseError, 1)
		conns := make(chan *server.Conn, 1)
		n, addr, srv := startSim(t, simnet.Config{SendBuffer: 10_000, RecvBuffer: 10_000}, func(srv *server.Server) {
			srv.Queue.HighWater = high
			srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message, close: closeCause(causes)}
		})
		c := dialSim(t, n, addr).upgraded()
		conn := <-conns
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range 100 {
				if _, err := io.WriteString(c.Conn, frame(opText, pattern(i, size))); err != nil {
					return // cut
				}
			}
		}()
		eventually(t, "it is not read any more", func() bool { return srv.Stats().Paused == 1 })
		idle(t, n)
		if waits := conn.Buffered(); waits <= high || waits > high+size+100 {
			t.Errorf("%d bytes wait, want the mark of %d and one message", waits, high)
		}
		if in := srv.Stats().MessagesIn; in > (10_000+high)/size+2 {
			t.Errorf("%d messages were handled", in)
		}
		for range 29 {
			pass(t, n, second)
		}
		if srv.Stats().Open != 1 || srv.Stats().Pings != 0 {
			t.Errorf("%+v, want one open and no ping", srv.Stats())
		}
		if reads {
			for i := range 100 {
				c.expect(opText, pattern(i, size))
			}
			<-sent
			eventually(t, "it is read again", func() bool { return srv.Stats().Paused == 0 })
			continue
		}
		pass(t, n, 2*second)
		if cause := <-causes; cause.Code != ws.CodeAbnormal || !strings.Contains(cause.Reason, "write timeout") {
			t.Errorf("closed with %v, want the write timeout", cause)
		}
		hits(t, srv, server.LimitWriteTimeout, 1)
		<-sent
	}
}

// TestPauseReading: a handler holds its peer up, from the first message on, and lets
// it go on from anywhere. Nothing is lost, doubled or out of order.
func TestPauseReading(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		got := make(chan string, 1000)
		conns := make(chan *server.Conn, 1)
		connect, srv := start(t, func(s *server.Server) {
			s.Handler = handler{
				open: func(c *server.Conn) {
					c.PauseReading()
					conns <- c
				},
				message: func(c *server.Conn, m ws.Message) {
					c.PauseReading()
					got <- string(m.Payload)
					go c.ResumeReading()
				},
			}
		})
		c := connect()
		c.send(upgradeRequest() + frame(opText, "0") + frame(opText, "1")[:3])
		c.expectSwitch()
		eventually(t, "it is paused", func() bool { return srv.Stats().Paused == 1 })
		if len(got) != 0 {
			t.Error("a message was handled in the pause")
		}
		infos, err := srv.Conns(t.Context(), server.ByAge, 1)
		if err != nil || len(infos) != 1 || !infos[0].Paused {
			t.Fatalf("%+v, %v, want one that is paused", infos, err)
		}
		go c.send(frame(opText, "1")[3:] + frame(opPing, "p"))
		conn := <-conns
		conn.ResumeReading()
		conn.ResumeReading()
		for i := range 2 {
			if text := <-got; text != fmt.Sprint(i) {
				t.Fatalf("message %q, want %d", text, i)
			}
		}
		c.expect(opPong, "p")
		for i := 2; i < 300; i++ {
			c.send(frame(opText, fmt.Sprint(i)))
		}
		for i := 2; i < 300; i++ {
			if text := <-got; text != fmt.Sprint(i) {
				t.Fatalf("message %q, want %d", text, i)
			}
		}
		c.send(frame(opClose, closePayload(1000, "")))
		c.expectClose(1000)
		eventually(t, "none is paused", func() bool { return srv.Stats().Paused == 0 })
	})
}

// TestPauseAndTheEnd: what the peer sent before it ended, in whatever way, is
// handled when the pause is over; Close from our side does not wait for that.
func TestPauseAndTheEnd(t *testing.T) {
	t.Parallel()
	for end, want := range map[string]string{
		frame(opClose, closePayload(1000, "")): "close 1000 theirs",
		"FIN":                                  "close 1006 ours",
		"bad" + rawFrame(0xf2, ""):             "close 1002 ours",
		"us" + frame(opClose, ""):              "close 4000 ours",
	} {
		conns := make(chan *server.Conn, 1)
		rec := newRecorder(t)
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Handler = openedTo{rec, conns}
		})
		c := dialSim(t, n, addr).upgraded()
		conn := <-conns
		rec.expect("open")
		conn.PauseReading()
		c.send(frame(opText, "one") + frame(opText, "two"))
		switch {
		case end == "FIN":
			c.closeWrite()
		default:
			c.send(strings.TrimPrefix(strings.TrimPrefix(end, "bad"), "us"))
		}
		pass(t, n, 10*time.Minute)
		rec.expectNone()
		if strings.HasPrefix(end, "us") {
			if err := conn.Close(4000, ""); err != nil {
				t.Fatal(err)
			}
			rec.expect(want)
			c.expect(opPing, "")
			continue
		}
		conn.ResumeReading()
		rec.expect("1 one", "1 two", want)
		eventuallyOn(t, n, "none is open", func() bool { return srv.Stats().Open == 0 })
	}
}

// openedTo is a recorder that also hands its connections to the test.
type openedTo struct {
	*recorder
	conns chan<- *server.Conn
}

func (o openedTo) Open(c *server.Conn) {
	o.recorder.Open(c)
	o.conns <- c
}

// TestPausedPeerLives: while a connection is paused, its peer's silence is not
// death as long as its system takes our pings; if it does not, the peer is gone.
func TestPausedPeerLives(t *testing.T) {
	t.Parallel()
	causes := make(chan *ws.CloseError, 1)
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Keepalive.Interval, s.Timeouts.Idle = 10*time.Second, 15*time.Second
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }, close: closeCause(causes)}
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	conn.PauseReading()
	for range 600 {
		pass(t, n, second)
	}
	if pings := srv.Stats().Pings; srv.Stats().Open != 1 || pings < 40 || pings > 70 {
		t.Fatalf("%d open, %d pings in 10 minutes, want 1 and about 60", srv.Stats().Open, pings)
	}
	infos, err := srv.Conns(t.Context(), server.ByAge, 1)
	if err != nil || len(infos) != 1 || infos[0].Silent < 10*time.Minute {
		t.Errorf("%+v, %v, want one that was silent for 10 minutes", infos, err)
	}
	c.Conn.(*simnet.Conn).AckOnRead(true) // its pings are not acknowledged any more
	for range 25 {
		pass(t, n, second)
	}
	if cause := <-causes; cause.Code != ws.CodeAbnormal {
		t.Errorf("closed with %v, want 1006", cause)
	}
	hits(t, srv, server.LimitIdleTimeout, 0)
}

// TestPauseRates: what a peer has sent while it was not read is not too fast for
// its rates.
func TestPauseRates(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.MessageRate, s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 10, 1000, 1000, 100
		s.Handler = opened(conns)
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	conn.PauseReading()
	for range 30 {
		c.send(strings.Repeat(frame(opText, "x"), 10))
		pass(t, n, second)
	}
	conn.ResumeReading()
	idle(t, n)
	if got := srv.Stats(); got.MessagesIn != 300 || got.Open != 1 {
		t.Errorf("%d messages and %d open, want 300 and 1", got.MessagesIn, got.Open)
	}
}
