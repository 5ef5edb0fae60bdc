package pubsub_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// keeper is a broker that keeps all messages, from before the hub was there too.
type keeper struct {
	pubsub.Broker
	pubsub.Receiver
	mu     sync.Mutex
	kept   []pubsub.Message
	asked  atomic.Int64
	down   atomic.Bool
	answer chan struct{} // if not nil, a question waits for it
}

func (k *keeper) Start(r pubsub.Receiver) error {
	k.Receiver = r
	return k.Broker.Start(k)
}

// Receive keeps what the broker gives the hub.
func (k *keeper) Receive(m pubsub.Message, o pubsub.PublishOptions) (int, error) {
	k.mu.Lock()
	k.kept = append(k.kept, m)
	k.mu.Unlock()
	return k.Receiver.Receive(m, o)
}

func (k *keeper) Keeps(topic string) bool { return topic == "kept" }

func (k *keeper) History(_ context.Context, topic string, since pubsub.Position, _ pubsub.HistoryBound) (pubsub.History, error) {
	k.asked.Add(1)
	if k.answer != nil {
		<-k.answer
	}
	if k.down.Load() {
		return pubsub.History{}, errors.New("down")
	}
	through := k.Position(topic)
	h := pubsub.History{From: pubsub.Position{Epoch: through.Epoch, Number: since.Number}, Through: through}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.kept {
		if m.Topic == topic && m.Position.Number > since.Number {
			h.Messages = append(h.Messages, pubsub.KeptMessage{Message: m})
		}
	}
	return h, nil
}

func (k *keeper) Purge(_ context.Context, topic string) error {
	k.mu.Lock()
	k.kept = nil
	k.mu.Unlock()
	k.Missed(topic)
	return nil
}

// TestPast: what the topic's own history lacks comes from the broker, which is asked once for all
// who want it; if it does not answer nobody is told that he has all.
func TestPast(t *testing.T) {
	t.Parallel()
	for _, rule := range []pubsub.Rule{{Filter: "kept", Messages: 100}, {Filter: "kept", Messages: 3}, {Filter: "other"}} {
		k := &keeper{Broker: pubsub.InProcess()}
		old := newRig(t, pubsub.Options{Broker: k})
		var at []pubsub.Position
		for i := range 10 {
			at = append(at, old.publish("kept", strconv.Itoa(i)).Position)
		}
		r := newRig(t, pubsub.Options{Broker: &taken{k}, Rules: []pubsub.Rule{rule}}) // a node that comes later
		k.answer = make(chan struct{})
		var all sync.WaitGroup
		var connecting sync.Mutex
		for i := range 20 {
			all.Go(func() {
				connecting.Lock()
				client, conn := r.connect()
				connecting.Unlock()
				from := i % 9
				s, err := r.hub.Subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[from]})
				if err != nil || !s.Recovered || s.Sent != 9-from {
					t.Errorf("since %d: %+v, %v", from, s, err)
				}
				for next := from + 1; next < 10; next++ {
					expectTexts(t, client, strconv.Itoa(next))
				}
			})
		}
		close(k.answer)
		all.Wait()
		if n := k.asked.Load(); rule.Messages == 100 && n > 20 || n == 0 {
			t.Errorf("%+v: the broker was asked %d times", rule, n)
		}
		before := k.asked.Load()
		client, conn := r.connect()
		r.subscribe(conn, "kept", pubsub.SubscribeOptions{Last: 2})
		expectTexts(t, client, "8", "9")
		if _, conn = r.connect(); rule.Messages == 100 && !r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[5]}).Recovered {
			t.Error("not recovered from the ring")
		}
		if rule.Messages == 100 && k.asked.Load() != before {
			t.Errorf("the broker was asked for what is here")
		}
		if m, complete, err := r.hub.History("kept", at[6], 2); err != nil || !complete || len(m) != 2 || string(m[1].Payload) != "8" {
			t.Errorf("%v, %v, %v", m, complete, err)
		}
		k.down.Store(true)
		if _, conn = r.connect(); rule.Messages != 100 && r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[2]}).Recovered {
			t.Error("recovered, though the broker is down")
		}
		k.down.Store(false)
		if err := r.hub.Purge("kept"); err != nil {
			t.Error(err)
		}
		if s := r.hub.Stats(); s.HistoryBytes != 0 || s.Missed != 1 {
			t.Errorf("behind a purge: %+v", s)
		}
	}
}

// taken is a keeper for one more hub, which gets no messages.
type taken struct{ *keeper }

func (t *taken) Start(r pubsub.Receiver) error {
	t.keeper.Receiver = r
	return nil
}

func (t *taken) Close() error { return nil }
