package server_test

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// stressed counts on each connection without any lock: the race detector and
// the numbers tell if two methods of a connection ever run at once, or out of
// order. Its handlers take around as long as the watchdog's patience, so that
// turns end just when their loop is taken.
type stressed struct {
	t     *testing.T
	slept atomic.Int64
}

type tally struct {
	next   uint32
	opened bool
	closed bool
}

func (s *stressed) Open(c *server.Conn) {
	tl := c.Value().(*tally)
	tl.opened = true
	s.dawdle()
}

func (s *stressed) Message(c *server.Conn, m ws.Message) {
	tl := c.Value().(*tally)
	if got := binary.BigEndian.Uint32(m.Payload); got != tl.next || !tl.opened || tl.closed {
		s.t.Errorf("message %d, want %d of an open connection", got, tl.next)
	}
	tl.next++
	s.dawdle()
	_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
}

func (s *stressed) Close(c *server.Conn, _ error) {
	tl := c.Value().(*tally)
	if tl.closed {
		s.t.Error("Close twice")
	}
	tl.closed = true
	s.dawdle()
}

// dawdle takes no time mostly, and else between 0 and 6 ms, asleep or at work.
func (s *stressed) dawdle() {
	switch roll := rand.IntN(20); {
	case roll == 0:
		s.slept.Add(1)
		time.Sleep(time.Duration(rand.IntN(6000)) * time.Microsecond)
	case roll == 1:
		s.slept.Add(1)
		for end := time.Now().Add(time.Duration(rand.IntN(4500)) * time.Microsecond); time.Now().Before(end); {
		}
	}
}

// TestHandoverStress has turns end and loops be taken at the same moment, over
// and over, on few loops and with few and many workers: each connection's
// messages are handled in exact order, one at a time, and all are answered.
func TestHandoverStress(t *testing.T) {
	for _, workers := range []int{4, 1024} {
		s := &stressed{t: t}
		n, addr, srv := startSim(t, simnet.Config{Script: simnet.Chop(3), StaleEvents: true}, func(srv *server.Server) {
			srv.Runtime.Loops = 3
			srv.Runtime.Workers = workers
			srv.Handler = s
			srv.Upgrade = func(*ws.Request) (server.Accept, error) {
				s.dawdle()
				return server.Accept{Value: &tally{}}, nil
			}
		})
		const conns, messages = 60, 40
		clients := make([]*client, conns)
		for i := range clients {
			clients[i] = dialSim(t, n, addr)
			clients[i].send(upgradeRequest())
		}
		for i := range messages {
			for _, c := range clients {
				c.send(frame(opBinary, number(i)))
			}
			if i%10 == 9 {
				disturb(n, clients)
			}
		}
		for _, c := range clients {
			c.expectSwitch()
			for i := range messages {
				c.expect(opBinary, number(i))
			}
		}
		for i, c := range clients {
			if i%2 == 0 {
				c.reset()
				continue
			}
			c.send(frame(opClose, closePayload(1000, "")))
			c.expectClose(1000)
		}
		eventually(t, "all are closed", func() bool { return srv.Stats().Open == 0 && n.OpenFDs() == 1 })
		got := srv.Stats()
		if got.Handovers == 0 || got.MessagesIn != conns*messages {
			t.Errorf("%+v, want hand-overs and %d messages", got, conns*messages)
		}
		t.Logf("%d workers: %d slow calls, %d hand-overs, %d waits", workers, s.slept.Load(), got.Handovers, got.Waits)
	}
}

// disturb gives everyone events for nothing.
func disturb(n *simnet.Network, clients []*client) {
	for _, c := range clients {
		n.Spurious(c.Conn.(*simnet.Conn))
	}
}

// TestParkedWatchdog lets the watchdog fall asleep between bursts, and then
// needs it: turns begin just when it parks.
func TestParkedWatchdog(t *testing.T) {
	goOn := make(chan struct{})
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Runtime.Loops = 2
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			if string(m.Payload) == "slow" {
				<-goOn
			}
			_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
		})
	})
	var clients [4]*client
	for i := range clients {
		clients[i] = dialSim(t, n, addr).upgraded()
	}
	for i := range 100 {
		before := srv.Stats().Handovers
		time.Sleep(time.Duration(3000+rand.IntN(4000)) * time.Microsecond)
		clients[i%4].send(frame(opText, "slow"))
		for _, c := range clients {
			c.send(frame(opText, "quick"))
		}
		eventually(t, "the watchdog sees the slow handler", func() bool { return srv.Stats().Handovers > before })
		goOn <- struct{}{}
		clients[i%4].expect(opText, "slow")
		for _, c := range clients {
			c.expect(opText, "quick")
		}
	}
}
