package server_test

import (
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestPrivateBesideGroup: a message to a large group does not hold up a private one for longer
// than two slices of a pass.
func TestPrivateBesideGroup(t *testing.T) {
	t.Parallel()
	const members, slice, rounds = 4000, 256, 5
	var written, asked, answered atomic.Int64 // writes to members so far, in all and then
	var ask atomic.Int64
	started := make(chan struct{}, 1)
	script := func(call simnet.Call) simnet.Verdict {
		switch {
		case call.Op != simnet.OpWrite:
		case call.Number == 0:
			answered.Store(written.Load())
		case written.Add(1) == ask.Load():
			started <- struct{}{}
		}
		return simnet.Verdict{}
	}
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{Script: script}, func(srv *server.Server) {
		srv.Runtime.Loops = 1
		srv.Handler = server.HandlerFuncs{
			OnOpen:    func(c *server.Conn) { conns <- c },
			OnMessage: func(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) }, // the test reads it
		}
	})
	clients, all := openSome(func() *client { return dialSim(t, n, addr) }, conns, members+1)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, all[1:]...)
	idle(t, n)
	private := clients[0]
	for range rounds {
		ask.Store(written.Load() + members/10)
		if _, err := g.Send(ws.Prepare(ws.Text, []byte("to all"))); err != nil {
			t.Fatal(err)
		}
		<-started
		private.send(frame(opText, "private"))
		asked.Store(written.Load())
		private.expect(opText, "private")
		if waited := answered.Load() - asked.Load(); waited > 2*slice {
			t.Errorf("%d members were written to between a private message and its answer", waited)
		}
		idle(t, n)
		if missing := ask.Load() + members - members/10 - written.Load(); missing != 0 {
			t.Fatalf("%d members were not written to", missing)
		}
	}
}
