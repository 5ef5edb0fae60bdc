package server_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestSendToGroups: who is in several of the groups gets the message once, and each group's
// number grows.
func TestSendToGroups(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler, srv.Runtime.Loops = opened(conns), 2 })
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 4)
	a, b, empty := srv.NewGroup(server.GroupOptions{}), srv.NewGroup(server.GroupOptions{}), srv.NewGroup(server.GroupOptions{})
	joinAll(t, a, members[:3]...)
	joinAll(t, b, members[1:]...)
	for range 20 {
		sent, err := srv.SendToGroups(ws.Prepare(ws.Text, []byte("both")), server.SendOptions{}, b, a, empty, b)
		if err != nil || sent != (server.Sent{Members: 6}) {
			t.Errorf("%+v, %v", sent, err)
		}
		sendNumbers(t, a, 1, 1)
	}
	for i, c := range clients {
		for range 20 {
			c.expect(opText, "both")
			if i < 3 {
				c.expect(opText, "1")
			}
		}
	}
	if a.Last() != 40 || b.Last() != 20 || empty.Last() != 20 {
		t.Errorf("the numbers are %d, %d and %d", a.Last(), b.Last(), empty.Last())
	}
	if _, err := srv.SendToGroups(ws.Prepare(ws.Ping, nil), server.SendOptions{}, a); err != server.ErrOpcode {
		t.Errorf("a ping: %v", err)
	}
	if sent, err := srv.SendToGroups(ws.Prepare(ws.Text, nil), server.SendOptions{}); err != nil || sent != (server.Sent{}) {
		t.Errorf("to no group: %+v, %v", sent, err)
	}
	if !a.Has(members[0]) || a.Has(members[3]) {
		t.Error("Has is wrong")
	}
}

// TestSendLargeToGroups: more than a write has waits for a member of two groups, and still it
// gets each message once.
func TestSendLargeToGroups(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	var a, b *server.Group
	const messages = 20
	text := func(i int) string { return strconv.Itoa(i) + " " + strings.Repeat("x", 9000+i*1000) }
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Runtime.Loops, srv.Queue.Max = 1, 1<<20
		srv.Handler = handler{
			open: func(c *server.Conn) { conns <- c },
			message: func(c *server.Conn, _ ws.Message) { // the loop is busy: all wait for its pass
				for i := range messages {
					if _, err := c.Server().SendToGroups(ws.Prepare(ws.Text, []byte(text(i))), server.SendOptions{}, a, b); err != nil {
						t.Error(err)
					}
				}
			},
		}
	})
	a, b = srv.NewGroup(server.GroupOptions{}), srv.NewGroup(server.GroupOptions{})
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 3)
	joinAll(t, a, members...)
	joinAll(t, b, members...)
	clients[0].send(frame(opText, "now"))
	for _, c := range clients {
		for i := range messages {
			c.expect(opText, text(i))
		}
	}
	sendNumbers(t, a, 1, 1)
	for _, c := range clients {
		c.expect(opText, "1")
	}
}

// TestGroupGone: the group is told of a connection that has ended, once, and not of one that
// has left.
func TestGroupGone(t *testing.T) {
	t.Parallel()
	conns, gone := make(chan *server.Conn, 1), make(chan *server.Conn, 10)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler = opened(conns) })
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 3)
	g := srv.NewGroup(server.GroupOptions{Gone: func(c *server.Conn) { gone <- c }})
	joinAll(t, g, members...)
	g.Leave(members[0])
	for _, c := range clients[:2] {
		_ = c.Close()
	}
	if c := <-gone; c != members[1] {
		t.Error("it is another one")
	}
	idle(t, n)
	if len(gone) > 0 || g.Len() != 1 {
		t.Errorf("%d more are gone, %d members are left", len(gone), g.Len())
	}
}

// TestSendToGroupsOverPasses: who is in many groups gets a message to two of them once,
// also if a pass over the log ends between the two.
func TestSendToGroupsOverPasses(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler, srv.Runtime.Loops = opened(conns), 1 })
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 2)
	groups := make([]*server.Group, 100)
	for i := range groups {
		groups[i] = srv.NewGroup(server.GroupOptions{})
		joinAll(t, groups[i], members[0])
	}
	held, goOn := make(chan struct{}), make(chan struct{})
	holds := srv.NewGroup(server.GroupOptions{Gone: func(*server.Conn) {
		close(held)
		<-goOn
	}})
	joinAll(t, holds, members[1])
	idle(t, n)
	members[1].CloseNow()
	<-held // the loop: what follows is in its log when it begins
	sendNumbers(t, groups[0], 0, 0)
	for i := 1; i+1 < len(groups); i += 2 {
		if _, err := srv.SendToGroups(ws.Prepare(ws.Text, []byte(strconv.Itoa(i))), server.SendOptions{}, groups[i], groups[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	close(goOn)
	clients[0].expect(opText, "0")
	for i := 1; i+1 < len(groups); i += 2 {
		clients[0].expect(opText, strconv.Itoa(i))
	}
}

// TestGroupMakesForms: the sender's goroutine makes the forms that members get, from their first message on, and no
// loop: a form may be the application's code.
func TestGroupMakesForms(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Handler, srv.Upgrade = opened(conns), acceptAs(server.Accept{Enveloped: true})
	})
	client := dialSim(t, n, addr).upgraded()
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, <-conns)
	for i := range 2 {
		made := 0
		p := ws.PrepareWith(ws.Text, []byte("payload"), ws.PrepareOptions{Envelope: func() []byte {
			made++ // a race if a loop calls it
			return []byte("envelope")
		}})
		_, err := g.Send(p)
		if err != nil || made != 1 {
			t.Errorf("message %d was made %d times when Send returned (%v), want once", i, made, err)
		}
		client.expect(opText, "envelope")
	}
}
