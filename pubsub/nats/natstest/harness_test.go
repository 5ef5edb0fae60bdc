package natstest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// eventually waits until done says so.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// natsServer is a server that can end and begin again, at the same address and with the same store.
type natsServer struct {
	t       testing.TB
	options natsserver.Options
	*natsserver.Server
}

// startServer starts one, with JetStream.
func startServer(t testing.TB, change ...func(*natsserver.Options)) *natsServer {
	t.Helper()
	s := &natsServer{t: t, options: natsserver.Options{
		Host: "127.0.0.1", Port: freePort(t), NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	}}
	for _, c := range change {
		c(&s.options)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	options := s.options
	server, err := natsserver.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	server.Start()
	if !server.ReadyForConnections(patience) {
		s.t.Fatal("nats-server does not start")
	}
	s.Server = server
}

func (s *natsServer) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

func (s *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port) }

// cut ends all connections of clients.
func (s *natsServer) cut() {
	s.t.Helper()
	connz, err := s.Connz(&natsserver.ConnzOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range connz.Conns {
		_ = s.DisconnectClientByID(c.Cid) // it may have gone
	}
}

// startCluster starts three servers.
func startCluster(t testing.TB, change ...func(*natsserver.Options)) (servers []*natsServer) {
	t.Helper()
	var routes []int
	for range 3 {
		routes = append(routes, freePort(t))
	}
	for i := range 3 {
		s := &natsServer{t: t, options: natsserver.Options{
			ServerName: "s" + strconv.Itoa(i), Host: "127.0.0.1", Port: freePort(t), NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			Cluster: natsserver.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: routes[i]},
		}}
		for _, port := range routes {
			s.options.Routes = append(s.options.Routes, natsserver.RoutesFromStr(fmt.Sprintf("nats://127.0.0.1:%d", port))...)
		}
		for _, c := range change {
			c(&s.options)
		}
		servers = append(servers, s)
		t.Cleanup(func() {
			if s.Server != nil {
				s.stop()
			}
		})
	}
	var all sync.WaitGroup
	for _, s := range servers {
		all.Go(s.start)
	}
	all.Wait()
	eventually(t, "a leader of JetStream that knows all", func() bool {
		return slices.ContainsFunc(servers, func(s *natsServer) bool {
			return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers)
		}) &&
			!slices.ContainsFunc(servers, func(s *natsServer) bool { return !s.JetStreamIsCurrent() })
	})
	return servers
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// dial connects another program to a server.
func dial(t testing.TB, url string) *natsgo.Conn {
	t.Helper()
	conn, err := natsgo.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// quiet is a logger for what is expected; MILLRACE_LOG=1 shows it.
func quiet() *slog.Logger {
	if os.Getenv("MILLRACE_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// event is a message, or that something was missed ("" in payload).
type event struct{ name, payload string }

// node is a broker, with what it received.
type node struct {
	t testing.TB
	*nats.Broker
	mu     sync.Mutex
	got    map[string][]pubsub.Message // by topic
	missed map[string]int              // by name
	events []event                     // all that came, in order
	wait   chan struct{}               // if not nil Receive waits for it
}

func startNode(t testing.TB, o nats.Options) *node {
	t.Helper()
	o.Logger = quiet()
	n := &node{t: t, Broker: nats.New(o), got: map[string][]pubsub.Message{}, missed: map[string]int{}}
	if err := n.Start(n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// Receive implements pubsub.Receiver.
func (n *node) Receive(m pubsub.Message, _ pubsub.PublishOptions) (int, error) {
	n.mu.Lock()
	wait := n.wait
	n.mu.Unlock()
	if wait != nil {
		<-wait
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	m.Payload = slices.Clone(m.Payload)
	n.got[m.Topic] = append(n.got[m.Topic], m)
	n.events = append(n.events, event{m.Topic, string(m.Payload)})
	return 1, nil
}

// Missed implements pubsub.Receiver.
func (n *node) Missed(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed[name]++
	n.events = append(n.events, event{name, ""})
}

func (n *node) misses(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.missed[name]
}

func (n *node) texts(topic string) (texts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.got[topic] {
		texts = append(texts, string(m.Payload))
	}
	return texts
}

// want has the node be interested, and waits until NATS knows.
func (n *node) want(names ...string) {
	n.t.Helper()
	before := n.Stats().Unready
	for _, name := range names {
		n.Interest(name, true)
	}
	eventually(n.t, "NATS to know", func() bool { return n.Stats().Unready <= before }) // on a slow machine Position does not wait for that
	for _, name := range names {
		n.Position(name)
	}
}

func (n *node) send(topic, text string) pubsub.Published {
	n.t.Helper()
	p, err := n.Publish(context.Background(), pubsub.Message{Topic: topic, Payload: []byte(text)}, pubsub.PublishOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// expect waits until a topic's messages are these.
func (n *node) expect(topic string, want ...string) {
	n.t.Helper()
	end := time.Now().Add(patience)
	for got := n.texts(topic); !slices.Equal(got, want); got = n.texts(topic) {
		if len(got) > len(want) || time.Now().After(end) {
			n.t.Fatalf("%s: got %q, want %q; %+v", topic, got, want, n.Stats())
		}
		time.Sleep(time.Millisecond)
	}
}

// wantInVain has the node be interested in what NATS does not get to know for now.
func (n *node) wantInVain(name string) {
	n.Interest(name, true)
	n.Position(name) // it waits for a while
}

// gapless checks that what came of a topic are growing numbers, each once, and that where some are
// missing this was told before the next one. It gives how many came and how many are missing.
func (n *node) gapless(topic string) (came, missing int) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	next, told := 0, false
	for _, e := range n.events {
		switch {
		case e.payload == "" && (e.name == "" || e.name == topic):
			told = true
		case e.name == topic:
			number, err := strconv.Atoi(e.payload)
			if err != nil || number < next {
				n.t.Fatalf("%s: %q behind %d", topic, e.payload, next-1)
			}
			if number > next && !told {
				n.t.Fatalf("%s: %d behind %d, and nobody has told", topic, number, next-1)
			}
			missing += number - next
			came, next, told = came+1, number+1, false
		}
	}
	return came, missing
}

// last waits until a topic's last message is this one.
func (n *node) last(topic, text string) {
	n.t.Helper()
	eventually(n.t, topic+": "+text, func() bool { return n.ends(topic, text) })
}

// ends says whether a topic's last message is this one.
func (n *node) ends(topic, text string) bool {
	got := n.texts(topic)
	return len(got) > 0 && got[len(got)-1] == text
}

// proxy stands between a node and a server.
type proxy struct {
	net.Listener
	mu     sync.Mutex
	to     string
	thawed chan struct{} // closed while bytes pass
	conns  []net.Conn
	held   *held // nil: nothing is
}

// held is what connections may bring to the server before it is let go.
type held struct {
	most int // bytes of each
	gone chan struct{}
}

func startProxy(t testing.TB, to int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: fmt.Sprintf("127.0.0.1:%d", to), thawed: make(chan struct{})}
	close(p.thawed)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, server)
			held := p.held
			p.mu.Unlock()
			all.Go(func() { p.pass(c, server, held) })
			all.Go(func() { p.pass(server, c, nil) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.thaw()
		p.letGo()
		p.cut()
		all.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.Addr().String() }

func (p *proxy) pass(from, to net.Conn, h *held) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 4096)
	for total := 0; ; {
		n, err := from.Read(buffer)
		if total += n; h != nil && total > h.most {
			<-h.gone
		}
		p.mu.Lock()
		thawed := p.thawed
		p.mu.Unlock()
		<-thawed
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// freeze lets no byte pass, until thaw does.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thawed = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.thawed:
	default:
		close(p.thawed)
	}
}

// hold has connections that are made from now on bring so many bytes to the server, and the rest when letGo is called.
func (p *proxy) hold(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = &held{most, make(chan struct{})}
}

func (p *proxy) letGo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held.gone)
		p.held = nil
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}
