package pubsub_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// kept is how many messages of a topic are kept.
func (r *rig) kept(topic string) int {
	r.t.Helper()
	s, err := r.hub.TopicStats(topic)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Messages
}

// TestOneTopicPushesOutNoOthers: a topic that has more than its share loses its own messages, in whatever form they are, and
// who comes back to another one has missed nothing.
func TestOneTopicPushesOutNoOthers(t *testing.T) {
	t.Parallel()
	const most = 200_000
	r := newRig(t, pubsub.Options{
		Rules:  []pubsub.Rule{{Filter: "rooms/#", Messages: 1000}, {Filter: "#", Messages: 1000}},
		Limits: pubsub.Limits{History: most},
	})
	at := map[string]pubsub.Position{}
	for i := range 20 {
		room := fmt.Sprintf("rooms/%d", i)
		at[room] = r.publish(room, "1").Position
		r.publish(room, "2")
	}
	text := strings.Repeat("\n\x01", 2000) // six times as much in an envelope
	r.srv.Connect("/enveloped")
	conn := <-r.conns
	for i := range 200 {
		if r.publish("news", text); i == 100 {
			if s := r.subscribe(conn, "news", pubsub.SubscribeOptions{Last: 10}); s.Sent != 10 {
				t.Errorf("%+v", s)
			}
			r.hub.Unsubscribe(conn, "news")
		}
		if bytes := r.hub.Stats().HistoryBytes; bytes > most {
			t.Fatalf("%d bytes are kept, at most %d may be", bytes, most)
		}
	}
	if n, bytes := r.kept("news"), r.hub.Stats().HistoryBytes; n < 10 || bytes < most*9/10 {
		t.Errorf("%d messages of the large topic are kept, and %d bytes in all, though %d may be", n, bytes, most)
	}
	for room, p := range at {
		_, conn := r.connect()
		if s := r.subscribe(conn, room, pubsub.SubscribeOptions{Since: p}); s.Sent != 1 || !s.Recovered {
			t.Errorf("%s: %+v", room, s)
		}
	}
}

// TestLargestTopicLosesFirst: of those that have more than a share.
func TestLargestTopicLosesFirst(t *testing.T) {
	t.Parallel()
	const most = 200_000
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 1000}}, Limits: pubsub.Limits{History: most}})
	text := strings.Repeat("x", 1500)
	for range 100 {
		r.publish("largest", text)
	}
	largest := r.kept("largest")
	for i := range largest / 2 {
		if r.publish("large", text); r.kept("large") != i+1 {
			t.Fatalf("it has lost some of %d messages, though the largest topic has %d", i+1, r.kept("largest"))
		}
	}
	for range 100 {
		r.publish("large", text)
	}
	if a, b := r.kept("largest"), r.kept("large"); a < b-1 || b < a-1 || a+b < largest-1 {
		t.Errorf("%d and %d messages, want the same, and %d in all", a, b, largest)
	}
	for range 20 { // what goes by itself is not counted for a topic any more
		if err := r.hub.Purge("largest"); err != nil {
			t.Fatal(err)
		}
		r.publish("largest", text)
	}
	for range 100 {
		r.publish("large", text)
	}
	if a, b := r.kept("largest"), r.kept("large"); a != 1 || b != largest-1 {
		t.Errorf("%d and %d messages, want 1 and %d", a, b, largest-1)
	}
}

// TestOnlyMessage: a topic does not lose its only message for being large, unless it has no room at all. Then it pushes out nothing.
func TestOnlyMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 10}}, Limits: pubsub.Limits{History: 8000}})
	for i := range 20 {
		r.publish(fmt.Sprint(i), strings.Repeat("x", 1000+i))
	}
	r.publish("huge", strings.Repeat("x", 9000))
	for i := range 20 {
		want := 0
		if i >= 15 { // the last five
			want = 1
		}
		if n := r.kept(fmt.Sprint(i)); n != want {
			t.Errorf("topic %d keeps %d messages, want %d", i, n, want)
		}
	}
	if n := r.kept("huge"); n != 0 {
		t.Error("more than all may have is kept")
	}
}
