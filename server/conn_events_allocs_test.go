//go:build !race

// sync.Pool drops items at random under the race detector.

package server_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// idleStreamBytes is the memory of idle connections that were opened with a request, and, if used,
// have had a message of a group and a comment, which their clients have read.
func idleStreamBytes(t *testing.T, conns int, request string, used bool) float64 {
	network := simnet.New(simnet.Config{Preallocate: conns})
	srv := &server.Server{EventStreams: true}
	if used {
		srv.Keepalive.Interval = 25 * time.Second
	}
	g := srv.NewGroup(server.GroupOptions{})
	srv.Handler = handler{open: func(c *server.Conn) { _, _ = g.Join(c) }} // it is open
	before := memoryInUse()
	addr, stop := serveOn(t, network, srv)
	defer stop()
	all := dialAll(t, network, addr, conns, request)
	settled(t, g)
	if used {
		if _, err := g.Send(ws.Prepare(ws.Text, []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		idle(t, network)
		pass(t, network, 31*time.Second)
		answer := make([]byte, 1024)
		for _, c := range all {
			await(t, c, answer, len("data: hello\n\n"+sse.Comment))
		}
	}
	bytes := float64(memoryInUse()-before) / float64(conns)
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return bytes
}

// TestEventStreamMemory: an idle event stream takes as much memory as an idle WebSocket, and also
// behind messages and comments 64 bytes more at most.
func TestEventStreamMemory(t *testing.T) {
	conns := partly(100_000)
	for range 3 { // as TestDeflateMemory
		socket := idleStreamBytes(t, conns, upgradeRequest(), false)
		stream := idleStreamBytes(t, conns, eventRequest("/"), false)
		used := idleStreamBytes(t, conns, eventRequest("/"), true)
		t.Logf("%.0f bytes for an idle event stream, %.0f for one that was used, %.0f for a WebSocket", stream, used, socket)
		if stream <= socket+16 && used <= socket+64 {
			return
		}
	}
	t.Error("an event stream takes more in each of three tries")
}

// TestEventStreamAllocations: a message to event streams costs no allocation for each of them, in a
// group or by itself.
func TestEventStreamAllocations(t *testing.T) {
	const members, rounds = 100, 50
	network := simnet.New(simnet.Config{})
	opened := make(chan *server.Conn, members)
	srv := &server.Server{EventStreams: true, Handler: handler{open: func(c *server.Conn) { opened <- c }}}
	srv.Runtime.Loops = 1
	g := srv.NewGroup(server.GroupOptions{})
	addr, _ := serveOn(t, network, srv)
	clients := dialAll(t, network, addr, members, eventRequest("/"))
	var conns []*server.Conn
	for range clients {
		conns = append(conns, <-opened)
	}
	joinAll(t, g, conns...)
	settled(t, g)
	answer := make([]byte, 4096)
	readAll := func(size int) {
		for _, c := range clients {
			await(t, c, answer, size)
		}
	}
	const size = len("data: hello\n\n")
	message := []byte("hello")
	send := func() {
		for range rounds {
			if _, err := g.Send(ws.Prepare(ws.Text, message)); err != nil {
				t.Fatal(err)
			}
			readAll(size)
		}
	}
	send()
	if n := allocations(send); n > rounds*members/5 {
		t.Errorf("%d allocations for %d messages to %d members", n, rounds, members)
	}
	single := func() {
		for _, c := range conns {
			if err := c.Send(ws.Text, message); err != nil {
				t.Fatal(err)
			}
		}
		readAll(size)
	}
	single()
	if n := allocations(single); n > members/2 {
		t.Errorf("%d allocations for a message to each of %d", n, members)
	}
}
