package server_test

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// inBrackets is a notice that a slowMember reads as [3], or as missed:[3] on an event stream.
var inBrackets = &server.MissedNotice{Before: "[", After: "]", Event: "missed"}

// noticed has all connections get it.
func noticed(srv *server.Server) { srv.Upgrade = acceptAs(server.Accept{MissedNotice: inBrackets}) }

// onForms is a test with a slow member that is a WebSocket, and one that is an event stream.
func onForms(t *testing.T, test func(t *testing.T, m *slowMember)) {
	t.Helper()
	for name, start := range map[string]func(*testing.T, ...func(*server.Server)) *slowMember{"WebSocket": newSlowMember, "event stream": newSlowStream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, noticed))
		})
	}
}

// expectRead reads up to "end", and expects these numbers and notices.
func (m *slowMember) expectRead(want string) {
	m.t.Helper()
	m.expectNumbers(want, m.read())
}

func (m *slowMember) expectNumbers(want string, got []string) {
	m.t.Helper()
	if m.conn.IsEventStream() {
		want = strings.ReplaceAll(want, "[", "missed:[")
	}
	if got := strings.Join(got, " "); got != want {
		m.t.Errorf("got %s, want %s", got, want)
	}
	eventually(m.t, "nothing is charged", func() bool { return m.srv.Stats().Backlog == 0 })
	if sent := m.conn.Stats().BytesOut; sent != m.came.bytes {
		m.t.Errorf("%d bytes are counted, and %d came", sent, m.came.bytes)
	}
}

// TestMissedNotice: a notice stands where messages were dropped, whatever dropped them, and tells of all that stood there.
func TestMissedNotice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(m *slowMember, oldest, newest, kept *server.Group)
		want string
	}{
		{"newest", func(m *slowMember, _, newest, _ *server.Group) {
			m.send(newest, 1, 20, server.SendOptions{})
		}, "1 2 3 4 5 6 7 8 9 [11]"},
		{"oldest", func(m *slowMember, oldest, _, _ *server.Group) {
			m.send(oldest, 1, 20, server.SendOptions{})
		}, "[11] 12 13 14 15 16 17 18 19 20"},
		{"expired", func(m *slowMember, _, _, kept *server.Group) {
			m.send(kept, 1, 2, server.SendOptions{Expires: time.Second})
			m.send(kept, 3, 4, server.SendOptions{Expires: 10 * time.Second})
			m.send(kept, 5, 5, server.SendOptions{Expires: time.Second})
			m.n.Advance(2 * time.Second)
		}, "[2] 3 4 [1]"},
		{"among what stays", func(m *slowMember, oldest, _, kept *server.Group) {
			for i := 1; i <= 9; i += 3 {
				m.send(oldest, i, i, server.SendOptions{})
				m.send(kept, i+1, i+1, server.SendOptions{})
				m.send(oldest, i+2, i+2, server.SendOptions{})
			}
			m.send(kept, 10, 13, server.SendOptions{})
		}, "[1] 2 [2] 5 [1] 7 8 9 10 11 12 13"},
		{"for what is the connection's own", func(m *slowMember, oldest, _, _ *server.Group) {
			m.send(oldest, 1, 9, server.SendOptions{})
			for range 2 {
				if err := m.conn.SendText("own " + strings.Repeat("x", 1000)); err != nil {
					m.t.Error(err)
				}
			}
		}, "[2] 3 4 5 6 7 8 9 own own"},
		{"newest, then oldest", func(m *slowMember, oldest, newest, _ *server.Group) {
			m.send(oldest, 1, 9, server.SendOptions{})
			m.send(newest, 10, 12, server.SendOptions{})
			m.send(oldest, 13, 14, server.SendOptions{})
			m.send(newest, 15, 15, server.SendOptions{})
		}, "[2] 3 4 5 6 7 8 9 [3] 13 14 [1]"},
		{"superseded", func(m *slowMember, _, newest, _ *server.Group) {
			m.send(newest, 1, 20, server.SendOptions{Key: "price"})
			m.send(newest, 21, 22, server.SendOptions{Key: "price", InOrder: true})
		}, "22"},
		{"larger than the queue", func(m *slowMember, oldest, _, _ *server.Group) {
			m.send(oldest, 1, 1, server.SendOptions{})
			if _, err := oldest.Send(ws.Prepare(ws.Text, make([]byte, 10_100))); err != nil {
				m.t.Error(err)
			}
			m.send(oldest, 3, 3, server.SendOptions{})
		}, "1 [1] 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onForms(t, func(t *testing.T, m *slowMember) {
				oldest := m.group(server.GroupOptions{Policy: server.DropOldest}, server.JoinOptions{})
				newest := m.group(server.GroupOptions{Policy: server.DropNewest}, server.JoinOptions{})
				kept := m.group(server.GroupOptions{}, server.JoinOptions{})
				tt.do(m, oldest, newest, kept)
				m.expectRead(tt.want)
			})
		})
	}
}

// TestMissedNoticeAlone: a notice goes out by itself when all before it is written, though nothing follows.
func TestMissedNoticeAlone(t *testing.T) {
	t.Parallel()
	onForms(t, func(t *testing.T, m *slowMember) {
		g := m.group(server.GroupOptions{}, server.JoinOptions{})
		m.send(g, 1, 3, server.SendOptions{Expires: time.Second})
		m.n.Advance(2 * time.Second)
		for {
			if _, text := m.next(); !strings.HasPrefix(text, "-") {
				m.expectNumbers("[3]", []string{text})
				break
			}
		}
		m.send(g, 4, 4, server.SendOptions{})
		m.expectRead("4")
	})
}

// TestMissedNoticeAtTheEnd: a close, too, comes behind what was missed before it.
func TestMissedNoticeAtTheEnd(t *testing.T) {
	t.Parallel()
	onForms(t, func(t *testing.T, m *slowMember) {
		g := m.group(server.GroupOptions{Policy: server.DropNewest}, server.JoinOptions{})
		m.send(g, 1, 20, server.SendOptions{})
		if err := m.conn.Close(ws.CodeNormal, "over"); err != nil {
			t.Error(err)
		}
		m.expectNumbers("1 2 3 4 5 6 7 8 9 [11]", m.readAll())
		_ = m.client.Close()
	})
}

// TestMissedNoticeAtOnce: a message that does not fit into the empty queue of a member that waits for nothing is told of
// at once, in its turn too.
func TestMissedNoticeAtOnce(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		var g *server.Group
		send := func() {
			for _, text := range []string{"a", strings.Repeat("x", 10_100), "b"} {
				if _, err := g.Send(ws.Prepare(ws.Text, []byte(text))); err != nil {
					t.Error(err)
				}
			}
		}
		conns := make(chan *server.Conn, 1)
		dial, srv := start(t, func(srv *server.Server) {
			noticed(srv)
			srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: func(c *server.Conn, _ ws.Message) {
				send()
				_ = c.SendText("own") // the test waits for it
			}}
			srv.Limits.Message, srv.Queue.Max = 9000, 10_000
		})
		g = srv.NewGroup(server.GroupOptions{Policy: server.DropNewest})
		c := dial().upgraded()
		joinAll(t, g, <-conns)
		send()
		expectFrames(c, "1 a", "1 [1]", "1 b")
		c.send(frame(opText, "go"))
		expectFrames(c, "1 a", "1 [1]", "1 b", "1 own")
	})
}

// TestMissedNoticeRefused: a notice that can not be sent refuses the request.
func TestMissedNoticeRefused(t *testing.T) {
	for want, notice := range map[string]*server.MissedNotice{
		"not UTF-8": {Before: "\xff"}, "more than 1024 bytes": {After: strings.Repeat("x", 1025)}, "sse: ": {Event: "a\nb"},
	} {
		var log logBook
		addr, _ := startServer(t, func(srv *server.Server) {
			srv.Logger, srv.Upgrade = log.logger(), acceptAs(server.Accept{MissedNotice: notice})
		})
		c := dial(t, addr)
		c.send(upgradeRequest())
		c.expectRefusal(http.StatusInternalServerError)
		if log.count("Accept.MissedNotice: ") != 1 || log.count(want) != 1 {
			t.Errorf("want %q in the log, it has %s", want, log.String())
		}
	}
}

// TestMissedNoticeOfMany: whatever is dropped, and whoever carries it, the next message that a member sees is the one behind
// the last, or as many are told of before it as are missing. All that was dropped is told.
func TestMissedNoticeOfMany(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		for _, events := range []bool{false, true} {
			t.Run(map[bool]string{false: "WebSocket", true: "event stream"}[events], func(t *testing.T) {
				conns := make(chan *server.Conn, 1)
				dial, srv := start(t, withEvents(func(srv *server.Server) {
					noticed(srv)
					srv.Handler, srv.Limits.Message, srv.Queue.Max = opened(conns), 100_000, 300_000
				}))
				c, m := dial(), &slowMember{t: t, srv: srv}
				if events {
					m.next = c.streamed().nextText
				} else {
					m.next = c.upgraded().frame
				}
				m.conn = <-conns
				g := m.group(server.GroupOptions{}, server.JoinOptions{})
				filled, sent := make(chan struct{}), make(chan int, 1)
				go func() { sent <- m.sendMany(g, filled) }()
				<-filled
				number, told := m.readMany()
				if all := <-sent; number != all {
					t.Errorf("messages and notices go up to %d of %d", number, all)
				}
				s := srv.Stats()
				if dropped := int(s.Group.DroppedNewest + s.Group.DroppedOldest + s.Group.Expired); told != dropped || told == 0 {
					t.Errorf("told of %d, dropped are %d", told, dropped)
				}
				eventually(t, "nothing waits in the end", func() bool { return m.conn.Buffered() == 0 }) // a bridge counts what it has written when the peer may have it already
			})
		}
	})
}

// sendMany sends numbered messages that may be dropped, and own ones, until some are dropped, and then while they are
// read. It says how many those of the group were.
func (m *slowMember) sendMany(g *server.Group, filled chan<- struct{}) (number int) {
	random := rand.New(rand.NewPCG(1, 2))
	send := func() {
		number++
		o := server.SendOptions{Policy: []server.QueuePolicy{server.DropNewest, server.DropOldest}[random.IntN(2)]}
		if random.IntN(4) == 0 {
			o.Expires = 100 * time.Millisecond
		}
		p := ws.Prepare(ws.Text, []byte(strconv.Itoa(number)+" "+strings.Repeat("x", random.IntN(50_000))))
		if _, err := g.SendWith(p, o); err != nil {
			m.t.Error(err)
		}
		if err := m.conn.SendText("-"); err != nil { // it comes behind the group's
			m.t.Error(err)
		}
	}
	for s := m.srv.Stats().Group; s.DroppedNewest < 5 || s.DroppedOldest < 5; s = m.srv.Stats().Group {
		send()
	}
	close(filled)
	for range 300 {
		send()
		if random.IntN(30) == 0 {
			if err := m.conn.WaitBuffered(m.t.Context(), random.IntN(300_000)); err != nil {
				m.t.Error(err)
			}
		}
	}
	if err := m.conn.SendText("end"); err != nil {
		m.t.Error(err)
	}
	return number
}

// readMany reads up to "end". number is the last one, of a message or of one that was told to be missing.
func (m *slowMember) readMany() (number, told int) {
	m.t.Helper()
	for {
		op, text := m.next()
		switch missed, ok := strings.CutPrefix(strings.TrimPrefix(text, "missed:"), "["); {
		case op != opText:
			m.t.Fatalf("message %d %.100q", op, text)
		case text == "end":
			return number, told
		case text == "-":
		case ok:
			n, err := strconv.Atoi(strings.TrimSuffix(missed, "]"))
			if err != nil || n == 0 {
				m.t.Fatalf("notice %q", text)
			}
			number, told = number+n, told+n
		default:
			number++
			if !strings.HasPrefix(text, strconv.Itoa(number)+" ") {
				m.t.Fatalf("got %.20q, want %d", text, number)
			}
		}
	}
}

// TestNoticeTakesNoRoom: a notice that waits leaves all of Queue.Max to others, also when the network takes a little before it.
func TestNoticeTakesNoRoom(t *testing.T) {
	t.Parallel()
	m := newSlowMember(t, func(srv *server.Server) {
		srv.Upgrade = acceptAs(server.Accept{MissedNotice: &server.MissedNotice{Before: strings.Repeat("n", 1000)}})
		srv.Queue.HighWater = 9000
	})
	g := m.group(server.GroupOptions{}, server.JoinOptions{})
	send := func(o server.SendOptions) {
		if _, err := g.SendWith(ws.Prepare(ws.Text, []byte(strings.Repeat("x", 300))), o); err != nil {
			t.Fatal(err)
		}
	}
	for range 7 {
		send(server.SendOptions{Expires: time.Second})
		send(server.SendOptions{})
	}
	idle(t, m.n)
	before := m.conn.Buffered()
	m.n.Advance(3 * time.Second) // they expire
	m.next()                     // the network takes a little
	idle(t, m.n)
	if after := m.conn.Buffered(); after >= before {
		t.Errorf("%d bytes wait, and %d did before some expired", after, before)
	}
	if err := m.conn.SendText(strings.Repeat("o", 7000)); err != nil {
		t.Errorf("beside some 2,500 bytes that wait, of 10,000: %v", err)
	}
}
