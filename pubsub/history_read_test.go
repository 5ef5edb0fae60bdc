package pubsub_test

import (
	"context"
	"math"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

func (r *rig) last(topic string, n int) (texts string) {
	r.t.Helper()
	messages, _, err := r.hub.History(topic, pubsub.Position{}, pubsub.HistoryBound{Messages: n, Last: true})
	if err != nil {
		r.t.Error(err)
	}
	for _, m := range messages {
		texts += string(m.Payload)
	}
	return texts
}

// TestLast: the last messages of a long history cost no more than those of a short one.
func TestLast(t *testing.T) {
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "a", Messages: 10_000}}})
	for i := range 10_000 {
		r.publish("a", strconv.Itoa(i%10))
	}
	r.publish("none", "x")
	for n, want := range map[int]string{1: "9", 3: "789"} {
		if got := r.last("a", n); got != want {
			t.Errorf("the last %d: %q, want %q", n, got, want)
		}
	}
	if got := r.last("a", 20_000); len(got) != 10_000 {
		t.Errorf("%d messages", len(got))
	}
	if got := r.last("none", 1) + r.last("nobody", 1); got != "" {
		t.Errorf("%q", got)
	}
	if _, _, err := r.hub.History("a/#", pubsub.Position{}, pubsub.HistoryBound{Messages: 1, Last: true}); err == nil {
		t.Error("a filter has a history")
	}
	bytes := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _, _ = r.hub.History("a", pubsub.Position{}, pubsub.HistoryBound{Messages: 1, Last: true}) // as above
		}
	}).AllocedBytesPerOp()
	if bytes > 1000 {
		t.Errorf("the last message takes %d bytes", bytes)
	}
}

// pages is a keeper that gives three messages at a time.
type pages struct{ *keeper }

func (p pages) History(ctx context.Context, topic string, since pubsub.Position, bound pubsub.HistoryBound) (pubsub.History, error) {
	h, err := p.keeper.History(ctx, topic, since, bound)
	if len(h.Messages) > 3 && !bound.Last {
		h.Messages = h.Messages[:3]
		h.Through, h.More = h.Messages[2].Position, true
	}
	return h, err
}

// TestLastOfBroker: where a broker gives the past in parts, the last messages are those of the last part, and where this
// node has them the broker is not asked.
func TestLastOfBroker(t *testing.T) {
	t.Parallel()
	for _, rule := range []pubsub.Rule{{Filter: "kept", Messages: 100}, {Filter: "other", Messages: 100}} {
		k := &keeper{Broker: pubsub.InProcess()}
		old := newRig(t, pubsub.Options{Broker: k})
		for i := range 8 {
			old.publish("kept", strconv.Itoa(i))
		}
		r := newRig(t, pubsub.Options{Broker: pages{k}, Rules: []pubsub.Rule{rule}})
		for i := 8; i < 10; i++ {
			r.publish("kept", strconv.Itoa(i))
		}
		for n, want := range map[int]string{1: "9", 4: "6789", 99: "0123456789"} {
			if got := r.last("kept", n); got != want {
				t.Errorf("%s: the last %d: %q, want %q", rule.Filter, n, got, want)
			}
		}
		before := k.asked.Load()
		if got := r.last("kept", 2); got != "89" || rule.Filter == "kept" && k.asked.Load() != before {
			t.Errorf("%s: %q, and the broker was asked", rule.Filter, got)
		}
		k.down.Store(true)
		if _, _, err := r.hub.History("kept", pubsub.Position{}, pubsub.HistoryBound{Messages: 99, Last: true}); err == nil {
			t.Errorf("%s: no error of a broker that is down", rule.Filter)
		}
	}
}

// busy is pages of a broker with much to do in other topics: each answer goes farther.
type busy struct{ pages }

func (b busy) History(ctx context.Context, topic string, since pubsub.Position, bound pubsub.HistoryBound) (pubsub.History, error) {
	b.say("noise", "n")
	return b.pages.History(ctx, topic, since, bound)
}

// TestLastOfLongPast: the last messages of a past that a broker gives in parts are asked for at its end, and nothing is read of
// what is before, for a subscription too.
func TestLastOfLongPast(t *testing.T) {
	t.Parallel()
	for _, rule := range []pubsub.Rule{{Filter: "kept", Messages: 100}, {Filter: "other"}} {
		k := &keeper{Broker: pubsub.InProcess()}
		old := newRig(t, pubsub.Options{Broker: k})
		for i := range 20 {
			old.publish("kept", strconv.Itoa(i))
		}
		r := newRig(t, pubsub.Options{Broker: busy{pages{k}}, Rules: []pubsub.Rule{rule}})
		if got := r.last("kept", 2); got != "1819" {
			t.Errorf("%s: the last two: %q", rule.Filter, got)
		}
		before := k.asked.Load()
		client, conn := r.connect()
		s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Last: 2})
		if asked := k.asked.Load() - before; s.Sent != 2 || asked > 1 || k.bound.Load() != 2 {
			t.Errorf("%s: %+v, and the broker was asked %d times, for %d messages", rule.Filter, s, asked, k.bound.Load())
		}
		r.publish("kept", "20")
		expectTexts(t, client, "18", "19", "20")
	}
}

// TestHistoryOfBroker: what this node has itself the broker is not asked for, and of it for no more than is wanted; a part
// of the past is not complete.
func TestHistoryOfBroker(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	at := k.fill(t)
	r := newRig(t, pubsub.Options{Broker: pages{k}, Rules: []pubsub.Rule{{Filter: "kept", Messages: 100}}})
	_, conn := r.connect()
	first := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[16]})
	_, conn = r.connect()
	if second := r.subscribe(conn, "kept", pubsub.SubscribeOptions{}); first.Position != at[19] || second.Position != at[19] {
		t.Errorf("behind a past the subscriptions begin at %v and %v, want %v", first.Position, second.Position, at[19])
	}
	for _, tt := range []struct {
		since    pubsub.Position
		most     int
		want     string
		complete bool
		asked    int64
		bound    int64
	}{
		{at[17], 1, "18", true, 0, 0},
		{at[17], 0, "1819", true, 0, 0},
		{at[5], 2, "67", true, 1, 2},
		{at[5], 4, "6789", true, 2, 1}, // of two parts
		{at[5], math.MaxInt, "678910111213141516171819", true, 5, 10_000 - 12},
		{at[5], 0, "678910111213141516171819", true, 5, 10_000 - 12},
		{pubsub.Position{}, 1, "0", false, 1, 1},
	} {
		before := k.asked.Load()
		messages, complete, err := r.hub.History("kept", tt.since, pubsub.HistoryBound{Messages: tt.most})
		got := ""
		for _, m := range messages {
			got += string(m.Payload)
		}
		asked := k.asked.Load() - before
		if err != nil || got != tt.want || complete != tt.complete && tt.since != (pubsub.Position{}) || asked != tt.asked || asked > 0 && k.bound.Load() != tt.bound {
			t.Errorf("%v, %d: %q, %v, %v, asked %d times for %d", tt.since, tt.most, got, complete, err, asked, k.bound.Load())
		}
	}
}

// TestSharedPart: who waits for somebody else's part of the past, which ends before his own begins, gets his own.
func TestSharedPart(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess(), answer: make(chan struct{})}
	at := k.fill(t)
	r := newRig(t, pubsub.Options{Broker: pages{k}, Limits: pubsub.Limits{Reading: 1}}) // one part
	var all sync.WaitGroup
	ask := func(since int) {
		all.Go(func() {
			messages, _, err := r.hub.History("kept", at[since], pubsub.HistoryBound{})
			if err != nil || len(messages) != 3 || string(messages[0].Payload) != strconv.Itoa(since+1) {
				t.Errorf("since %d: %v, %v", since, messages, err)
			}
		})
	}
	ask(0)
	r.eventually("the first question", func() bool { return k.asked.Load() == 1 })
	for range 20 {
		ask(10)
	}
	runtime.Gosched() // most of them wait now
	close(k.answer)
	all.Wait()
}

// TestSomeMembers: of many members some, and how many there are.
func TestSomeMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Presence: true}}})
	for range 5 {
		r.subscribed("room")
	}
	for most, want := range map[int]int{0: 0, 3: 3, 9: 5} {
		if members, count := r.hub.SomeMembers("room", most); len(members) != want || count != 5 {
			t.Errorf("%d: %v, %d", most, members, count)
		}
	}
	if members, count := r.hub.SomeMembers("nobody", 1); len(members) != 0 || count != 0 {
		t.Errorf("%v, %d", members, count)
	}
}

// TestSomeMembersOfNodes: of all nodes.
func TestSomeMembersOfNodes(t *testing.T) {
	t.Parallel()
	b := &bus{nodes: map[string]*busBroker{}}
	one, _ := b.rig(t, "one")
	two, _ := b.rig(t, "two")
	for i := range 3 {
		one.enter(strconv.Itoa(i), "room/1")
		two.enter(strconv.Itoa(i), "room/1")
	}
	for most, want := range map[int]int{0: 0, 2: 2, 5: 5, 9: 6} {
		one.eventually("both to be counted", func() bool {
			members, count := one.hub.SomeMembers("room/1", most)
			return len(members) == want && count == 6
		})
	}
}
