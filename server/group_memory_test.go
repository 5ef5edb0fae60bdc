//go:build !race

// sync.Pool drops items at random under the race detector.

package server_test

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"weak"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// heap is what is on Go's heap once the garbage is gone.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools let go in two steps
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// settled waits until the loops have done the joins and leaves so far.
func settled(t *testing.T, g *server.Group) {
	t.Helper()
	want := g.Len()
	eventually(t, "all have joined", func() bool {
		n := 0
		err := g.Each(t.Context(), func(*server.Conn) bool { n++; return true })
		return err == nil && n == want
	})
}

// TestGroupMemory: a connection's first group takes 64 bytes at most, each further one 32,
// and nothing is left of them behind the last. It has the process for itself.
func TestGroupMemory(t *testing.T) {
	const members, more = 20_000, 8
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Handler, srv.Runtime.Loops = opened(conns), 2
	})
	_, all := openSome(func() *client { return dialSim(t, n, addr) }, conns, members)
	idle(t, n)
	var groups []*server.Group
	join := func() {
		g := srv.NewGroup(server.GroupOptions{})
		joinAll(t, g, all...)
		settled(t, g)
		groups = append(groups, g)
	}
	leave := func() {
		for _, g := range groups {
			for _, c := range all {
				g.Leave(c)
			}
		}
		idle(t, n)
		groups = nil
	}
	join() // what is pooled is there then
	leave()
	var firsts, furthers, lefts []float64
	for range 5 { // the middle counts: other tests' garbage comes and goes
		start := heap()
		join()
		one := heap()
		for range more {
			join()
		}
		firsts = append(firsts, float64(one-start)/members)
		furthers = append(furthers, float64(heap()-one)/members/more)
		leave()
	}
	for range 25 {
		join()
		leave()
		lefts = append(lefts, float64(heap())/members)
	}
	for _, figures := range [][]float64{firsts, furthers, lefts[5:10], lefts[20:]} {
		slices.Sort(figures)
	}
	first, further, left := firsts[2], furthers[2], (lefts[22]-lefts[7])/15 // a leak grows with each round
	if first > 64 || further > 32 {
		t.Errorf("the first group takes %.1f bytes a member, each further one %.1f; want 64 and 32 at most", first, further)
	}
	if left > 0.5 {
		t.Errorf("%.2f bytes a member are left behind each round", left)
	}
	t.Logf("%.1f and %.1f bytes, and %.2f left behind a round", firsts, furthers, left)

	runtime.KeepAlive(all)
}

// TestGroupKeepsNoConn: nothing is left of members that have gone in a group that goes on.
func TestGroupKeepsNoConn(t *testing.T) {
	for _, tt := range []struct{ members, leave int }{{1, 1}, {2, 2}, {2, 1}, {3, 3}} {
		conns := make(chan *server.Conn, 1)
		n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
			srv.Handler, srv.Runtime.Loops = opened(conns), 1
		})
		g := srv.NewGroup(server.GroupOptions{})
		clients, all := openSome(func() *client { return dialSim(t, n, addr) }, conns, tt.members)
		kept := new([1 << 10]byte)
		first := weak.Make(kept)
		all[0].SetValue(kept)
		joinAll(t, g, all...)
		settled(t, g)
		for i := range tt.leave {
			g.Leave(all[i])
			_ = clients[i].Close() // the test sees
		}
		eventually(t, "they have gone", func() bool { return srv.Stats().Open == int64(tt.members-tt.leave) })
		_, others := openSome(func() *client { return dialSim(t, n, addr) }, conns, 2)
		joinAll(t, srv.NewGroup(server.GroupOptions{}), others...) // what comes last may be held for a while
		idle(t, n)
		clear(all[:tt.leave])
		clear(clients[:tt.leave])
		kept = nil
		eventually(t, fmt.Sprintf("nothing of the first of %d", tt.members), func() bool {
			runtime.GC()
			return first.Value() == nil
		})
		runtime.KeepAlive(g)
	}
}

// TestGroupBacklogMemory: all comes in order of what a loop that stands still has to pass on,
// and the room for it is given back.
func TestGroupBacklogMemory(t *testing.T) {
	const messages = 60_000
	s := newStaller()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1 << 20}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: func(_ *server.Conn, m ws.Message) { s.hold(m) }}
	})
	clients, all := openSome(func() *client { return dialSim(t, n, addr) }, conns, 3)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, all[2])
	idle(t, n)
	before := heap()
	s.stall(clients[0], clients[1])
	for i := range messages {
		if _, err := g.Send(ws.Prepare(ws.Text, []byte(strconv.Itoa(i)))); err != nil {
			t.Fatal(err)
		}
	}
	close(s.release)
	for i := range messages {
		clients[2].expect(opText, strconv.Itoa(i))
	}
	idle(t, n)
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d bytes are left of a backlog", grown)
	}
}

// TestGroupAllocations: a message takes no allocation a member.
func TestGroupAllocations(t *testing.T) {
	const members = 2000
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler = opened(conns) })
	clients, all := openSome(func() *client { return dialSim(t, n, addr) }, conns, members)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, all...)
	p := ws.Prepare(ws.Text, []byte("x"))
	var before, after runtime.MemStats
	for range 2 { // the first grows what is kept
		runtime.ReadMemStats(&before)
		if _, err := g.Send(p); err != nil {
			t.Fatal(err)
		}
		idle(t, n)
		runtime.ReadMemStats(&after)
		for _, c := range clients {
			c.expect(opText, "x")
		}
	}
	if each := float64(after.Mallocs-before.Mallocs) / members; each > 0.1 {
		t.Errorf("%.3f allocations a member", each)
	}
}
