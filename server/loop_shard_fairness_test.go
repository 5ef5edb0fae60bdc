package server_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// readBuffer is what one turn reads at most.
const readBuffer = 128 << 10

// TestLineRate has one peer with a megabyte of messages ready while others have
// one each: all of these are handled before its second turn, counted in
// messages and not in time.
func TestLineRate(t *testing.T) {
	const others, size = 100, 1 << 10
	s := newStaller()
	var mu sync.Mutex
	hogBytes, served := 0, 0
	n, addr, _ := startSim(t, simnet.Config{RecvBuffer: 1 << 20}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			mu.Lock()
			defer mu.Unlock()
			switch string(m.Payload[:4]) {
			case "hold":
				mu.Unlock()
				s.hold(m)
				mu.Lock()
			case "hog ":
				hogBytes += len(m.Payload)
			default:
				served++
				if hogBytes > readBuffer {
					t.Errorf("the hog had %d bytes handled, then another its first turn", hogBytes)
				}
			}
		})
	})
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	hog := dialSim(t, n, addr).upgraded()
	peers := make([]*client, others)
	for i := range peers {
		peers[i] = dialSim(t, n, addr).upgraded()
	}
	idle(t, n)
	s.stall(hold1, hold2)
	one := frame(opBinary, "hog "+strings.Repeat("x", size))
	all := strings.Repeat(one, (1<<20)/len(one))
	hog.send(all)
	for _, p := range peers {
		p.send(frame(opText, "other"))
	}
	close(s.release)
	// The network is at rest, too, while a turn that lost its loop still works on
	// what it has read.
	eventually(t, "all messages handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return served == others && hogBytes == (1<<20)/len(one)*(size+4)
	})
}

// TestSpuriousEventsChangeNothing wakes connections up for nothing, in each state of their life.
func TestSpuriousEventsChangeNothing(t *testing.T) {
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 100}, func(srv *server.Server) {
		srv.Handler = handler{message: func(c *server.Conn, m ws.Message) {
			_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
		}}
	})
	c := dialSim(t, n, addr)
	wake := func() {
		t.Helper()
		idle(t, n)
		for range 10 {
			n.Spurious(c.Conn.(*simnet.Conn))
			idle(t, n)
		}
	}
	wake()
	request := upgradeRequest()
	c.send(request[:50])
	wake()
	c.send(request[50:])
	c.expectSwitch()
	wake()
	message := frame(opText, strings.Repeat("long", 100))
	c.send(message[:5])
	wake()
	c.send(message[5:])
	wake() // with a queue
	c.expect(opText, strings.Repeat("long", 100))
	wake()
	if got := srv.Stats(); got.MessagesIn != 1 || got.Open != 1 {
		t.Errorf("%+v, want one message and one open connection", got)
	}
	c.send(frame(opClose, closePayload(1000, "")))
	c.expectClose(1000)
}
