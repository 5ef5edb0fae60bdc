package natstest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/ws"
)

// TestNotRecovered: who comes back to a topic without a stream is not recovered over a time in which its node was not subscribed to it, or had no
// connection, though nothing else has come to the node meanwhile.
func TestNotRecovered(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const topic = "t"
	unwanted := func(a, _ *host) {
		eventually(t, "the node to want the topic no more", func() bool { return a.broker.Stats().Subscriptions == 0 })
	}
	cut := func(a, b *host) {
		s.cut()
		eventually(t, "the next connections", func() bool { return a.broker.Stats().Connects == 2 && b.broker.Stats().Connects == 2 })
		unwanted(a, b)
	}
	visit := func(a *host) pubsub.Position {
		client, sub := a.subscribe(topic, pubsub.SubscribeOptions{})
		client.Close(ws.CodeNormal, "")
		eventually(t, "nobody to be there", func() bool {
			stats, err := a.hub.TopicStats(topic)
			return err == nil && stats.Subscribers == 0
		})
		return sub.Position
	}
	unkept := func(a *host) pubsub.Position {
		p, err := a.hub.Publish(t.Context(), pubsub.Message{Topic: topic, Payload: []byte("x")}, pubsub.PublishOptions{NotKept: true})
		if err != nil {
			t.Fatal(err)
		}
		return p.Position
	}
	stats := func(a *host) pubsub.Position {
		stats, err := a.hub.TopicStats(topic)
		if err != nil {
			t.Fatal(err)
		}
		return stats.Position
	}
	for name, tt := range map[string]struct {
		linger time.Duration
		from   func(*host) pubsub.Position // where the client has a position from
		gone   func(a, b *host)            // how the node loses what comes then
		kept   bool                        // it publishes a message that is kept before the client comes back
	}{
		"unsubscribed": {time.Nanosecond, visit, unwanted, false}, "unsubscribed, and a message": {time.Nanosecond, visit, unwanted, true},
		"cut while it lingers": {time.Hour, visit, cut, false}, "cut while it lingers, and a message": {time.Hour, visit, cut, true},
		"published, never wanted": {time.Hour, unkept, unwanted, false}, "published, never wanted, and a message": {time.Hour, unkept, unwanted, true},
		"asked, never wanted": {time.Hour, stats, unwanted, false}, "asked, never wanted, and a message": {time.Hour, stats, unwanted, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := nats.Options{URLs: []string{s.url()}, Prefix: strconv.Itoa(len(name)), Linger: tt.linger}
			a, b := startHost(t, o, pubsub.Rule{Filter: "#", Messages: 10}), startHost(t, o)
			since := tt.from(a)
			tt.gone(a, b)
			b.publish(topic, "lost")
			if tt.kept {
				a.publish(topic, "kept")
			}
			if _, sub := a.subscribe(topic, pubsub.SubscribeOptions{Since: since}); sub.Recovered {
				t.Errorf("recovered behind %v: %+v", since, sub)
			}
		})
	}
}

// TestEarlyByFilter: behind a lost connection, members of a filter get what their node publishes before the server knows the filter. What others
// publish meanwhile is lost, and told before what comes then.
func TestEarlyByFilter(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.options.Port)
	a, b := startNode(t, nats.Options{URLs: []string{s.url()}}), startNode(t, nats.Options{URLs: []string{p.url()}})
	for i := range 20_000 { // so that the filter is hardly among the first that the server is told of
		b.Interest("many/"+strconv.Itoa(i), true)
	}
	b.want("f/+")
	p.hold(1000) // no more than it takes to connect
	p.cut()
	eventually(t, "the next connection", func() bool { return b.Stats().Connected && b.Stats().Connects == 2 })
	b.send("f/a", "0")
	b.expect("f/a", "0")
	a.send("f/a", "lost")
	p.letGo()
	eventually(t, "the server to know all", func() bool { return b.Stats().Unready == 0 })
	a.send("f/a", "1")
	b.expect("f/a", "0", "1")
	b.mu.Lock()
	defer b.mu.Unlock()
	if end := fmt.Sprint(b.events[len(b.events)-3:]); end != "[{f/a 0} {f/+ } {f/a 1}]" {
		t.Error(end)
	}
}

// TestPublisherLoses: what a node has published, and its connection has taken with it, is told on the other nodes before its next message.
func TestPublisherLoses(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, o := range map[string]nats.Options{
		"plain": {URLs: []string{s.url()}, Prefix: "PL"}, "beside a stream": streamed(s.url(), "PS"), "all": {URLs: []string{s.url()}, Interest: nats.All},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, s.options.Port)
			b := startNode(t, o)
			b.want("t", "t/+")
			o.URLs = []string{p.url()}
			a := startNode(t, o)
			told := func() int { return b.misses("") + b.misses("t") }
			next := 0
			send := func() {
				a.send("t", strconv.Itoa(next))
				next++
			}
			reconnect := func() {
				before := a.Stats().Connects
				p.cut()
				p.thaw()
				eventually(t, "the next connection", func() bool { return a.Stats().Connected && a.Stats().Connects > before })
			}
			reconnect() // nothing was published
			send()
			b.last("t", "0")
			if n := told(); n != 0 {
				t.Errorf("told %d times of nothing", n)
			}
			p.freeze()
			send() // it does not get there
			reconnect()
			send()
			b.last("t", "2")
			if came, missing := b.gapless("t"); came != 2 || missing != 1 || told() != 1 {
				t.Errorf("%d came and %d are missing, told %d times", came, missing, told())
			}
			reconnect() // perhaps the note was lost
			send()
			b.last("t", "3")
			if came, missing := b.gapless("t"); came != 3 || missing != 1 || told() != 2 || b.Stats().Lost != 0 {
				t.Errorf("%d came and %d are missing, told %d times, %+v", came, missing, told(), b.Stats())
			}
		})
	}
}

// TestStreamPublisherLosesNothing: when the connection of a node ends that has published to a stream only, nobody is told of a gap.
func TestStreamPublisherLosesNothing(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.options.Port)
	o := streamed(s.url(), "PN")
	b := startNode(t, o)
	b.want("kept/t", "core/t")
	o.URLs = []string{p.url()}
	a := startNode(t, o)
	a.send("kept/t", "0")
	p.cut()
	eventually(t, "the next connection", func() bool { return a.Stats().Connected && a.Stats().Connects == 2 })
	a.send("core/t", "1")
	a.send("kept/t", "1")
	b.expect("core/t", "1")
	b.expect("kept/t", "0", "1")
	if gaps := b.Stats().Gaps; gaps != 0 {
		t.Errorf("told of %d gaps", gaps)
	}
}

// TestVisitsRecovered: who comes back to topics in which nothing was published is told that he has all, whatever others subscribe to meanwhile.
func TestVisitsRecovered(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := startHost(t, nats.Options{URLs: []string{s.url()}}, pubsub.Rule{Filter: "#", Messages: 10})
	client, sub := a.subscribe("t", pubsub.SubscribeOptions{})
	client.Close(ws.CodeNormal, "")
	eventually(t, "nobody to be there", func() bool {
		stats, err := a.hub.TopicStats("t")
		return err == nil && stats.Subscribers == 0
	})
	a.subscribe("another", pubsub.SubscribeOptions{})
	if _, again := a.subscribe("t", pubsub.SubscribeOptions{Since: sub.Position}); !again.Recovered {
		t.Errorf("not recovered behind %v: %+v", sub.Position, again)
	}
}
