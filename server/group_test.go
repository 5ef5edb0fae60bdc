package server_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// openSome opens so many connections.
func openSome(dial func() *client, conns <-chan *server.Conn, n int) (clients []*client, opened []*server.Conn) {
	for range n {
		clients = append(clients, dial().upgraded())
		opened = append(opened, <-conns)
	}
	return clients, opened
}

func joinAll(t *testing.T, g *server.Group, conns ...*server.Conn) {
	t.Helper()
	for _, c := range conns {
		if _, err := g.Join(c); err != nil {
			t.Fatal(err)
		}
	}
}

// sendNumbers sends messages from one number to another.
func sendNumbers(t *testing.T, g *server.Group, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if _, err := g.Send(ws.Prepare(ws.Text, []byte(strconv.Itoa(i)))); err != nil {
			t.Fatal(err)
		}
	}
}

func expectNumbers(c *client, from, to int) {
	c.t.Helper()
	for i := from; i <= to; i++ {
		c.expect(opText, strconv.Itoa(i))
	}
}

// TestGroup: all members get all messages, once and in order; who has left, or is gone, gets
// none.
func TestGroup(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		dial, srv := start(t, func(srv *server.Server) { srv.Handler, srv.Runtime.Loops = opened(conns), 2 })
		clients, members := openSome(dial, conns, 5)
		g := srv.NewGroup(server.GroupOptions{})
		if sent, err := g.Send(ws.Prepare(ws.Text, nil)); err != nil || sent != (server.Sent{Number: 1}) {
			t.Errorf("a message to nobody: %+v, %v", sent, err)
		}
		joinAll(t, g, members...)
		if n, err := g.Join(members[0]); n != 1 || err != nil || g.Len() != 5 {
			t.Errorf("joined again behind %d, %v: %d members", n, err, g.Len())
		}
		sendNumbers(t, g, 1, 100)
		for _, c := range clients {
			expectNumbers(c, 1, 100)
		}
		if n, ok := g.Leave(members[1]); n != 101 || !ok {
			t.Errorf("left behind %d, %v", n, ok)
		}
		if _, ok := g.Leave(members[1]); ok {
			t.Error("left twice")
		}
		_ = clients[2].Close()
		eventually(t, "the end of one", func() bool { return g.Len() == 3 })
		if sent, err := g.Send(ws.Prepare(ws.Text, []byte("101"))); err != nil || sent != (server.Sent{Number: 102, Members: 3}) {
			t.Errorf("%+v, %v", sent, err)
		}
		for _, i := range []int{0, 3, 4} {
			clients[i].expect(opText, "101")
		}
		if err := members[1].SendText("own"); err != nil {
			t.Fatal(err)
		}
		clients[1].expect(opText, "own")
	})
}

// TestGroupThenOwn: what one goroutine sends to groups and to a connection arrives in that
// order, and what it does to the connection after it comes after it.
func TestGroupThenOwn(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		dial, srv := start(t, func(srv *server.Server) { srv.Handler = opened(conns) })
		clients, members := openSome(dial, conns, 1)
		a, b := srv.NewGroup(server.GroupOptions{}), srv.NewGroup(server.GroupOptions{})
		joinAll(t, a, members[0])
		joinAll(t, b, members[0])
		for i := 1; i <= 200; i++ {
			sendNumbers(t, []*server.Group{a, b}[i%2], i, i)
			if i%3 == 0 {
				if err := members[0].SendText("own" + strconv.Itoa(i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := members[0].Close(ws.CodeNormal, "done"); err != nil {
			t.Fatal(err)
		}
		sendNumbers(t, a, 1000, 1000)
		for i := 1; i <= 200; i++ {
			clients[0].expect(opText, strconv.Itoa(i))
			if i%3 == 0 {
				clients[0].expect(opText, "own"+strconv.Itoa(i))
			}
		}
		if reason := clients[0].expectClose(1000); reason != "done" {
			t.Errorf("reason %q", reason)
		}
	})
}

// TestGroupInHandler: in a handler the order is the same, for its own connection too.
func TestGroupInHandler(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		var g *server.Group
		var ready sync.WaitGroup
		ready.Add(1)
		dial, srv := start(t, func(srv *server.Server) {
			srv.Handler = handler{
				open: func(c *server.Conn) {
					ready.Wait()
					if _, err := g.Join(c); err != nil {
						t.Error(err)
					}
					if _, err := g.Send(ws.Prepare(ws.Text, []byte("hello"))); err != nil {
						t.Error(err)
					}
					_ = c.SendText("welcome") // the client sees
				},
				message: func(c *server.Conn, m ws.Message) {
					_ = c.SendText("before")
					if _, err := g.Send(ws.Prepare(m.Opcode, m.Payload)); err != nil {
						t.Error(err)
					}
					_ = c.SendText("behind")
				},
			}
		})
		g = srv.NewGroup(server.GroupOptions{})
		ready.Done()
		c := dial().upgraded()
		c.expect(opText, "hello")
		c.expect(opText, "welcome")
		other := dial().upgraded()
		other.expect(opText, "hello")
		other.expect(opText, "welcome")
		c.expect(opText, "hello")
		c.send(frame(opText, "x"))
		for _, want := range []string{"before", "x", "behind"} {
			c.expect(opText, want)
		}
		other.expect(opText, "x")
	})
}

// TestJoinBetween: between the messages of others, who joins gets exactly those behind the
// number that Join gave, and who leaves those up to that of Leave.
func TestJoinBetween(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler, srv.Runtime.Loops = opened(conns), 2 })
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 4)
	g := srv.NewGroup(server.GroupOptions{})
	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := g.Send(ws.Prepare(ws.Text, []byte(strconv.Itoa(i)))); err != nil && !errors.Is(err, server.ErrNoRoom) {
				t.Error(err)
				return
			} else if err != nil {
				i--
			}
		}
	})
	var visitors sync.WaitGroup
	for i, c := range clients {
		visitors.Go(func() {
			for range 30 {
				from, err := g.Join(members[i])
				if err != nil {
					t.Error(err)
					return
				}
				last, again := g.Last(), false
				if i%2 == 0 { // it leaves and joins at once
					last, _ = g.Leave(members[i])
					_, err = g.Join(members[i])
					again = err == nil
				}
				to, ok := g.Leave(members[i])
				if !ok {
					t.Error("it was no member")
				}
				if !again {
					last = to
				}
				_ = members[i].SendText("end")
				var got []int
				for {
					_, text := c.frame()
					if text == "end" {
						break
					}
					number, _ := strconv.Atoi(text)
					got = append(got, number)
				}
				if !followsOn(got, int(from), int(last), int(to)) {
					t.Errorf("joined behind %d, left behind %d (and, joined again, %d), got %v", from, last, to, got)
					return
				}
			}
		})
	}
	visitors.Wait()
	close(stop)
	sender.Wait()
}

// followsOn says whether the numbers are those behind from up to last, and then some that
// end with to.
func followsOn(numbers []int, from, last, to int) bool {
	for n := from + 1; n <= last; n++ {
		if len(numbers) == 0 || numbers[0] != n {
			return false
		}
		numbers = numbers[1:]
	}
	for i, n := range numbers {
		if n != to-len(numbers)+1+i {
			return false
		}
	}
	return true
}

// TestGroupValue: the application's value is its own, in a group and out of it.
func TestGroupValue(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler = opened(conns) })
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 1)
	c := members[0]
	groups := []*server.Group{srv.NewGroup(server.GroupOptions{}), srv.NewGroup(server.GroupOptions{}), srv.NewGroup(server.GroupOptions{})}
	c.SetValue("first")
	for i, g := range groups {
		if got, _ := server.Value[string](c); i == 0 && got != "first" {
			t.Errorf("value %q", got)
		}
		joinAll(t, g, c)
		c.SetValue(fmt.Sprint(i))
	}
	sendNumbers(t, groups[2], 1, 1)
	clients[0].expect(opText, "1")
	for _, i := range []int{1, 0, 2} {
		if _, ok := groups[i].Leave(c); !ok {
			t.Errorf("no member of %d", i)
		}
		sendNumbers(t, groups[2], 2, 2)
		if i != 2 {
			clients[0].expect(opText, "2")
		}
		if got, _ := server.Value[string](c); got != "2" {
			t.Errorf("value %q", got)
		}
	}
}

// TestGroupRefusals: what is refused reaches nobody.
func TestGroupRefusals(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	configure := func(srv *server.Server) { srv.Handler, srv.Runtime.Debug = opened(conns), true }
	n, addr, srv := startSim(t, simnet.Config{}, configure)
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 1)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, members[0])
	if _, err := g.Send(ws.Prepare(ws.Ping, nil)); err != server.ErrOpcode {
		t.Errorf("a ping: %v", err)
	}
	if _, err := g.Send(ws.Prepare(ws.Text, []byte("\xff"))); err == nil {
		t.Error("bad UTF-8 is taken")
	}
	_, _, other := startSim(t, simnet.Config{}, configure)
	if _, err := other.NewGroup(server.GroupOptions{}).Join(members[0]); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("another server's connection: %v", err)
	}
	const none = server.DropOldest + 1
	if _, err := g.SendWith(ws.Prepare(ws.Text, nil), server.SendOptions{Policy: none}); err != server.ErrPolicy {
		t.Errorf("a message's policy: %v", err)
	}
	if _, err := g.SendWith(ws.Prepare(ws.Text, nil), server.SendOptions{Key: strings.Repeat("k", 1025)}); err != server.ErrKey {
		t.Errorf("a long key: %v", err)
	}
	if _, err := srv.SendToGroups(ws.Prepare(ws.Text, nil), server.SendOptions{Policy: none}, g, srv.NewGroup(server.GroupOptions{})); err != server.ErrPolicy {
		t.Errorf("a message's policy to two groups: %v", err)
	}
	if _, err := srv.NewGroup(server.GroupOptions{}).JoinWith(members[0], server.JoinOptions{Policy: none}); err != server.ErrPolicy {
		t.Errorf("a member's policy: %v", err)
	}
	if _, err := srv.NewGroup(server.GroupOptions{Policy: none}).Join(members[0]); err != server.ErrPolicy {
		t.Errorf("a group's policy: %v", err)
	}
	sendNumbers(t, g, 1, 1)
	clients[0].expect(opText, "1")
	members[0].CloseNow()
	if _, err := g.Join(members[0]); err != server.ErrClosed {
		t.Errorf("joined after its end: %v", err)
	}
	eventually(t, "no member is left", func() bool { return g.Len() == 0 })
}

// TestGroupEach: all members are given, once.
func TestGroupEach(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler, srv.Runtime.Loops = opened(conns), 2 })
	_, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 7)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, members[:5]...)
	var got []*server.Conn
	if err := g.Each(t.Context(), func(c *server.Conn) bool {
		got = append(got, c)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range members[:5] {
		if !slices.Contains(got, c) {
			t.Error("a member is missing")
		}
	}
	if len(got) != 5 {
		t.Errorf("%d members were given, want 5", len(got))
	}
}

// TestGroupSmallQueue: what does not fit a member's queue ends it, and nobody else.
func TestGroupSmallQueue(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 4096}, func(srv *server.Server) {
		srv.Handler, srv.Limits.Message, srv.Queue.Max = opened(conns), 10_000, 100_000
	})
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 2)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, members...)
	text := strings.Repeat("x", 8000)
	p := ws.Prepare(ws.Text, []byte(text))
	for range 100 {
		if _, err := g.Send(p); err != nil {
			t.Fatal(err)
		}
		clients[0].expect(opText, text)
	}
	eventually(t, "one member is left", func() bool { return g.Len() == 1 })
	hits(t, srv, server.LimitQueue, 1)
}
