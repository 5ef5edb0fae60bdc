package pubsub_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// bus carries what nodes tell each other, in one process.
type bus struct {
	mu    sync.Mutex
	nodes map[string]*busBroker
	lose  func(to string, data []byte) bool // if not nil: what does not arrive
}

// busBroker is a node's broker: of one process, but for the bus.
type busBroker struct {
	pubsub.Broker
	bus  *bus
	name string
	hear pubsub.NodeReceiver
	cut  bool        // guarded by bus.mu: nothing comes or goes
	in   chan []byte // what is told
	end  chan struct{}
	all  sync.WaitGroup
}

func (b *bus) join(name string) *busBroker {
	n := &busBroker{Broker: pubsub.InProcess(), bus: b, name: name, in: make(chan []byte, 10_000), end: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes[name] = n
	return n
}

func (b *busBroker) Start(r pubsub.Receiver) error {
	b.hear = r.(pubsub.NodeReceiver)
	b.all.Go(func() {
		for {
			select {
			case data := <-b.in:
				b.hear.Heard(data)
			case <-b.end:
				return
			}
		}
	})
	return b.Broker.Start(r)
}

func (b *busBroker) Node() string { return b.name }

func (b *busBroker) Tell(node string, data []byte) error {
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	if b.cut {
		return fmt.Errorf("%s is cut off", b.name)
	}
	if b.bus.lose != nil && b.bus.lose(node, data) {
		return nil
	}
	for name, other := range b.bus.nodes {
		if other != b && !other.cut && (node == "" || node == name) {
			other.in <- data
		}
	}
	return nil
}

func (b *busBroker) Close() error {
	b.bus.mu.Lock()
	delete(b.bus.nodes, b.name)
	b.bus.mu.Unlock()
	close(b.end)
	b.all.Wait()
	return b.Broker.Close()
}

// cutOff cuts a node off, or no more.
func (b *busBroker) cutOff(cut bool) {
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	b.cut = cut
}

const beat = 200 * time.Millisecond

func (b *bus) rig(t *testing.T, name string) (*rig, *busBroker) { return b.rigAt(t, name, beat) }

func (b *bus) rigAt(t *testing.T, name string, beat time.Duration) (*rig, *busBroker) {
	broker := b.join(name)
	return newRig(t, pubsub.Options{Broker: broker, Heartbeat: beat, Rules: []pubsub.Rule{{Filter: "room/#", Presence: true}}}), broker
}

// users are the names of a topic's members, sorted.
func users(h *pubsub.Hub, topic string) (names []string) {
	for _, m := range h.Members(topic) {
		names = append(names, m.User)
	}
	slices.Sort(names)
	return names
}

func (r *rig) enter(user, topic string) *servertest.Client {
	r.t.Helper()
	client, conn := r.connect()
	r.hub.SetUser(conn, user)
	r.subscribe(conn, topic, pubsub.SubscribeOptions{Info: []byte(`{"of":"` + user + `"}`)})
	return client
}

// TestNodesPresence: each node knows the members of all, whoever came first; who goes is gone
// everywhere, and so are those of a node that ends, or falls silent; and a partition is told.
func TestNodesPresence(t *testing.T) {
	t.Parallel()
	b := &bus{nodes: map[string]*busBroker{}}
	one, _ := b.rig(t, "one")
	ann := one.enter("ann", "room/1")
	two, _ := b.rig(t, "two")
	two.enter("bob", "room/1")
	everywhere := func(want ...string) func() bool {
		return func() bool {
			return slices.Equal(users(one.hub, "room/1"), want) && slices.Equal(users(two.hub, "room/1"), want)
		}
	}
	one.eventually("both to know both", everywhere("ann", "bob"))
	for i := range 500 { // more than one message has
		one.enter(fmt.Sprint("user", i), "room/2")
	}
	three, brokerThree := b.rig(t, "three")
	one.eventually("a new node to know all", func() bool {
		return len(three.hub.Members("room/2")) == 500 && slices.Equal(users(three.hub, "room/1"), []string{"ann", "bob"}) && !three.hub.Partial()
	})
	ann.Abort()
	one.eventually("ann to be gone", everywhere("bob"))
	if nodes := two.hub.Nodes(); len(nodes) != 3 || nodes[0].ID != "two" || nodes[1].Connections < 500 {
		t.Errorf("%+v", nodes)
	}
	three.enter("cid", "room/1")
	one.eventually("cid to be there", everywhere("bob", "cid"))
	brokerThree.cutOff(true) // as if it were killed
	one.eventually("a silent node's members to be gone", everywhere("bob"))
	one.eventually("each side to say that it may lack some", func() bool { return one.hub.Partial() && two.hub.Partial() && three.hub.Partial() })
	if got := users(three.hub, "room/1"); !slices.Contains(got, "cid") {
		t.Errorf("the other side lacks its own: %q", got)
	}
	two.enter("dan", "room/1")
	brokerThree.cutOff(false)
	one.eventually("all to be there again", func() bool {
		want := []string{"bob", "cid", "dan"}
		return everywhere(want...)() && slices.Equal(users(three.hub, "room/1"), want) && !one.hub.Partial() && !three.hub.Partial()
	})
	if err := two.hub.Close(); err != nil {
		t.Error(err)
	}
	one.eventually("who said goodbye to be gone", func() bool {
		return slices.Equal(users(one.hub, "room/1"), []string{"cid"}) && len(one.hub.Nodes()) == 2 && !one.hub.Partial()
	})
}

// TestNodesEvents: what happens to a topic is told on all nodes, once; a user is one member, and one that comes
// back at once makes no noise.
func TestNodesEvents(t *testing.T) {
	t.Parallel()
	b := &bus{nodes: map[string]*busBroker{}}
	one, _ := b.rigAt(t, "one", 400*time.Millisecond)
	two, _ := b.rigAt(t, "two", 400*time.Millisecond)
	one.eventually("the nodes to know each other", func() bool {
		nodes := slices.Concat(one.hub.Nodes(), two.hub.Nodes())
		return len(nodes) == 4 && !slices.ContainsFunc(nodes, func(n pubsub.Node) bool { return !n.Ready })
	})
	watchers := []*servertest.Client{}
	for _, r := range []*rig{one, two} {
		client, _ := r.subscribed("$presence/room/1")
		watchers = append(watchers, client)
	}
	expect := func(want ...string) {
		t.Helper()
		for i, w := range watchers {
			for _, text := range want {
				var e struct {
					Event, Topic string
					Member       struct{ User string }
				}
				if w.ReceiveJSON(&e); e.Event+" "+e.Member.User != text || e.Topic != "room/1" {
					t.Fatalf("watcher %d: %+v, want %q", i, e, text)
				}
			}
		}
	}
	first := one.enter("ann", "room/1")
	expect("occupied ", "join ann")
	second := two.enter("ann", "room/1") // another connection of hers
	two.eventually("it to be there", func() bool { return len(one.hub.Members("room/1")) == 2 })
	first.Abort()
	second.Abort()
	third := two.enter("ann", "room/1") // the page was loaded again
	two.eventually("the others to be gone", func() bool { return len(one.hub.Members("room/1")) == 1 })
	two.enter("bob", "room/1")
	expect("join bob")
	third.Abort()
	expect("leave ann")
}

// TestNodesControl: a user's connections are closed, or unsubscribed, on all nodes.
func TestNodesControl(t *testing.T) {
	t.Parallel()
	b := &bus{nodes: map[string]*busBroker{}}
	one, _ := b.rig(t, "one")
	two, _ := b.rig(t, "two")
	one.eventually("the nodes to know each other", func() bool { return len(one.hub.Nodes()) == 2 })
	ann, annToo, bob := one.enter("ann", "room/1"), two.enter("ann", "room/1"), two.enter("bob", "room/1")
	if n := one.hub.UnsubscribeUser("ann", "room/1"); n != 1 {
		t.Errorf("%d unsubscribed here", n)
	}
	one.eventually("only bob to be there", func() bool {
		return slices.Equal(users(two.hub, "room/1"), []string{"bob"}) && slices.Equal(users(one.hub, "room/1"), []string{"bob"})
	})
	if n := two.hub.CloseUser("ann", 4000, "enough"); n != 1 {
		t.Errorf("%d closed here", n)
	}
	for _, c := range []*servertest.Client{ann, annToo} {
		if e := c.ReceiveClose(); e.Code != ws.Code(4000) || e.Reason != "enough" {
			t.Errorf("%+v", e)
		}
	}
	two.publish("room/1", "still here")
	expectTexts(t, bob, "still here")
	if one.hub.CloseUser("", 4000, "") != 0 {
		t.Error("nobody's connections were closed")
	}
	nobody := one.enter("", "room/1")
	for _, text := range []string{`{"from":"two","order":{"code":4000}}`, "nothing"} {
		if err := b.nodes["two"].Tell("one", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	one.eventually("both to be heard", func() bool { return one.hub.Stats().NodesFailed > 0 })
	one.publish("room/1", "here too")
	expectTexts(t, nobody, "here too")
}

// FuzzHeard: whatever another node tells, a hub reads it or counts it.
func FuzzHeard(f *testing.F) {
	for _, m := range []map[string]any{
		{"from": "x", "beat": map[string]any{"id": "x"}}, {"from": "x", "all": map[string]any{"set": 1, "part": 1, "of": 1}},
		{"from": "x", "changes": []any{map[string]any{"topic": "a", "gone": true}}, "revision": 1}, {"from": "x", "order": map[string]any{"user": "u"}},
		{"from": "x", "event": map[string]any{"topic": "a"}}, {"from": "x", "bye": true}, {"from": "x", "sync": true},
	} {
		text, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		b := &bus{nodes: map[string]*busBroker{}}
		r, broker := b.rig(t, "one")
		broker.in <- first
		broker.in <- second
		broker.in <- []byte("nothing")
		r.eventually("both to be heard", func() bool { return len(broker.in) == 0 && r.hub.Stats().NodesFailed > 0 })
		r.hub.Members("room/1")
	})
}
