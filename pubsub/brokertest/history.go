package brokertest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
)

// TestHistory runs the suite of pubsub.HistoryBroker. Each broker that start gives is a new one without messages, which
// keeps those of all topics below prefix, a hundred of each at least; TestHistory starts and closes it. Nothing happens to it
// meanwhile, so it has no reason for doubt: what is there is to be told complete.
func TestHistory(t *testing.T, prefix string, start func(t *testing.T) pubsub.HistoryBroker) {
	for name, test := range map[string]func(*testing.T, *history){
		"behind a position": behind, "bounds": bounds, "the last": last, "another epoch": otherEpoch,
		"not kept": notKept, "options": options, "purge": purge, "what is read has been received": inStep, "an end of patience": ended,
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			h := &history{t, b, begin(t, b), prefix + "/a", prefix + "/b"}
			if !b.Keeps(h.topic) {
				t.Fatalf("%s is not kept", h.topic)
			}
			b.Interest(h.topic, true)
			b.Position(h.topic) // it is of interest by then
			test(t, h)
		})
	}
}

// history is a broker under test, and topics of which one is of interest.
type history struct {
	t            *testing.T
	b            pubsub.HistoryBroker
	r            *receiver
	topic, other string
}

// some publishes messages of a few sizes to the topic, among those of another one, and gives them as they were received.
func (h *history) some(count int) []pubsub.Message {
	h.t.Helper()
	for i := range count {
		publish(h.t, h.b, h.topic, strings.Repeat("x", i*7%50)+strconv.Itoa(i))
		publish(h.t, h.b, h.other, "to be told apart")
	}
	return h.r.received(h.topic, count)
}

func (h *history) read(since pubsub.Position, bound pubsub.HistoryBound) pubsub.History {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := h.b.History(ctx, h.topic, since, bound)
	if err != nil {
		h.t.Fatal(err)
	}
	return got
}

// someBounds cut 60 messages of a few bytes, or just do not.
var someBounds = []pubsub.HistoryBound{{Messages: 1, Bytes: 1 << 20}, {Messages: 7, Bytes: 1 << 20}, {Messages: 60, Bytes: 1 << 20}, {Messages: 100, Bytes: 1}, {Messages: 100, Bytes: 60}}

// plenty is a bound beyond all that is published here.
var plenty = pubsub.HistoryBound{Messages: 10_000, Bytes: 1 << 30}

// expect compares what was read with what was received.
func (h *history) expect(what string, got pubsub.History, want []pubsub.Message) {
	h.t.Helper()
	same := func(k pubsub.KeptMessage, m pubsub.Message) bool {
		return k.Topic == m.Topic && k.Position == m.Position && k.Opcode == m.Opcode && k.Time.Equal(m.Time) && string(k.Payload) == string(m.Payload)
	}
	if !slices.EqualFunc(got.Messages, want, same) {
		var read, wanted []pubsub.Position
		for _, m := range got.Messages {
			read = append(read, m.Position)
		}
		for _, m := range want {
			wanted = append(wanted, m.Position)
		}
		h.t.Errorf("%s: read %v, want %v, or they are not as they were received", what, read, wanted)
	}
}

// complete says whether nothing is missing behind a position, or at all.
func complete(h pubsub.History, since pubsub.Position) bool {
	return (since == pubsub.Position{} || h.From.Epoch == since.Epoch) && h.From.Number <= since.Number && h.Through.Number >= since.Number
}

// behind: behind each position there is all that was published after it, and it is known to be all.
func behind(t *testing.T, h *history) {
	all := h.some(30)
	got := h.read(pubsub.Position{}, plenty)
	h.expect("all", got, all)
	if !complete(got, pubsub.Position{}) || got.More || got.Through.Number < all[29].Position.Number {
		t.Errorf("all: from %v to %v, more: %v", got.From, got.Through, got.More)
	}
	for i, m := range all {
		got := h.read(m.Position, plenty)
		h.expect("behind "+m.Position.String(), got, all[i+1:])
		if !complete(got, m.Position) || got.More {
			t.Errorf("behind %v: from %v to %v, more: %v", m.Position, got.From, got.Through, got.More)
		}
	}
}

// bounds: what is read in parts is the same, each part is within its bound, and goes on.
func bounds(t *testing.T, h *history) {
	all := h.some(60)
	for _, bound := range someBounds {
		var parts pubsub.History
		var since pubsub.Position
		for more := true; more; {
			part := h.read(since, bound)
			bytes := int64(0)
			for _, m := range part.Messages[:max(len(part.Messages)-1, 0)] {
				bytes += int64(len(m.Payload))
			}
			if len(part.Messages) > bound.Messages || bytes > bound.Bytes {
				t.Fatalf("%+v: %d messages, the last of them behind %d bytes", bound, len(part.Messages), bytes)
			}
			if !complete(part, since) || part.More && part.Through.Number <= since.Number {
				t.Fatalf("%+v behind %v: from %v to %v, more: %v", bound, since, part.From, part.Through, part.More)
			}
			parts.Messages, since, more = append(parts.Messages, part.Messages...), part.Through, part.More
		}
		h.expect("in parts", parts, all)
	}
}

// last: the last messages are those of the end, and none behind From is missing.
func last(t *testing.T, h *history) {
	all := h.some(60)
	for _, bound := range someBounds {
		want, bytes := len(all), int64(0)
		for want > 0 && len(all)-want < bound.Messages && bytes <= bound.Bytes {
			want--
			bytes += int64(len(all[want].Payload))
		}
		bound.Last = true
		got := h.read(pubsub.Position{}, bound)
		h.expect("the last", got, all[want:])
		if got.More || want > 0 && got.From.Number < all[want-1].Position.Number || got.From.Number > all[want].Position.Number {
			t.Errorf("%+v: from %v to %v, more: %v; the first of them is %v", bound, got.From, got.Through, got.More, all[want].Position)
		}
	}
}

// otherEpoch: nothing is known of what is behind a position of another epoch.
func otherEpoch(t *testing.T, h *history) {
	h.some(3)
	since := pubsub.Position{Epoch: "another", Number: 1}
	if got := h.read(since, plenty); complete(got, since) {
		t.Errorf("from %v to %v", got.From, got.Through)
	}
}

// notKept: who reads over a message that was not to be kept is not told that nothing is missing.
func notKept(t *testing.T, h *history) {
	before := h.some(2)
	hidden, err := h.b.Publish(t.Context(), pubsub.Message{Topic: h.topic, Payload: []byte("hidden")}, pubsub.PublishOptions{NotKept: true})
	if err != nil {
		t.Fatal(err)
	}
	h.r.received(h.topic, 3)
	behind := publish(t, h.b, h.topic, "behind")
	all := h.r.received(h.topic, 4)
	got := h.read(before[0].Position, plenty)
	h.expect("around what is not kept", got, []pubsub.Message{all[1], all[3]})
	if got.From.Number < hidden.Position.Number || got.From.Number > behind.Position.Number {
		t.Errorf("from %v, and %v is not kept", got.From, hidden.Position)
	}
	if got := h.read(hidden.Position, plenty); !complete(got, hidden.Position) {
		t.Errorf("behind what is not kept: from %v to %v", got.From, got.Through)
	}
}

// options: a message is kept with its key.
func options(t *testing.T, h *history) {
	o := pubsub.PublishOptions{SendOptions: server.SendOptions{Key: "gold"}}
	if _, err := h.b.Publish(t.Context(), pubsub.Message{Topic: h.topic, Payload: []byte("1")}, o); err != nil {
		t.Fatal(err)
	}
	h.r.received(h.topic, 1)
	if got := h.read(pubsub.Position{}, plenty); len(got.Messages) != 1 || got.Messages[0].Options.Key != "gold" {
		t.Errorf("read %+v", got.Messages)
	}
}

// purge: nothing is left of the topic, which is told, and nobody is told that nothing is missing; other topics stay.
func purge(t *testing.T, h *history) {
	all := h.some(5)
	h.r.expectMissed()
	if err := h.b.Purge(t.Context(), h.topic); err != nil {
		t.Fatal(err)
	}
	h.r.waitMissed()
	got := h.read(all[2].Position, plenty)
	h.expect("purged", got, nil)
	if complete(got, all[2].Position) {
		t.Errorf("from %v to %v, and it was purged", got.From, got.Through)
	}
	publish(t, h.b, h.topic, "new")
	new := h.r.received(h.topic, 6)[5]
	h.expect("behind a purge", h.read(pubsub.Position{}, plenty), []pubsub.Message{new})
	if got, err := h.b.History(t.Context(), h.other, pubsub.Position{}, plenty); err != nil || len(got.Messages) != 5 {
		t.Errorf("another topic: %d messages, %v", len(got.Messages), err)
	}
}

// inStep: what is read has been received before, while others publish.
func inStep(t *testing.T, h *history) {
	const each = 40
	var publishers sync.WaitGroup
	defer publishers.Wait()
	for range 2 {
		publishers.Go(func() {
			for i := range each {
				publish(t, h.b, h.topic, strconv.Itoa(i))
			}
		})
	}
	end := time.Now().Add(patience)
	for read := 0; read < 2*each; {
		if time.Now().After(end) {
			t.Fatalf("%d messages are read, want %d", read, 2*each)
		}
		got := h.read(pubsub.Position{}, plenty)
		received := h.r.of(h.topic)
		if read = len(got.Messages); read > len(received) {
			t.Fatalf("%d messages are read, and %d have been received", read, len(received))
		}
		through := slices.IndexFunc(received, func(m pubsub.Message) bool { return m.Position.Number > got.Through.Number })
		if through < 0 {
			through = len(received)
		}
		h.expect("up to "+got.Through.String(), got, received[:through])
	}
}

// ended: who has no patience left is not kept.
func ended(t *testing.T, h *history) {
	h.some(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if got, err := h.b.History(ctx, h.topic, pubsub.Position{}, plenty); err == nil {
			h.expect("at once", got, h.r.of(h.topic))
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("a History whose context has ended does not")
	}
}
