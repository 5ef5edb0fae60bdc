package server_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestMessagesKeepTheirOrder sends a million numbered messages over a thousand connections:
// each handler sees its own in order, and each peer gets them back in order.
func TestMessagesKeepTheirOrder(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		const inFlight = 10
		conns := partly(partly(1000))
		each := fewer(t, scaled(1_000_000)) / conns / inFlight * inFlight
		connect, srv := start(t, func(srv *server.Server) {
			srv.Runtime.Loops = 4
			srv.Upgrade = func(*ws.Request) (server.Accept, error) {
				return server.Accept{Value: new(uint32)}, nil
			}
			srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
				next := c.Value().(*uint32)
				if got := binary.BigEndian.Uint32(m.Payload); got != *next {
					t.Errorf("message %d, want %d", got, *next)
				}
				*next++
				_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
			})
		})
		clients := make([]*client, conns)
		for i := range clients {
			clients[i] = connect().upgraded()
		}
		var batch []byte
		for first := 0; first < each; first += inFlight {
			batch = batch[:0]
			for i := range inFlight {
				batch = append(batch, frame(opBinary, number(first+i))...)
			}
			for _, c := range clients {
				c.send(string(batch))
			}
			for _, c := range clients {
				for i := range inFlight {
					c.expect(opBinary, number(first+i))
				}
			}
		}
		if got := srv.Stats().MessagesIn; got != uint64(each*conns) {
			t.Errorf("%d messages were counted, want %d", got, each*conns)
		}
	})
}

func number(i int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(i))) }

// gathering is the connections that are open, as an application keeps them.
type gathering struct {
	mu    sync.Mutex
	conns map[*server.Conn]bool // and whether Close was called
	late  atomic.Int32          // messages that were taken after Close
}

func newGathering() *gathering { return &gathering{conns: make(map[*server.Conn]bool)} }

func (g *gathering) Open(c *server.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = true
}

func (g *gathering) Close(c *server.Conn, _ error) {
	if c.SendText("after Close") == nil {
		g.late.Add(1)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// each calls do for every connection, under its own lock: the server
// must not call a handler from within a Send or a Close.
func (g *gathering) each(do func(*server.Conn)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		do(c)
	}
}

func (g *gathering) Message(c *server.Conn, m ws.Message) {
	switch string(m.Payload) {
	case "to me":
		_ = c.Send(m.Opcode, m.Payload) // here and below: the test sees
	case "to all":
		p := ws.Prepare(m.Opcode, m.Payload)
		g.each(func(c *server.Conn) { _ = c.SendPrepared(p) })
	case "close me":
		_ = c.Close(ws.CodeNormal, "")
		_ = c.Close(ws.CodeNormal, "twice")
	case "close all":
		g.each(func(c *server.Conn) { _ = c.Close(ws.CodeNormal, "") })
	case "ping all":
		g.each(func(c *server.Conn) { _ = c.Ping(m.Payload) })
	}
}

// TestHandlersAmongEachOther has handlers on several loops write to themselves
// and to all, and close themselves and all, at once, with slow peers among them:
// no deadlock.
func TestHandlersAmongEachOther(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		g := newGathering()
		connect, srv := start(t, func(srv *server.Server) {
			srv.Runtime.Loops = 4
			srv.Queue.Max = 3000
			srv.Handler = g
		})
		for round := range scaled(100) {
			var clients [40]*client
			for i := range clients {
				clients[i] = connect().upgraded()
			}
			eventually(t, "all are open", func() bool { // over HTTP/2 the 200 goes out before Open
				open := 0
				g.each(func(*server.Conn) { open++ })
				return open == len(clients)
			})
			for i, c := range clients {
				for _, text := range []string{"to me", "to all", "ping all", "to all"} {
					c.send(frame(opText, text))
				}
				if i%10 == 9 {
					c.send(frame(opText, "close me"))
				}
			}
			clients[round%40].send(frame(opText, "close all")) // unless it is closed already
			g.each(func(c *server.Conn) { _ = c.Close(ws.CodeNormal, "") })
			for _, c := range clients {
				for op := byte(0); op != opClose; op, _ = c.frame() {
				}
				_ = c.Conn.Close() // it was closed properly, or was reset by our unread bytes
			}
		}
		eventually(t, "all are closed", func() bool { return srv.Stats().Open == 0 })
		if g.late.Load() > 0 {
			t.Errorf("%d messages were taken in Close", g.late.Load())
		}
	})
}

// TestBroadcastAgainstClose sends to ten thousand connections from several
// goroutines while all of them are closed from both sides: no Send succeeds after
// Handler.Close, and none reaches another.
func TestBroadcastAgainstClose(t *testing.T) {
	conns := partly(10_000)
	g := newGathering()
	n, addr, srv := startSim(t, simnet.Config{StaleEvents: true}, func(srv *server.Server) {
		srv.Runtime.Loops = 4
		srv.Queue.Max = 2000
		srv.Handler = g
	})
	clients := make([]*simnet.Conn, conns)
	for i := range clients {
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.TryWrite([]byte(upgradeRequest())); err != nil {
			t.Fatal(err)
		}
		clients[i] = conn
	}
	eventually(t, "all are open", func() bool { return srv.Stats().Upgraded == uint64(conns) })
	idle(t, n)
	var senders sync.WaitGroup
	for s := range 3 {
		p := ws.Prepare(ws.Text, []byte(fmt.Sprint("broadcast ", s)))
		senders.Go(func() {
			for range 10 {
				g.each(func(c *server.Conn) { _ = c.SendPrepared(p) }) // closing: as it should
			}
		})
	}
	for i, c := range clients {
		switch i % 4 {
		case 0:
			c.Reset()
		case 1:
			_, _ = c.TryWrite([]byte(frame(opClose, closePayload(1000, "")))) // it may be gone
		case 2:
			_, _ = c.TryWrite([]byte(frame(opText, "close me")))
		case 3:
			_ = c.Close()
		}
	}
	senders.Wait()
	for _, c := range clients {
		_ = c.Close() // most are
	}
	eventually(t, "all are closed", func() bool { return srv.Stats().Open == 0 })
	if g.late.Load() > 0 {
		t.Errorf("%d messages were taken in Close", g.late.Load())
	}
}

// TestConcurrentSenders has goroutines and the handler send at once through
// kernels that take pieces: every message arrives whole, each sender's in order.
func TestConcurrentSenders(t *testing.T) {
	const senders = 8
	for name, config := range scripts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each := 5 * rounds(config)
			n, addr, _ := startSim(t, config, func(srv *server.Server) {
				srv.Queue.Max = 16 << 20
				srv.Handler = handler{open: func(c *server.Conn) {
					for s := range senders {
						go sendInOrder(c, s, each)
					}
				}, message: func(c *server.Conn, _ ws.Message) { sendInOrder(c, senders, each) }}
			})
			c := dialSim(t, n, addr).upgraded()
			c.send(frame(opText, "go"))
			expectInOrder(c, senders+1, each)
		})
	}
}

func sizeOf(sender, i int) int { return 20 + sizes[(sender+i)%(len(sizes)-1)]/8 }

func sendInOrder(c *server.Conn, sender, each int) {
	for i := range each {
		text := fmt.Sprintf("%d %d ", sender, i)
		_ = c.SendText(text + pattern(i, sizeOf(sender, i))) // the peer misses what failed
	}
}

// expectInOrder reads the messages of all senders.
func expectInOrder(c *client, senders, each int) {
	c.t.Helper()
	next := make([]int, senders)
	for range senders * each {
		_, payload := c.frame()
		var sender, i int
		if _, err := fmt.Sscanf(payload, "%d %d ", &sender, &i); err != nil {
			c.t.Fatalf("message %.80q: %v", payload, err)
		}
		want := fmt.Sprintf("%d %d %s", sender, i, pattern(i, sizeOf(sender, i)))
		if payload != want || i != next[sender] {
			c.t.Fatalf("sender %d: message %d, want %d, whole", sender, i, next[sender])
		}
		next[sender]++
	}
}
