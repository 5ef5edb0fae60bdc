package server_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestGroupOrder has goroutines and handlers send to groups and to connections, while these
// join and leave, stall, end, and lose their loops, and holds what each has read against
// what was sent: of each group all messages between the numbers that Join and Leave gave,
// in the order of their numbers, once, and of each sender all in the order in which it sent.
// MILLRACE_GROUPS is the number of seeds.
func TestGroupOrder(t *testing.T) {
	t.Parallel()
	seeds := uint64(100)
	if testing.Short() {
		seeds = 8
	}
	if n, err := strconv.Atoi(os.Getenv("MILLRACE_GROUPS")); err == nil {
		seeds = uint64(n)
	}
	for seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			o := &orderCheck{t: t, seed: seed}
			o.run()
		})
	}
}

const orderGroups = 4

// orderCheck is one run.
type orderCheck struct {
	t       *testing.T
	seed    uint64
	srv     *server.Server
	groups  []*server.Group
	members []*orderMember

	senders atomic.Int64 // numbered from 1

	mu   sync.Mutex
	sent [orderGroups]map[uint64]string // by number: the message
}

// orderMember is a connection and what it is to read.
type orderMember struct {
	client *client
	events *eventClient // nil: a WebSocket
	conn   *server.Conn
	spans  [orderGroups][][2]uint64 // behind the first number, up to the second
	closes bool                     // in the midst
	read   []string
}

// orderSender numbers what one goroutine sends.
type orderSender struct {
	*orderCheck
	name int64
	next int
}

func (o *orderCheck) sender() *orderSender {
	return &orderSender{orderCheck: o, name: o.senders.Add(1)}
}

// text is a message to a group, or to a connection.
func (s *orderSender) text(to string) string {
	s.next++
	return fmt.Sprintf("%s %d %d", to, s.name, s.next)
}

func (s *orderSender) toGroup(g int, padding string) {
	text := s.text("g" + strconv.Itoa(g))
	sent, err := s.groups[g].Send(ws.Prepare(ws.Text, []byte(text+padding)))
	if errors.Is(err, server.ErrNoRoom) {
		return
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent[g][sent.Number] != "" {
		s.t.Errorf("group %d has number %d twice", g, sent.Number)
	}
	s.sent[g][sent.Number] = text
}

func (o *orderCheck) run() {
	random := rand.New(rand.NewPCG(o.seed, 0))
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(o.t, simnet.Config{SendBuffer: 3000, RecvBuffer: 2000}, func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: o.message}
		srv.Runtime.Loops, srv.Runtime.Workers = 2, 6
		srv.Queue.HighWater = -1
		srv.EventStreams = true
	})
	o.srv = srv
	for g := range orderGroups {
		o.groups = append(o.groups, srv.NewGroup(server.GroupOptions{}))
		o.sent[g] = map[uint64]string{}
	}
	for range []int{10, 3, 2}[o.seed%3] { // of few, one is often alone in a group on its loop
		m := &orderMember{client: dialSim(o.t, n, addr), closes: random.IntN(4) == 0}
		if random.IntN(3) == 0 {
			m.events = m.client.streamed()
		} else {
			m.client.upgraded()
		}
		m.conn = <-conns
		o.members = append(o.members, m)
	}
	var all, readers sync.WaitGroup
	for i, m := range o.members {
		readers.Go(func() { m.readAll(rand.New(rand.NewPCG(o.seed, uint64(100+i)))) })
		all.Go(func() { o.comeAndGo(m, rand.New(rand.NewPCG(o.seed, uint64(200+i)))) })
	}
	for i := range 3 {
		all.Go(func() { o.send(rand.New(rand.NewPCG(o.seed, uint64(300+i)))) })
	}
	all.Wait()
	for _, m := range o.members {
		_ = m.conn.SendText("end") // a closed one has none
	}
	readers.Wait()
	eventually(o.t, "no handler is under way", func() bool { return srv.Stats().Workers.Held == 0 })
	idle(o.t, n)
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, m := range o.members {
		o.check(i, m)
	}
}

// message is the handler's: it sends to the group that the client names, and to the
// connection itself. Some messages are slow.
func (o *orderCheck) message(c *server.Conn, m ws.Message) {
	g, slow, _ := strings.Cut(string(m.Payload), " ")
	number, err := strconv.Atoi(g)
	if err != nil {
		o.t.Error(err)
		return
	}
	s := o.sender()
	s.toGroup(number, "")
	_ = c.SendText(s.text("own")) // it may be closed
	if slow != "" {
		for range 1000 {
			if o.srv.Stats().Workers.Held > 0 {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	s.toGroup(number, "")
	_ = c.SendText(s.text("own"))
}

// send is a goroutine that sends to groups and to connections.
func (o *orderCheck) send(random *rand.Rand) {
	s := o.sender()
	for range 300 {
		switch random.IntN(8) {
		case 0:
			_ = o.members[random.IntN(len(o.members))].conn.SendText(s.text("own")) // it may be closed
		case 1:
			s.toGroup(random.IntN(orderGroups), " "+strings.Repeat("x", 1+random.IntN(3000)))
		default:
			s.toGroup(random.IntN(orderGroups), "")
		}
		if random.IntN(20) == 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// comeAndGo has a connection join and leave, and its client send.
func (o *orderCheck) comeAndGo(m *orderMember, random *rand.Rand) {
	s := o.sender()
	joined := [orderGroups]bool{}
	for i := range 60 {
		g := random.IntN(orderGroups)
		switch k := random.IntN(6); {
		case k == 0 && (m.events != nil || m.closes && i > 40):
		case k == 0:
			slow := []string{"", " slow"}[random.IntN(8)/7]
			m.client.send(frame(opText, strconv.Itoa(g)+slow))
		case k == 1:
			_ = m.conn.SendText(s.text("own")) // it may be closed
		case k == 2:
			s.toGroup(g, "")
		case !joined[g]:
			n, err := o.groups[g].Join(m.conn)
			if err != nil && !(m.closes && errors.Is(err, server.ErrClosed)) {
				o.t.Error(err)
			}
			if joined[g] = err == nil; joined[g] {
				m.spans[g] = append(m.spans[g], [2]uint64{n, 1 << 62})
			}
		default:
			n, ok := o.groups[g].Leave(m.conn)
			if !ok && !m.closes {
				o.t.Error("it was no member")
			}
			if joined[g] = false; ok {
				m.spans[g][len(m.spans[g])-1][1] = n
			}
		}
		if m.closes && i == 50 {
			_ = m.conn.Close(ws.CodeNormal, "") // in the midst
		}
		if random.IntN(10) == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	for g := range joined {
		if n, ok := o.groups[g].Leave(m.conn); ok {
			m.spans[g][len(m.spans[g])-1][1] = n
		}
	}
}

// readAll reads until the end, and stalls at times.
func (m *orderMember) readAll(random *rand.Rand) {
	for {
		payload, more := m.next()
		if !more || payload == "end" {
			return
		}
		text, _, _ := strings.Cut(payload, " x")
		m.read = append(m.read, text)
		if random.IntN(60) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// next reads a message.
func (m *orderMember) next() (text string, ok bool) {
	if m.events != nil {
		e := m.events.next()
		return string(e.Data), e.Name == "message"
	}
	op, payload := m.client.frame()
	return payload, op == opText
}

// check holds what was read against what was sent. Of a connection that was closed it is
// the beginning.
func (o *orderCheck) check(i int, m *orderMember) {
	var got [orderGroups][]string
	last := map[string]int{}
	for _, text := range m.read {
		to, rest, _ := strings.Cut(text, " ")
		sender, count, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		if err != nil || n <= last[sender] {
			o.t.Fatalf("connection %d: %q behind %d of that sender", i, text, last[sender])
		}
		last[sender] = n
		if g, ok := strings.CutPrefix(to, "g"); ok {
			number, _ := strconv.Atoi(g)
			got[number] = append(got[number], text)
		}
	}
	for g := range orderGroups {
		var want []string
		for _, span := range m.spans[g] {
			for n := span[0] + 1; n <= min(span[1], uint64(len(o.sent[g]))); n++ {
				want = append(want, o.sent[g][n])
			}
		}
		if m.closes && len(got[g]) <= len(want) {
			want = want[:len(got[g])]
		}
		if !slices.Equal(got[g], want) {
			o.t.Errorf("connection %d, closed: %v, group %d: got %d messages, want %d: first differ at %d", i, m.closes, g, len(got[g]), len(want), differ(got[g], want))
		}
	}
}

// differ is where two lists differ first.
func differ(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestJoinAndLeaveAtOnce: a membership that is over before its loop has seen it has its
// messages too, however many goroutines send meanwhile.
func TestJoinAndLeaveAtOnce(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Handler, srv.Runtime.Loops = opened(conns), 1 })
	clients, members := openSome(func() *client { return dialSim(t, n, addr) }, conns, 3)
	g := srv.NewGroup(server.GroupOptions{})
	var texts sync.Map // by number
	stop := make(chan struct{})
	var senders, visitors sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				text := fmt.Sprint(s, ".", i)
				if sent, err := g.Send(ws.Prepare(ws.Text, []byte(text))); err == nil {
					texts.Store(sent.Number, text)
				} else if !errors.Is(err, server.ErrNoRoom) {
					t.Error(err)
				}
			}
		})
	}
	type visit struct {
		from, to uint64
		got      []string
	}
	visits := make([][]visit, len(clients))
	for i, c := range clients {
		visitors.Go(func() {
			for range partly(400) {
				var v visit
				var err error
				if v.from, err = g.Join(members[i]); err != nil {
					t.Error(err)
				}
				v.to, _ = g.Leave(members[i])
				_ = members[i].SendText("end")
				for {
					_, text := c.frame()
					if text == "end" {
						break
					}
					v.got = append(v.got, text)
				}
				visits[i] = append(visits[i], v)
			}
		})
	}
	visitors.Wait()
	close(stop)
	senders.Wait()
	for i := range visits {
		for _, v := range visits[i] {
			if len(v.got) != int(v.to-v.from) {
				t.Fatalf("client %d got %d messages of (%d, %d]", i, len(v.got), v.from, v.to)
			}
			for k, text := range v.got {
				if want, _ := texts.Load(v.from + 1 + uint64(k)); want != text {
					t.Fatalf("client %d got %q as number %d, want %v", i, text, v.from+1+uint64(k), want)
				}
			}
		}
	}
}

// TestGroupLogGrows: all comes in order while the log of a loop grows under passes, again and again.
func TestGroupLogGrows(t *testing.T) {
	const rounds, messages = 5, 5000
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1 << 20}, func(srv *server.Server) {
		srv.Handler, srv.Runtime.Loops = opened(conns), 1
	})
	clients, all := openSome(func() *client { return dialSim(t, n, addr) }, conns, 20)
	g := srv.NewGroup(server.GroupOptions{})
	joinAll(t, g, all...)
	for round := range rounds {
		for i := range messages {
			if _, err := g.Send(ws.Prepare(ws.Text, []byte(strconv.Itoa(round*messages+i)))); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range clients {
			for i := range messages {
				c.expect(opText, strconv.Itoa(round*messages+i))
			}
		}
	}
}
