package pubsub_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// TestOrder has goroutines publish to topics while clients subscribe, leave and come back with
// the position that they were at, and others stay, subscribed to a topic and to filters that meet it.
// Each gets of each topic what was published behind its subscription, in the topic's
// order, once.
func TestOrder(t *testing.T) {
	t.Parallel()
	seeds := uint64(40)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := &order{rig: newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 1 << 20}}}), seed: seed}
			o.run()
		})
	}
}

// orderTopics are published to.
var orderTopics = []string{"a/1", "a/2", "b"}

// order is one run.
type order struct {
	*rig
	seed       uint64
	connecting sync.Mutex     // newRig's channel has place for one connection
	subscribed sync.WaitGroup // of all clients, once

}

func (o *order) send(topic, text string) { o.publish(topic, topic+" "+text) }

// join connects and subscribes, with the positions, and notes those where there are none.
func (o *order) join(names map[string]pubsub.Position) (receive func() string, abort func()) {
	o.connecting.Lock()
	client, conn := o.connect()
	o.connecting.Unlock()
	for name, since := range names {
		s, err := o.hub.Subscribe(conn, name, pubsub.SubscribeOptions{Since: since})
		switch {
		case err != nil:
			o.t.Error(err)
		case since == (pubsub.Position{}):
			names[name] = s.Position
		case !s.Recovered:
			o.t.Errorf("%s is not recovered from %v", name, since)
		}
	}
	return client.ReceiveText, client.Abort
}

func (o *order) run() {
	var publishers, clients sync.WaitGroup
	o.subscribed.Add(4 + 3)
	for i := range 3 {
		random := rand.New(rand.NewPCG(o.seed, uint64(i)))
		publishers.Go(func() {
			o.subscribed.Wait()
			for n := range 200 {
				o.send(orderTopics[random.IntN(len(orderTopics))], fmt.Sprint(i, ".", n))
			}
		})
	}
	for i := range 4 {
		clients.Go(func() { o.comeBack(rand.New(rand.NewPCG(o.seed, uint64(100+i)))) })
	}
	for _, names := range [][]string{{"a/+", "#"}, {"a/1", "a/+", "b"}, {"#"}} {
		clients.Go(func() { o.stay(names) })
	}
	publishers.Wait()
	for _, topic := range orderTopics {
		o.send(topic, "end")
	}
	clients.Wait()
}

// comeBack is a client of one topic that goes and comes back.
func (o *order) comeBack(random *rand.Rand) {
	topic := orderTopics[random.IntN(len(orderTopics))]
	at := map[string]pubsub.Position{topic: {}}
	var got []string
	first := pubsub.Position{}
	for ended := false; !ended; {
		receive, abort := o.join(at)
		if first == (pubsub.Position{}) {
			first = at[topic]
			o.subscribed.Done()
		}
		for range 1 + random.IntN(60) {
			_, text, _ := strings.Cut(receive(), " ")
			got = append(got, text)
			if ended = text == "end"; ended {
				break
			}
		}
		abort()
		// The raw payload has no position: the history knows it.
		behind, complete, err := o.hub.History(topic, first, pubsub.HistoryBound{Messages: 1 << 20})
		if err != nil || !complete || len(behind) < len(got) {
			o.t.Errorf("%s: %d messages in the history behind %v, %d were got, complete: %v, %v", topic, len(behind), first, len(got), complete, err)
			return
		}
		at[topic] = behind[len(got)-1].Position
		for i, m := range behind[:len(got)] {
			if _, text, _ := strings.Cut(string(m.Payload), " "); text != got[i] {
				o.t.Errorf("%s: message %d is %q, want %q", topic, i, got[i], text)
				return
			}
		}
	}
}

// stay is a client with several subscriptions.
func (o *order) stay(names []string) {
	at := map[string]pubsub.Position{}
	for _, name := range names {
		at[name] = pubsub.Position{}
	}
	receive, abort := o.join(at)
	o.subscribed.Done()
	defer abort()
	got := map[string][]string{}
	topics := 0
	for _, topic := range orderTopics {
		for _, name := range names {
			if pubsub.Matches(name, topic) {
				topics++
				break
			}
		}
	}
	for ends := 0; ends < topics; {
		topic, text, _ := strings.Cut(receive(), " ")
		got[topic] = append(got[topic], text)
		if text == "end" {
			ends++
		}
	}
	for topic, texts := range got {
		all, _, err := o.hub.History(topic, pubsub.Position{}, pubsub.HistoryBound{Messages: 1 << 20})
		if err != nil || len(all) < len(texts) {
			o.t.Errorf("%s: %d of %d messages, %v", topic, len(texts), len(all), err)
			return
		}
		for i, m := range all[len(all)-len(texts):] {
			if _, text, _ := strings.Cut(string(m.Payload), " "); text != texts[i] {
				o.t.Errorf("%v: %s: message %d from the end is %q, want %q", names, topic, len(texts)-i, texts[i], text)
				return
			}
		}
	}
}
