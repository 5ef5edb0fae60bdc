package natstest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// publishing has a node publish numbers to a topic, until stop is called, which gives how many
// NATS has taken. Those that are refused are published again.
func publishing(n *node, topic string) (stop func() int) {
	ending, sent := make(chan struct{}), make(chan int)
	go func() {
		for number := 0; ; {
			select {
			case <-ending:
				sent <- number
				return
			default:
			}
			_, err := n.Publish(context.Background(), pubsub.Message{Topic: topic, Payload: []byte(strconv.Itoa(number))}, pubsub.PublishOptions{})
			switch {
			case err == nil || errors.Is(err, pubsub.ErrUnknown):
				number++ // it may be there
			case !errors.Is(err, nats.ErrDisconnected) && !errors.Is(err, nats.ErrNoStream):
				n.t.Errorf("publishing: %v", err)
			}
			time.Sleep(50 * time.Microsecond)
		}
	}()
	return func() int {
		close(ending)
		return <-sent
	}
}

// TestServerDies: while there is no server nothing can be published; what was lost with it is told, and
// all goes on when there is one.
func TestServerDies(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a, b := startNode(t, nats.Options{URLs: []string{s.url()}}), startNode(t, nats.Options{URLs: []string{s.url()}})
	b.want("t", "t/#")
	stop := publishing(a, "t")
	for round := range 3 {
		before := len(b.texts("t"))
		eventually(t, "messages", func() bool { return len(b.texts("t")) > before+100 })
		s.stop()
		eventually(t, "the nodes to notice", func() bool { return !a.Stats().Connected && !b.Stats().Connected })
		if _, err := a.Publish(t.Context(), pubsub.Message{Topic: "t"}, pubsub.PublishOptions{}); !errors.Is(err, nats.ErrDisconnected) {
			t.Errorf("published without a server: %v", err)
		}
		b.Interest("late"+strconv.Itoa(round), true)
		s.start()
	}
	before := len(b.texts("t"))
	eventually(t, "messages", func() bool { return len(b.texts("t")) > before+100 })
	sent := stop()
	b.last("t", strconv.Itoa(sent-1))
	came, missing := b.gapless("t")
	if came+missing != sent || b.misses("") != 3 || b.Stats().Lost != 3 || b.Stats().Connects != 4 {
		t.Errorf("%d sent, %d came, %d are missing, %d times told, %+v", sent, came, missing, b.misses(""), b.Stats())
	}
	b.Position("late0")
	a.send("late0", "1")
	b.expect("late0", "1")
	t.Logf("%d sent, %d lost over 3 ends of the server", sent, missing)
}

// TestPositionWithoutServer: who asks where a topic is while there is no server, and relies on getting what comes behind it, is told when there is
// one again, also of a topic that was wanted before.
func TestPositionWithoutServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := startNode(t, nats.Options{URLs: []string{s.url()}})
	b.want("wanted", "lingers", "not asked")
	b.Interest("lingers", false)
	s.stop()
	eventually(t, "the node to notice, and to tell", func() bool { return !b.Stats().Connected && b.misses("") == 1 })
	b.Interest("lingers", true)
	b.Position("wanted")
	b.Position("lingers")
	s.start()
	eventually(t, "the new server to know all", func() bool { return b.Stats().Connected && b.Stats().Unready == 0 })
	for name, want := range map[string]int{"wanted": 1, "lingers": 1, "not asked": 0, "": 1} {
		if got := b.misses(name); got != want {
			t.Errorf("%q: told %d times, want %d", name, got, want)
		}
	}
}

// TestCut: connections that end in the middle lose messages, and each loss is told.
func TestCut(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a, b := startNode(t, nats.Options{URLs: []string{s.url()}}), startNode(t, nats.Options{URLs: []string{s.url()}, Interest: nats.ByTopic})
	b.want("t")
	stop := publishing(a, "t")
	for range 5 {
		before := len(b.texts("t"))
		eventually(t, "messages", func() bool { return len(b.texts("t")) > before+50 })
		s.cut()
	}
	before := len(b.texts("t"))
	eventually(t, "messages", func() bool { return len(b.texts("t")) > before+50 })
	sent := stop()
	b.last("t", strconv.Itoa(sent-1))
	if came, missing := b.gapless("t"); came+missing != sent || b.Stats().Lost < 5 {
		t.Errorf("%d sent, %d came, %d are missing, %+v", sent, came, missing, b.Stats())
	}
}

// TestManyTopics: a node that wants very many topics, and whose connection ends while it tells the server of them, gets the
// messages of each of them afterwards.
func TestManyTopics(t *testing.T) {
	t.Parallel()
	const topics = 10_000
	s := startServer(t)
	a, b := startNode(t, nats.Options{URLs: []string{s.url()}, Interest: nats.All}), startNode(t, nats.Options{URLs: []string{s.url()}})
	name := func(i int) string { return "many/" + strconv.Itoa(i) }
	for i := range topics {
		b.Interest(name(i), true)
	}
	for range 2 {
		eventually(t, "the server to know some", func() bool { return b.Stats().Unready < topics })
		before := b.Stats().Connects
		s.cut()
		eventually(t, "another connection", func() bool { return a.Stats().Connected && b.Stats().Connected && b.Stats().Connects > before })
	}
	eventually(t, "the server to know all", func() bool { return b.Stats().Unready == 0 })
	for i := range topics {
		if i%1000 == 0 { // no more than there is room for
			eventually(t, "what was sent", func() bool { return b.Stats().Received == uint64(i) })
		}
		a.send(name(i), "1")
	}
	for i := range topics {
		b.expect(name(i), "1")
	}
}

// known gives a topic below many/ that the server knows from a second connection.
func (s *natsServer) known() (topic string) {
	s.t.Helper()
	connz, err := s.Connz(&natsserver.ConnzOptions{SubscriptionsDetail: true})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range connz.Conns {
		for _, sub := range c.SubsDetail {
			if topic, ok := strings.CutPrefix(sub.Subject, "T.many."); ok && strings.HasSuffix(sub.Queue, "-1") {
				return "many/" + topic
			}
		}
	}
	s.t.Fatal("the server knows no topic")
	return ""
}

// TestKnownTopicsLive: while a server is still being told of very many topics, behind a lost connection, the messages of those that it knows
// come already. A stream's topics follow when it knows all, and nothing of them is lost.
func TestKnownTopicsLive(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		topics int
		stream *nats.Stream
	}{"core": {100_000, nil}, "beside a stream": {20_000, &nats.Stream{Name: "KT", Topics: []string{"kept/#"}}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := startProxy(t, s.options.Port)
			o := nats.Options{URLs: []string{s.url()}, Prefix: "T", Stream: tt.stream}
			a := startNode(t, o)
			o.URLs = []string{p.url()}
			b := startNode(t, o)
			b.want("kept/t")
			for i := range tt.topics {
				b.Interest("many/"+strconv.Itoa(i), true)
			}
			eventually(t, "the server to know some", func() bool { return b.Stats().Unready < tt.topics })
			p.hold(400_000) // of 4,096 topics, and some more
			p.cut()
			eventually(t, "the next connection", func() bool { return b.Stats().Connected && b.Stats().Connects == 2 })
			eventually(t, "its server to know some", func() bool { return b.Stats().Unready < tt.topics })
			for i := range 5 {
				a.send("kept/t", strconv.Itoa(i))
			}
			topic := s.known()
			a.send(topic, "early")
			b.expect(topic, "early")
			if b.Stats().Unready == 0 {
				t.Error("the server has been told of all topics")
			}
			if tt.stream == nil {
				return
			}
			b.expect("kept/t") // not yet
			p.letGo()
			b.expect("kept/t", "0", "1", "2", "3", "4")
			a.send("kept/t", "5")
			b.expect("kept/t", "0", "1", "2", "3", "4", "5")
			if n := b.misses("kept/t"); n > 0 {
				t.Errorf("told %d times that something is missing", n)
			}
		})
	}
}

// TestSlowNode: a node that is too slow loses messages that are counted, tells so, and goes on.
func TestSlowNode(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n, other := startNode(t, nats.Options{URLs: []string{s.url()}, Pending: 100}), dial(t, s.url())
	n.want("t")
	n.mu.Lock()
	n.wait = make(chan struct{})
	n.mu.Unlock()
	const sent = 5000
	for i := range sent {
		if err := other.Publish("t", []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "messages to be dropped", func() bool { return n.Stats().Dropped > 0 })
	n.mu.Lock()
	close(n.wait)
	n.wait = nil
	n.mu.Unlock()
	eventually(t, "the loss to be told", func() bool { return n.misses("") > 0 })
	for i := sent; n.misses("") > 0 && !n.ends("t", strconv.Itoa(i-1)); i++ {
		if err := other.Publish("t", []byte(strconv.Itoa(i))); err != nil || other.Flush() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	came, missing := n.gapless("t")
	if stats := n.Stats(); uint64(missing) != stats.Dropped || uint64(came) != stats.Received || missing < sent/2 || stats.Lost != 0 {
		t.Errorf("%d came, %d are missing, %+v", came, missing, stats)
	}
}

// TestStalledNode: a server that can't get rid of a node's messages cuts it, and it tells so.
func TestStalledNode(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *natsserver.Options) {
		o.MaxPayload, o.MaxPending, o.WriteDeadline = 32<<10, 64<<10, 200*time.Millisecond
	})
	p := startProxy(t, s.options.Port)
	n, other := startNode(t, nats.Options{URLs: []string{p.url()}}), dial(t, s.url())
	n.want("t")
	p.freeze()
	number := 0
	publish := func() {
		text := []byte(strconv.Itoa(number))
		if err := other.Publish("t", text); err != nil {
			t.Fatal(err)
		}
		if err := other.Publish("t.filler", make([]byte, 30_000)); err != nil || other.Flush() != nil {
			t.Fatal(err)
		}
		number++
	}
	n.Interest("t/filler", true)
	p.thaw()
	n.Position("t/filler")
	p.freeze()
	eventually(t, "the server to cut the node", func() bool {
		publish()
		return s.NumSlowConsumers() > 0
	})
	p.thaw()
	eventually(t, "the loss to be told", func() bool { return n.misses("") > 0 })
	eventually(t, "a message behind it", func() bool {
		publish()
		return n.ends("t", strconv.Itoa(number-1))
	})
	if came, missing := n.gapless("t"); came+missing != number || missing == 0 || n.Stats().Lost != 1 {
		t.Errorf("%d came, %d are missing of %d, %+v", came, missing, number, n.Stats())
	}
}

// TestPartition: behind a partition each side tells that something may be missing, if it was the one
// that was cut off.
func TestPartition(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.options.Port)
	a, b := startNode(t, nats.Options{URLs: []string{s.url()}}), startNode(t, nats.Options{URLs: []string{p.url()}})
	a.want("t")
	b.want("t")
	stop := publishing(a, "t")
	eventually(t, "messages", func() bool { return len(b.texts("t")) > 10 })
	p.freeze()
	eventually(t, "messages on the one side", func() bool { return len(a.texts("t")) > len(b.texts("t"))+200 })
	p.cut()
	p.thaw()
	before := len(b.texts("t"))
	eventually(t, "messages on the other side", func() bool { return len(b.texts("t")) > before+50 })
	sent := stop()
	b.last("t", strconv.Itoa(sent-1))
	if came, missing := a.gapless("t"); came != sent || missing != 0 || a.misses("") != 0 {
		t.Errorf("the side of the server: %d of %d came, %d are missing", came, sent, missing)
	}
	if came, missing := b.gapless("t"); came+missing != sent || missing == 0 || b.misses("") != 1 {
		t.Errorf("the other side: %d of %d came, %d are missing, told %d times", came, sent, missing, b.misses(""))
	}
}

// TestRetry: with Options.Retry a node starts without a server, and is connected when there is one.
func TestRetry(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.stop()
	n := startNode(t, nats.Options{URLs: []string{s.url()}, Retry: true})
	n.Interest("t", true)
	if _, err := n.Publish(t.Context(), pubsub.Message{Topic: "t"}, pubsub.PublishOptions{}); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("published without a server: %v", err)
	}
	s.start()
	eventually(t, "a connection", func() bool { return n.Stats().Connected })
	n.Position("t")
	if err := dial(t, s.url()).Publish("t", []byte("1")); err != nil {
		t.Fatal(err)
	}
	n.expect("t", "1")
}
