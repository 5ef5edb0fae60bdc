package pubsub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestNotKeptStaysMissing: a message that was not kept is missing for who comes back over it, also
// when those before it are dropped later.
func TestNotKeptStaysMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 2}}})
	r.publish("a", "1")
	second := r.publish("a", "2").Position
	not, err := r.hub.Publish(t.Context(), pubsub.Message{Topic: "a", Payload: []byte("3")}, pubsub.PublishOptions{NotKept: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, complete, err := r.hub.History("a", second, pubsub.HistoryBound{}); complete || err != nil {
			t.Errorf("%d later: complete %v, %v", i, complete, err)
		}
		if i < 2 { // what is behind the third is all there
			if _, complete, _ := r.hub.History("a", not.Position, pubsub.HistoryBound{}); !complete {
				t.Errorf("%d later: behind the one that was not kept not complete", i)
			}
		}
		r.publish("a", fmt.Sprint(4+i))
	}
}

// TestFormsCount: what a kept message has in other forms counts for the memory of all that is kept.
func TestFormsCount(t *testing.T) {
	t.Parallel()
	const most = 200_000
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 1000}}, Limits: pubsub.Limits{History: most}})
	text := strings.Repeat("\n\x01", 2000) // six times as much in an envelope
	for range 40 {
		r.publish("a", text)
	}
	before := r.hub.Stats().HistoryBytes
	r.srv.Connect("/enveloped")
	conn := <-r.conns
	s := r.subscribe(conn, "a", pubsub.SubscribeOptions{Last: 20})
	after := r.hub.Stats().HistoryBytes
	if s.Sent != 20 || before < 40*4000 || after <= before || after > most {
		t.Errorf("%d bytes before, %d after %d were sent in envelopes, want more and at most %d", before, after, s.Sent, most)
	}
	kept, _, _ := r.hub.History("a", pubsub.Position{}, pubsub.HistoryBound{})
	if len(kept) >= 40 {
		t.Errorf("%d messages are kept", len(kept))
	}
}

// TestKeysKeepTheOrder: in a topic with a history the newest message of a key does not overtake others, so
// that who comes back lacks nothing that was before it.
func TestKeysKeepTheOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 100}}})
	client, conn := r.connect()
	r.subscribe(conn, "a", pubsub.SubscribeOptions{})
	for conn.Buffered() == 0 { // the network is full
		if err := conn.SendText(strings.Repeat("-", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []struct{ text, key string }{{"price 1", "k"}, {"order", ""}, {"price 2", "k"}} {
		o := pubsub.PublishOptions{SendOptions: server.SendOptions{Key: m.key}}
		if _, err := r.hub.Publish(t.Context(), pubsub.Message{Topic: "a", Payload: []byte(m.text)}, o); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for len(got) == 0 || got[len(got)-1] != "price 2" {
		if text := client.ReceiveText(); text[0] != '-' {
			got = append(got, text)
		}
	}
	if last := got[len(got)-2:]; last[0] != "order" {
		t.Errorf("got %q", got)
	}
}

// TestBoundOfAllTopics: there are as many topics as there may be, with filters aside.
func TestBoundOfAllTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "kept/#", Messages: 1}}, Limits: pubsub.Limits{AllTopics: 2}})
	_, conn := r.connect()
	r.subscribe(conn, "a", pubsub.SubscribeOptions{})
	r.subscribe(conn, "x/#", pubsub.SubscribeOptions{})
	r.publish("kept/1", "x")
	if _, err := r.hub.Subscribe(conn, "b", pubsub.SubscribeOptions{}); !errors.Is(err, pubsub.ErrFull) {
		t.Errorf("a third topic: %v", err)
	}
	if _, err := r.hub.Publish(t.Context(), pubsub.Message{Topic: "kept/2", Opcode: ws.Text}, pubsub.PublishOptions{}); !errors.Is(err, pubsub.ErrFull) {
		t.Errorf("a third topic with a history: %v", err)
	}
	r.publish("nobody", "x") // needs no place
	r.hub.Unsubscribe(conn, "a")
	r.subscribe(conn, "b", pubsub.SubscribeOptions{})
}

// TestLongKey: a key is kept with its message, and has a bound.
func TestLongKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{})
	o := pubsub.PublishOptions{SendOptions: server.SendOptions{Key: strings.Repeat("k", 257)}}
	if _, err := r.hub.Publish(t.Context(), pubsub.Message{Topic: "a"}, o); !errors.Is(err, pubsub.ErrKey) {
		t.Error(err)
	}
}
