package natstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
)

// heartbeat is that of the nodes here.
const heartbeat = 200 * time.Millisecond

// host is a node as users run it: a server with a hub on NATS.
type host struct {
	t      testing.TB
	srv    *servertest.Server
	hub    *pubsub.Hub
	broker *nats.Broker
	mu     sync.Mutex // held by who connects
	conns  chan *server.Conn
	gaps   chan string
}

func startHost(t testing.TB, o nats.Options, rules ...pubsub.Rule) *host {
	t.Helper()
	o.Logger = quiet()
	h := &host{t: t, broker: nats.New(o), conns: make(chan *server.Conn, 1), gaps: make(chan string, 1000)}
	srv := &server.Server{Handler: server.HandlerFuncs{OnOpen: func(c *server.Conn) { h.conns <- c }}}
	srv.Runtime.Loops = 2
	var err error
	if h.hub, err = pubsub.New(srv, pubsub.Options{Broker: h.broker, Rules: rules, Heartbeat: heartbeat, OnMissed: func(name string) {
		select {
		case h.gaps <- name:
		default:
		}
	}}); err != nil {
		t.Fatal(err)
	}
	h.srv = servertest.Start(t, srv)
	t.Cleanup(func() {
		if err := h.hub.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) connect() (*servertest.Client, *server.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	client := h.srv.Connect("/")
	return client, <-h.conns
}

// subscribe connects a client and subscribes it.
func (h *host) subscribe(name string, o pubsub.SubscribeOptions) (*servertest.Client, pubsub.Subscribed) {
	client, conn := h.connect()
	s, err := h.hub.Subscribe(conn, name, o)
	if err != nil {
		h.t.Error(err)
	}
	return client, s
}

func (h *host) publish(topic, text string) pubsub.Position {
	h.t.Helper()
	p, err := h.hub.Publish(context.Background(), pubsub.Message{Topic: topic, Payload: []byte(text)}, pubsub.PublishOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return p.Position
}

// TestHubs: subscribers on all nodes get what is published on any.
func TestHubs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "HU")
	hosts := []*host{startHost(t, o), startHost(t, o), startHost(t, o)}
	for _, topic := range []string{"core/a", "kept/a"} {
		var clients []*servertest.Client
		for _, h := range hosts {
			for _, name := range []string{topic, topic, "+/a"} {
				client, _ := h.subscribe(name, pubsub.SubscribeOptions{})
				clients = append(clients, client)
			}
		}
		for i, h := range hosts {
			h.publish(topic, strconv.Itoa(i))
			for _, c := range clients { // so that they do not overtake each other
				if got := c.ReceiveText(); got != strconv.Itoa(i) {
					t.Fatalf("%s: got %q, want %d", topic, got, i)
				}
			}
		}
	}
	for topic, want := range map[string]int{"core/a": 4, "kept/a": 4, "core/b": 0, "kept/b": 0} {
		if p, err := hosts[0].hub.Publish(t.Context(), pubsub.Message{Topic: topic}, pubsub.PublishOptions{}); err != nil || p.Members != want {
			t.Errorf("%s: %+v, %v, want %d members", topic, p, err, want)
		}
	}
	for _, h := range hosts {
		if len(h.gaps) != 0 {
			t.Errorf("told that %q may be missing", <-h.gaps)
		}
	}
}

// TestResumeElsewhere: who comes back on another node, with a position of any topic, has every message of
// the time between, in order, once; and who can't have all is told.
func TestResumeElsewhere(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "RE")
	o.Stream.Messages = 60
	rule := pubsub.Rule{Filter: "kept/#", Messages: 20}
	a, b := startHost(t, o, rule), startHost(t, o, rule)
	var at []pubsub.Position
	for i := range 100 {
		at = append(at, a.publish("kept/t", strconv.Itoa(i)))
	}
	other := a.publish("kept/other", "x")
	for _, tt := range []struct {
		since     pubsub.Position
		first     int
		recovered bool
	}{
		{at[99], 100, true}, {other, 100, true}, {at[60], 61, true}, {at[85], 86, true}, {at[50], 51, true}, {at[10], 45, false},
		{pubsub.Position{Epoch: "other", Number: 5}, 86, false},
	} {
		client, sub := b.subscribe("kept/t", pubsub.SubscribeOptions{Since: tt.since})
		if sub.Recovered != tt.recovered {
			t.Errorf("since %v: %+v", tt.since, sub)
		}
		text := fmt.Sprintf("%d-%d", tt.first, sub.Sent)
		live := a.publish("kept/t", text) // behind all that is kept
		next := tt.first
		for range sub.Sent {
			if got := client.ReceiveText(); got != strconv.Itoa(next) && next < 100 {
				t.Fatalf("since %v: got %q, want %d", tt.since, got, next)
			}
			next++
		}
		if got := client.ReceiveText(); got != text {
			t.Fatalf("since %v: got %q, want the live one, %v", tt.since, got, live)
		}
		client.Abort()
		if err := a.hub.Purge("kept/none"); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.hub.Stats(); s.FetchFailed != 0 {
		t.Errorf("%+v", s)
	}
	messages, complete, err := b.hub.History("kept/t", at[95], pubsub.HistoryBound{Messages: 3})
	if err != nil || !complete || len(messages) != 3 || string(messages[2].Payload) != "98" {
		t.Errorf("%v, %v, %v", messages, complete, err)
	}
	client, _ := b.subscribe("kept/other", pubsub.SubscribeOptions{Last: 5})
	if got := client.ReceiveText(); got != "x" {
		t.Errorf("the last one: %q", got)
	}
}

// TestHerd: 10,000 clients whose node is gone come back to another one at once: all have
// everything, and JetStream is asked a handful of times.
func TestHerd(t *testing.T) {
	t.Parallel()
	herd := 10_000
	if testing.Short() {
		herd = 1000
	}
	s := startServer(t)
	o := streamed(s.url(), "HE")
	rule := pubsub.Rule{Filter: "kept/#", Messages: 1000}
	a, b := startHost(t, o, rule), startHost(t, o, rule)
	const messages = 100
	var at []pubsub.Position
	for i := range messages {
		at = append(at, a.publish("kept/t", strconv.Itoa(i)))
	}
	if err := a.hub.Close(); err != nil {
		t.Fatal(err)
	}
	other := dial(t, s.url())
	asked, err := other.SubscribeSync("$JS.API.>")
	if err != nil || other.Flush() != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var all sync.WaitGroup
	work := make(chan int)
	for range 32 {
		all.Go(func() {
			for seed := range work {
				from := rand.New(rand.NewPCG(1, uint64(seed))).IntN(messages - 1)
				client, sub := b.subscribe("kept/t", pubsub.SubscribeOptions{Since: at[from]})
				if !sub.Recovered || sub.Sent != messages-1-from {
					t.Errorf("since message %d: %+v", from, sub)
				}
				for i := from + 1; i < messages; i++ {
					if got := client.ReceiveText(); got != strconv.Itoa(i) {
						t.Errorf("got %q, want %d", got, i)
						break
					}
				}
				client.Abort()
			}
		})
	}
	for i := range herd {
		work <- i
	}
	close(work)
	all.Wait()
	requests := map[string]int{}
	for {
		m, err := asked.NextMsg(50 * time.Millisecond)
		if errors.Is(err, natsgo.ErrTimeout) {
			break
		}
		requests[m.Subject]++
	}
	total := 0
	for _, n := range requests {
		total += n
	}
	looks := int(time.Since(began)/(3*time.Second)) + 1 // that each node has at the stream by itself
	t.Logf("%d clients in %v: %d requests of JetStream, %v, %+v", herd, time.Since(began), total, requests, b.hub.Stats().Fetched)
	if total > 50+looks {
		t.Errorf("%d requests of JetStream", total)
	}
}

// TestRollingDeploy: while somebody publishes, clients move from node to node with the position that they had,
// and new nodes come: each client has every message, in order, once.
func TestRollingDeploy(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "RD")
	rule := pubsub.Rule{Filter: "kept/#", Messages: 10_000}
	publisher := startNode(t, o)
	const messages, clients = 2000, 10
	at := make([]chan pubsub.Position, messages)
	for i := range at {
		at[i] = make(chan pubsub.Position, 1)
	}
	at[0] <- publisher.send("kept/t", "0").Position
	nodes := make([]*host, messages/150+2) // the one of each turn, when it is needed
	for i := range nodes {
		nodes[i] = startHost(t, o, rule)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for i := 1; i < messages; i++ {
			at[i] <- publisher.send("kept/t", strconv.Itoa(i)).Position
		}
	})
	for i := range clients {
		all.Go(func() {
			next := 1
			for turn := i; next < messages; turn++ {
				since := <-at[next-1]
				at[next-1] <- since
				client, sub := nodes[turn%len(nodes)].subscribe("kept/t", pubsub.SubscribeOptions{Since: since})
				if !sub.Recovered {
					t.Errorf("client %d behind message %d: %+v", i, next-1, sub)
					return
				}
				for n := 0; n < 150 && next < messages; n++ {
					if got := client.ReceiveText(); got != strconv.Itoa(next) {
						t.Errorf("client %d got %q, want %d", i, got, next)
						return
					}
					next++
				}
				client.Abort()
			}
		})
	}
	all.Wait()
}

// TestForeignKey: a message of another program whose key is too long comes without one, at once and from the past.
func TestForeignKey(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "FK")
	h, other := startHost(t, o), dial(t, s.url())
	live := map[string]*servertest.Client{}
	for _, topic := range []string{"kept/a", "core/a"} {
		live[topic], _ = h.subscribe(topic, pubsub.SubscribeOptions{})
	}
	for topic, client := range live {
		for _, size := range []int{257, 256, 2000} {
			text := fmt.Sprint(topic, size)
			msg := &natsgo.Msg{Subject: "FK." + strings.ReplaceAll(topic, "/", "."), Data: []byte(text), Header: natsgo.Header{"Millrace-Key": {strings.Repeat("k", size)}}}
			if err := other.PublishMsg(msg); err != nil || other.Flush() != nil {
				t.Fatal(err)
			}
			if got := client.ReceiveText(); got != text {
				t.Errorf("got %q, want %q", got, text)
			}
		}
	}
	client, sub := h.subscribe("kept/a", pubsub.SubscribeOptions{Last: 10})
	for _, size := range []int{257, 256, 2000} {
		if got, want := client.ReceiveText(), fmt.Sprint("kept/a", size); got != want {
			t.Errorf("%+v: got %q, want %q", sub, got, want)
		}
	}
	if len(h.gaps) != 0 || h.broker.Stats().Refused != 0 {
		t.Errorf("%+v", h.broker.Stats())
	}
}
