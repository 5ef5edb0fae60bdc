package server_test

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// slowMember is a member that reads nothing until told to.
type slowMember struct {
	t      *testing.T
	n      *simnet.Network
	opened chan *server.Conn
	srv    *server.Server
	client *client
	conn   *server.Conn
	next   func() (op byte, text string) // the next message, or event: "name:data" if it has a name
	came   *countedConn
}

// countedConn counts what is read.
type countedConn struct {
	net.Conn
	bytes uint64
}

func (c *countedConn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	c.bytes += uint64(n)
	return n, err
}

// newSlowMember starts a server whose connections have queues of 10,000 bytes, and fills
// what the network takes.
func newSlowMember(t *testing.T, configure ...func(*server.Server)) *slowMember {
	t.Helper()
	m := startSlowMember(t, configure)
	m.next = m.client.upgraded().frame
	m.fill()
	return m
}

// newSlowStream is newSlowMember for an event stream.
func newSlowStream(t *testing.T, configure ...func(*server.Server)) *slowMember {
	t.Helper()
	m := startSlowMember(t, configure)
	m.next = m.client.streamed().nextText
	m.fill()
	return m
}

// nextText is the next event as slowMember.next gives it.
func (c *eventClient) nextText() (op byte, text string) {
	c.t.Helper()
	switch e := c.next(); e.Name {
	case "close":
		return opClose, string(e.Data)
	case "message":
		return opText, string(e.Data)
	default:
		return opText, e.Name + ":" + string(e.Data)
	}
}

func startSlowMember(t *testing.T, configure []func(*server.Server)) *slowMember {
	t.Helper()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000, RecvBuffer: 1000}, func(srv *server.Server) {
		srv.Handler, srv.Limits.Message, srv.Queue.Max, srv.Queue.HighWater = opened(conns), 9000, 10_000, 2000
		srv.Keepalive.Interval, srv.EventStreams = -1, true
		for _, c := range configure {
			c(srv)
		}
	})
	conn, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	came := &countedConn{Conn: conn}
	return &slowMember{t: t, n: n, srv: srv, client: newClient(t, came), opened: conns, came: came}
}

// fill fills what the network takes.
func (m *slowMember) fill() {
	m.t.Helper()
	m.conn = <-m.opened
	for m.conn.Buffered() == 0 {
		if err := m.conn.SendText(strings.Repeat("-", 600)); err != nil {
			m.t.Fatal(err)
		}
	}
	idle(m.t, m.n)
}

// group makes a group that the member is in.
func (m *slowMember) group(o server.GroupOptions, j server.JoinOptions) *server.Group {
	m.t.Helper()
	g := m.srv.NewGroup(o)
	if _, err := g.JoinWith(m.conn, j); err != nil {
		m.t.Fatal(err)
	}
	return g
}

// send sends messages of 1,000 bytes that begin with a number each.
func (m *slowMember) send(g *server.Group, from, to int, o server.SendOptions) {
	m.t.Helper()
	for i := from; i <= to; i++ {
		text := strconv.Itoa(i) + " " + strings.Repeat("x", 1000)
		if _, err := g.SendWith(ws.Prepare(ws.Text, []byte(text)), o); err != nil {
			m.t.Fatal(err)
		}
	}
	idle(m.t, m.n)
}

// read reads up to "end" and gives the numbers.
func (m *slowMember) read() (numbers []string) {
	m.t.Helper()
	go func() {
		for m.conn.SendText("end") == server.ErrQueueFull {
			time.Sleep(time.Millisecond)
		}
	}()
	return m.readAll()
}

// readAll reads up to "end", or to the close.
func (m *slowMember) readAll() (numbers []string) {
	m.t.Helper()
	for {
		op, text := m.next()
		if op != opText || text == "end" {
			return numbers
		}
		if !strings.HasPrefix(text, "-") {
			number, _, _ := strings.Cut(text, " ")
			numbers = append(numbers, number)
		}
	}
}

// TestGroupPolicies: what does not fit into the queue of a slow member is dropped as the
// message, the membership and the group say, in this order, and counted.
func TestGroupPolicies(t *testing.T) {
	t.Parallel()
	type group = server.GroupStats
	for _, tt := range []struct {
		name   string
		group  server.GroupOptions
		join   server.JoinOptions
		send   server.SendOptions
		paused bool
		want   string // the first and the last number, and how many; "": it is closed
		stats  group
	}{
		{name: "closed", want: "", paused: true, stats: group{Sent: 20}},
		{name: "newest", group: server.GroupOptions{Policy: server.DropNewest}, want: "1 to 9, 9", stats: group{Sent: 20, DroppedNewest: 11}},
		{name: "oldest", group: server.GroupOptions{Policy: server.DropOldest}, want: "12 to 20, 9", stats: group{Sent: 20, DroppedOldest: 11}},
		{name: "the member's", group: server.GroupOptions{Policy: server.DropNewest}, join: server.JoinOptions{Policy: server.DropOldest}, want: "12 to 20, 9", stats: group{Sent: 20, DroppedOldest: 11}},
		{name: "the message's", join: server.JoinOptions{Policy: server.DropOldest}, send: server.SendOptions{Policy: server.DropNewest}, want: "1 to 9, 9", stats: group{Sent: 20, DroppedNewest: 11}},
		{name: "by key", send: server.SendOptions{Key: "price"}, want: "20 to 20, 1", stats: group{Sent: 20, Replaced: 19}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newSlowMember(t)
			g := m.group(tt.group, tt.join)
			for i := range 5 {
				m.send(g, i+1, i+1, tt.send) // each in a pass of its own
			}
			if got := m.srv.Stats().Paused == 1; got != tt.paused {
				t.Errorf("paused: %v, want %v", got, tt.paused)
			}
			m.send(g, 6, 10, tt.send)
			for i := range 5 {
				m.send(g, i+11, i+11, tt.send)
			}
			m.send(g, 16, 20, tt.send) // several in a pass, or all
			got, closed := m.read(), false
			if tt.want == "" {
				closed = true
				eventually(t, "its end", func() bool { return g.Len() == 0 })
			} else if first, last := got[0], got[len(got)-1]; first+" to "+last+", "+strconv.Itoa(len(got)) != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
			if stats := m.srv.Stats().Group; stats != tt.stats {
				t.Errorf("%+v, want %+v", stats, tt.stats)
			}
			if hits := m.srv.Stats().Limits[server.LimitQueue]; (hits > 0) != (closed || tt.stats.DroppedNewest > 0) {
				t.Errorf("the limit was met %d times", hits)
			}
			eventually(t, "nothing waits", func() bool { return closed || m.srv.Stats().Backlog == 0 })
		})
	}
}

// TestGroupKeys: a key is its group's, and takes the place of the one before.
func TestGroupKeys(t *testing.T) {
	t.Parallel()
	m := newSlowMember(t)
	g, other := m.group(server.GroupOptions{}, server.JoinOptions{}), m.group(server.GroupOptions{}, server.JoinOptions{})
	m.send(g, 1, 1, server.SendOptions{Key: "a"})
	m.send(g, 2, 2, server.SendOptions{Key: "b"})
	m.send(other, 3, 3, server.SendOptions{Key: "a"})
	m.send(g, 4, 4, server.SendOptions{})
	m.send(g, 5, 5, server.SendOptions{Key: "a"})
	if got := strings.Join(m.read(), " "); got != "5 2 3 4" {
		t.Errorf("got %s, want 5 2 3 4", got)
	}
}

// TestGroupKeysInOrder: with InOrder the newest message of a key stands where it was sent.
func TestGroupKeysInOrder(t *testing.T) {
	t.Parallel()
	m := newSlowMember(t)
	g := m.group(server.GroupOptions{}, server.JoinOptions{})
	m.send(g, 1, 1, server.SendOptions{Key: "a", InOrder: true})
	m.send(g, 2, 2, server.SendOptions{})
	m.send(g, 3, 3, server.SendOptions{Key: "a", InOrder: true})
	if got := strings.Join(m.read(), " "); got != "2 3" {
		t.Errorf("got %s, want 2 3", got)
	}
}

// TestGroupKeyAtTheBound: the newest message of a key needs no room in a full queue, and
// nothing else gives way for it.
func TestGroupKeyAtTheBound(t *testing.T) {
	t.Parallel()
	for _, inOrder := range []bool{false, true} {
		m := newSlowMember(t)
		g := m.group(server.GroupOptions{Policy: server.DropOldest}, server.JoinOptions{})
		m.send(g, 1, 8, server.SendOptions{})
		m.send(g, 9, 14, server.SendOptions{Key: "a", InOrder: inOrder})
		if got := strings.Join(m.read(), " "); got != "1 2 3 4 5 6 7 8 14" {
			t.Errorf("in order %v: got %s", inOrder, got)
		}
	}
}

// TestGroupManyLoose: at most 10,000 messages that may be dropped wait in a queue, whatever lets them be dropped; the
// oldest one goes for the next.
func TestGroupManyLoose(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]struct {
		group   server.GroupOptions
		message func(i int) server.SendOptions
	}{
		"oldest":  {group: server.GroupOptions{Policy: server.DropOldest}, message: func(int) server.SendOptions { return server.SendOptions{} }},
		"key":     {message: func(i int) server.SendOptions { return server.SendOptions{Key: strconv.Itoa(i)} }},
		"expires": {message: func(int) server.SendOptions { return server.SendOptions{Expires: time.Hour} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSlowMember(t, func(srv *server.Server) { srv.Queue.Max = 1 << 20 })
			g := m.group(with.group, server.JoinOptions{})
			const most, more = 10_000, 300
			p := ws.Prepare(ws.Text, []byte("tick"))
			for i := range most + more {
				if _, err := g.SendWith(p, with.message(i)); err != nil {
					t.Fatal(err)
				}
			}
			idle(t, m.n)
			if got := m.srv.Stats().Group; got.DroppedOldest != more || !g.Has(m.conn) {
				t.Errorf("%+v, member %v, want DroppedOldest: %d and a member", got, g.Has(m.conn), more)
			}
		})
	}
}

// TestGroupExpires: what has waited too long is not sent.
func TestGroupExpires(t *testing.T) {
	t.Parallel()
	m := newSlowMember(t)
	g := m.group(server.GroupOptions{}, server.JoinOptions{})
	m.send(g, 1, 2, server.SendOptions{Expires: time.Second})
	m.send(g, 3, 4, server.SendOptions{Expires: 10 * time.Second})
	m.send(g, 5, 5, server.SendOptions{})
	m.n.Advance(2 * time.Second)
	if got := strings.Join(m.read(), " "); got != "3 4 5" {
		t.Errorf("got %s, want 3 4 5", got)
	}
	if got := m.srv.Stats().Group.Expired; got != 2 {
		t.Errorf("%d have expired, want 2", got)
	}
}

// TestGroupSharesWhatWaits: a message that many slow members wait for is there, and
// charged, once; and given back when the last one has it.
func TestGroupSharesWhatWaits(t *testing.T) {
	t.Parallel()
	const members, size = 200, 100_000
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000, RecvBuffer: 1000}, func(srv *server.Server) {
		srv.Handler, srv.Runtime.Loops, srv.Keepalive.Interval = opened(conns), 2, -1
	})
	clients, all := openSome(func() *client { return dialSim(t, n, addr) }, conns, members)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, all...)
	p := ws.Prepare(ws.Binary, make([]byte, size))
	for range 3 {
		if _, err := g.Send(p); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all wait", func() bool { return srv.Stats().Queues == members && all[members-1].Buffered() > 2*size })
	idle(t, n)
	if got, most := srv.Stats().Backlog, int64(3*(size+16)+members*1200); got > most {
		t.Errorf("%d bytes are charged, want %d at most", got, most)
	}
	for i, c := range clients {
		if i%2 == 0 {
			_ = c.Close()
			continue
		}
		for range 3 {
			c.expect(opBinary, string(p.Payload()))
		}
	}
	eventually(t, "nothing waits", func() bool { return srv.Stats().Backlog == 0 && srv.Stats().Queues == 0 })
}

// missing is a Handler that counts what is missed.
type missing struct {
	server.Handler
	calls, messages *atomic.Int64
}

func (m missing) Missed(c *server.Conn, messages int) {
	m.calls.Add(1)
	m.messages.Add(int64(messages))
	_ = c.SendText(strings.Repeat("- something is missing ", 100)) // the test looks whether the connection is closed
}

// TestGroupMissed: the handler is told how many messages its connection has missed, at once, then
// once a second, and when half of the queue is free. What it sends then does not fill the queue.
func TestGroupMissed(t *testing.T) {
	t.Parallel()
	for _, policy := range []server.QueuePolicy{server.DropNewest, server.DropOldest} {
		var calls, missed atomic.Int64
		m := newSlowMember(t, func(srv *server.Server) { srv.Handler = missing{srv.Handler, &calls, &missed} })
		g := m.group(server.GroupOptions{Policy: policy}, server.JoinOptions{})
		m.send(g, 1, 20, server.SendOptions{})
		eventually(t, "the handler to be told", func() bool { return missed.Load() > 0 })
		for range 20 {
			m.send(g, 21, 21, server.SendOptions{})
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("told %d times within a second", n)
		}
		m.n.Advance(1100 * time.Millisecond)
		m.send(g, 21, 21, server.SendOptions{})
		eventually(t, "the handler to be told again", func() bool { return calls.Load() == 2 })
		got := len(m.read())
		eventually(t, "all is told", func() bool { return missed.Load() == int64(41-got) })
	}
}

// TestGroupMakesRoom: what may be dropped gives way to the connection's own messages, and to
// those of groups that may not be.
func TestGroupMakesRoom(t *testing.T) {
	t.Parallel()
	m := newSlowMember(t)
	prices, news := m.group(server.GroupOptions{Policy: server.DropOldest}, server.JoinOptions{}), m.group(server.GroupOptions{}, server.JoinOptions{})
	m.send(prices, 1, 20, server.SendOptions{})
	for range 3 {
		if err := m.conn.SendText("own " + strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	m.send(news, 100, 101, server.SendOptions{})
	if got := strings.Join(m.read(), " "); got != "17 18 19 20 own own own 100 101" {
		t.Errorf("got %s", got)
	}
}

// TestGroupDropsNothingInVain: a message that would not fit if all were dropped that may be is
// dropped alone, also one that is larger than the queue by its header only.
func TestGroupDropsNothingInVain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{9_990, 10_000} {
		m := newSlowMember(t)
		g := m.group(server.GroupOptions{Policy: server.DropOldest}, server.JoinOptions{})
		m.send(g, 1, 5, server.SendOptions{})
		if _, err := g.Send(ws.Prepare(ws.Text, []byte(strings.Repeat("y", size)))); err != nil {
			t.Fatal(err)
		}
		idle(t, m.n)
		if got := strings.Join(m.read(), " "); got != "1 2 3 4 5" {
			t.Errorf("%d bytes: got %.20s", size, got)
		}
		if s := m.srv.Stats().Group; s.DroppedOldest != 0 || s.DroppedNewest != 1 {
			t.Errorf("%d bytes: %+v", size, s)
		}
	}
}

// TestGroupDropsAreNoProgress: a peer that takes nothing is found out, however many messages are dropped
// from its queue.
func TestGroupDropsAreNoProgress(t *testing.T) {
	t.Parallel()
	m := newSlowMember(t, func(srv *server.Server) { srv.Timeouts.Write = 10 * time.Second })
	g := m.group(server.GroupOptions{Policy: server.DropOldest}, server.JoinOptions{})
	for range 12 {
		m.send(g, 1, 20, server.SendOptions{})
		m.n.Advance(time.Second)
		idle(t, m.n)
	}
	eventually(t, "the peer to be cut", func() bool { return g.Len() == 0 })
	hits(t, m.srv, server.LimitWriteTimeout, 1)
}

// TestGroupSendTo: what one connection gets as the group's waits, gives way and is replaced as the
// group's messages are.
func TestGroupSendTo(t *testing.T) {
	t.Parallel()
	past := func(m *slowMember, g *server.Group, from, to int, o server.SendOptions) (err error) {
		for i := from; i <= to && err == nil; i++ {
			err = g.SendTo(m.conn, ws.Prepare(ws.Text, []byte(strconv.Itoa(i)+" "+strings.Repeat("x", 1000))), o)
		}
		return err
	}
	for _, tt := range []struct {
		name  string
		group server.GroupOptions
		send  server.SendOptions
		want  string
	}{
		{"oldest", server.GroupOptions{Policy: server.DropOldest}, server.SendOptions{}, "13 14 15 16 17 18 19 20 21"},
		{"newest", server.GroupOptions{}, server.SendOptions{Policy: server.DropNewest}, "1 2 3 4 5 6 7 8 9"},
		{"by key", server.GroupOptions{}, server.SendOptions{Key: "price"}, "21"},
		{"by another's key", server.GroupOptions{}, server.SendOptions{Key: "price", KeyOwner: t}, "21"},
		{"expired", server.GroupOptions{}, server.SendOptions{Expires: time.Second}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newSlowMember(t)
			g := m.srv.NewGroup(tt.group)
			if err := past(m, g, 1, 20, tt.send); err != nil {
				t.Fatal(err)
			}
			joinAll(t, g, m.conn)
			m.send(g, 21, 21, tt.send)
			m.n.Advance(2 * time.Second)
			if got := strings.Join(m.read(), " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if g.Last() != 1 {
				t.Errorf("the last number is %d, want 1", g.Last())
			}
			eventually(t, "nothing is charged", func() bool { return m.srv.Stats().Backlog == 0 })
		})
	}
	m := newSlowMember(t)
	g := m.srv.NewGroup(server.GroupOptions{})
	if err := past(m, g, 1, 20, server.SendOptions{}); err != server.ErrClosed {
		t.Errorf("more than fits: %v", err)
	}
	if err := g.SendTo(m.conn, ws.Prepare(ws.Ping, nil), server.SendOptions{}); err != server.ErrOpcode {
		t.Errorf("a ping: %v", err)
	}
}

// TestPongBesideGroup: a pong that waits goes before the next message of a group, once a second: a reader who
// is slow for long gets some, and pings take no queue up.
func TestPongBesideGroup(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) { srv.Handler = opened(conns) })
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	g := srv.NewGroup(server.GroupOptions{Policy: server.DropOldest})
	joinAll(t, g, conn)
	send := func(text string) {
		t.Helper()
		if _, err := g.Send(ws.Prepare(ws.Text, []byte(text))); err != nil {
			t.Fatal(err)
		}
		idle(t, n)
	}
	full := strings.Repeat("x", 5000)
	send(full)
	for _, ping := range []string{"1", "2", "3"} {
		c.send(frame(opPing, ping))
		idle(t, n)
		send("behind " + ping)
		if ping == "2" {
			pass(t, n, time.Second+2*tickTime)
		}
	}
	c.expect(opText, full)
	c.expect(opPong, "1")
	c.expect(opText, "behind 1")
	c.expect(opText, "behind 2")
	c.expect(opPong, "3") // the latest is enough
	c.expect(opText, "behind 3")
}

// TestManyLoose: so many messages that may be dropped wait for a slow reader at most, however small they are: each one with a key
// is looked for among them.
func TestManyLoose(t *testing.T) {
	const all, most = 12_000, 10_000
	for policy, first := range map[server.QueuePolicy]int{server.DropNewest: 0, server.DropOldest: all - most} {
		conns := make(chan *server.Conn, 1)
		n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) { srv.Handler = opened(conns) })
		c := dialSim(t, n, addr).upgraded()
		conn := <-conns
		full := strings.Repeat("x", 5000)
		if err := conn.Send(ws.Text, []byte(full)); err != nil {
			t.Fatal(err)
		}
		g := srv.NewGroup(server.GroupOptions{Policy: policy})
		joinAll(t, g, conn)
		for i := range all {
			if _, err := g.SendWith(ws.Prepare(ws.Text, []byte(strconv.Itoa(i))), server.SendOptions{Key: strconv.Itoa(i)}); err != nil {
				t.Fatal(err)
			}
			if i%1000 == 999 {
				idle(t, n)
			}
		}
		idle(t, n)
		c.expect(opText, full)
		for i := range most {
			c.expect(opText, strconv.Itoa(first+i))
		}
		if err := conn.Send(ws.Text, []byte("end")); err != nil {
			t.Fatal(err)
		}
		c.expect(opText, "end")
	}
}

// TestDroppableInATurn: what a handler sends as a group's, and may be dropped, takes no room from what may not.
func TestDroppableInATurn(t *testing.T) {
	var g *server.Group
	errs := make(chan error, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Queue.Max = 20 << 10
		srv.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) {
			for range 20 {
				_ = g.SendTo(c, ws.Prepare(ws.Text, make([]byte, 2000)), server.SendOptions{}) // dropped or not
			}
			errs <- c.Send(ws.Text, []byte("own"))
		})
	})
	g = srv.NewGroup(server.GroupOptions{Policy: server.DropNewest})
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, "go"))
	if err := <-errs; err != nil {
		t.Error(err)
	}
	for op, payload := c.frame(); payload != "own"; op, payload = c.frame() {
		if op != opText || len(payload) != 2000 {
			t.Fatalf("frame %x %q", op, payload)
		}
	}
}
