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
	private, open, n, srv := besideServer(t, func() { answered.Store(written.Load()) }, func() {
		if written.Add(1) == ask.Load() {
			started <- struct{}{}
		}
	})
	_, all := open(members)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, all...)
	idle(t, n)
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

// besideServer is a server with one loop whose first connection gets its messages back. told is called when the answer
// is written, and member at each other write.
func besideServer(t *testing.T, told, member func()) (private *client, open func(members int) ([]*client, []*server.Conn), n *simnet.Network, srv *server.Server) {
	script := func(call simnet.Call) simnet.Verdict {
		switch {
		case call.Op != simnet.OpWrite:
		case call.Number == 0:
			told()
		default:
			member()
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
	open = func(members int) ([]*client, []*server.Conn) {
		return openSome(func() *client { return dialSim(t, n, addr) }, conns, members)
	}
	first, _ := open(1)
	return first[0], open, n, srv
}

// TestPrivateBesideJoins: many joins, which each have something to be written, do not hold up a private message for longer
// than two slices of a pass.
func TestPrivateBesideJoins(t *testing.T) {
	t.Parallel()
	const members, slice = 1000, 16
	var written, asked, answered, ask atomic.Int64
	started := make(chan struct{}, 1)
	private, open, n, srv := besideServer(t, func() { answered.Store(written.Load()) }, func() {
		if written.Add(1) == ask.Load() {
			started <- struct{}{}
		}
	})
	_, all := open(members)
	leaver, left := open(1)
	held, release := make(chan struct{}), make(chan struct{})
	holding := srv.NewGroup(server.GroupOptions{Gone: func(*server.Conn) {
		close(held)
		<-release
	}})
	joinAll(t, holding, left...)
	idle(t, n)
	_ = leaver[0].Close() // for Gone
	<-held                // the loop is busy
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, all...)
	ask.Store(written.Load() + 3*slice)
	if _, err := g.Send(ws.Prepare(ws.Text, []byte("to all"))); err != nil {
		t.Fatal(err)
	}
	close(release)
	<-started
	private.send(frame(opText, "private"))
	asked.Store(written.Load())
	private.expect(opText, "private")
	if waited := answered.Load() - asked.Load(); waited > 2*slice {
		t.Errorf("%d members were written to between a private message and its answer", waited)
	}
}

// TestPrivateBesideEnd: the end of a connection that was in very many groups does not hold up a private message.
func TestPrivateBesideEnd(t *testing.T) {
	t.Parallel()
	const groups, atOnce = 5000, 1024
	var ended, answered atomic.Int64
	held, release := make(chan struct{}), make(chan struct{})
	private, open, n, srv := besideServer(t, func() { answered.Store(ended.Load()) }, func() {})
	clients, conns := open(1)
	gone := func(*server.Conn) {
		if ended.Add(1) == 1 {
			close(held)
			<-release
		}
	}
	all := make([]*server.Group, groups)
	for i := range all {
		all[i] = srv.NewGroup(server.GroupOptions{Gone: gone})
		joinAll(t, all[i], conns...)
	}
	idle(t, n)
	_ = clients[0].Close() // for Gone
	<-held
	private.send(frame(opText, "private"))
	close(release)
	private.expect(opText, "private")
	if before := answered.Load(); before > 2*atOnce {
		t.Errorf("%d memberships had ended before the answer", before)
	}
	idle(t, n)
	for i, g := range all {
		if g.Len() != 0 {
			t.Fatalf("group %d has %d members", i, g.Len())
		}
	}
	if ended.Load() != groups {
		t.Errorf("Gone was called %d times, want %d", ended.Load(), groups)
	}
}

// TestPrivateBesideEnds: nor do the ends of many connections at once.
func TestPrivateBesideEnds(t *testing.T) {
	t.Parallel()
	const members, groups, atOnce = 40, 500, 1024
	var ended, asked, answered atomic.Int64
	held, release, started := make(chan struct{}), make(chan struct{}), make(chan struct{})
	private, open, n, srv := besideServer(t, func() { answered.Store(ended.Load()) }, func() {})
	clients, conns := open(members)
	gone := func(*server.Conn) {
		switch ended.Add(1) {
		case 1:
			close(held)
			<-release
		case 2 * atOnce:
			close(started)
		}
	}
	for range groups {
		joinAll(t, srv.NewGroup(server.GroupOptions{Gone: gone}), conns...)
	}
	idle(t, n)
	for i, c := range clients {
		_ = c.Close() // for Gone
		if i == 0 {
			<-held // the others end in one go
		}
	}
	close(release)
	<-started
	private.send(frame(opText, "private"))
	asked.Store(ended.Load())
	private.expect(opText, "private")
	if waited := answered.Load() - asked.Load(); waited > 4*atOnce {
		t.Errorf("%d memberships ended between a private message and its answer", waited)
	}
	idle(t, n)
	if ended.Load() != members*groups {
		t.Errorf("Gone was called %d times, want %d", ended.Load(), members*groups)
	}
}

// TestGonePanics: a panic of GroupOptions.Gone is counted and logged, and its loop goes on.
func TestGonePanics(t *testing.T) {
	t.Parallel()
	gone := make(chan bool, 1)
	private, open, n, srv := besideServer(t, func() {}, func() {})
	clients, conns := open(1)
	joinAll(t, srv.NewGroup(server.GroupOptions{Gone: func(*server.Conn) { panic("in Gone") }}), conns...)
	joinAll(t, srv.NewGroup(server.GroupOptions{Gone: func(*server.Conn) { gone <- true }}), conns...)
	idle(t, n)
	_ = clients[0].Close() // for Gone
	<-gone
	private.send(frame(opText, "private"))
	private.expect(opText, "private")
	if got := srv.Stats().Panics; got != 1 {
		t.Errorf("%d panics were counted, want 1", got)
	}
}
