package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/brokertest"
	"github.com/millrace/millrace/ws"
)

// keeper is a broker that keeps all messages, from before the hub was there too.
type keeper struct {
	pubsub.Broker
	pubsub.Receiver
	mu      sync.Mutex
	kept    []pubsub.KeptMessage
	floors  map[string]pubsub.Position // of topics: nothing is known of what is before; see Purge and NotKept
	asked   atomic.Int64
	bound   atomic.Int64 // messages of the last question
	most    atomic.Int64 // bytes that an answer had
	pending atomic.Int64 // questions that were not answered yet
	down    atomic.Bool
	away    atomic.Bool   // the hub gets nothing
	answer  chan struct{} // if not nil, a question waits for it
}

func (k *keeper) Start(r pubsub.Receiver) error {
	k.Receiver = r
	return k.Broker.Start(k)
}

// Receive keeps what the broker gives the hub.
func (k *keeper) Receive(m pubsub.Message, o pubsub.PublishOptions) (int, error) {
	k.mu.Lock()
	if m.Payload = bytes.Clone(m.Payload); o.NotKept {
		k.raise(m.Topic, m.Position)
	} else {
		k.kept = append(k.kept, pubsub.KeptMessage{Message: m, Options: o.SendOptions})
	}
	k.mu.Unlock()
	if k.away.Load() {
		return 0, nil
	}
	return k.Receiver.Receive(m, o)
}

// raise has a topic's floor be at a position. The caller holds mu.
func (k *keeper) raise(topic string, floor pubsub.Position) {
	if k.floors == nil {
		k.floors = map[string]pubsub.Position{}
	}
	k.floors[topic] = floor
}

func (k *keeper) Keeps(topic string) bool { return strings.HasPrefix(topic, "kept") }

func (k *keeper) History(ctx context.Context, topic string, since pubsub.Position, bound pubsub.HistoryBound) (pubsub.History, error) {
	k.asked.Add(1)
	k.pending.Add(1)
	defer k.pending.Add(-1)
	k.bound.Store(int64(bound.Messages))
	if k.answer != nil {
		select {
		case <-k.answer:
		case <-ctx.Done():
			return pubsub.History{}, ctx.Err()
		}
	}
	if k.down.Load() {
		return pubsub.History{}, errors.New("down")
	}
	through := k.Position(topic)
	if since != (pubsub.Position{}) && since.Epoch != through.Epoch {
		return pubsub.History{}, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := pubsub.History{From: pubsub.Position{Epoch: through.Epoch, Number: max(since.Number, k.floors[topic].Number)}, Through: through}
	var all []pubsub.KeptMessage
	for _, m := range k.kept {
		if m.Topic == topic && m.Position.Number > since.Number && m.Position.Number <= through.Number {
			all = append(all, m)
		}
	}
	n, bytes := 0, int64(0)
	for ; n < min(len(all), bound.Messages) && bytes <= bound.Bytes; n++ {
		if bound.Last {
			bytes += int64(len(all[len(all)-1-n].Payload))
		} else {
			bytes += int64(len(all[n].Payload))
		}
	}
	switch {
	case n == len(all):
	case bound.Last:
		h.From.Number = max(h.From.Number, all[len(all)-1-n].Position.Number)
		all = all[len(all)-n:]
	default:
		h.Through, h.More, all = all[n-1].Position, true, all[:n]
	}
	h.Messages = append(h.Messages, all...)
	k.most.Store(max(k.most.Load(), bytes))
	return h, nil
}

func (k *keeper) Purge(_ context.Context, topic string) error {
	purged := k.Position(topic)
	k.mu.Lock()
	k.kept = slices.DeleteFunc(k.kept, func(m pubsub.KeptMessage) bool { return m.Topic == topic })
	k.raise(topic, purged)
	k.mu.Unlock()
	k.Missed(topic)
	return nil
}

// TestKeeperContract holds the tests' own broker to what those of users are held to.
func TestKeeperContract(t *testing.T) {
	t.Parallel()
	brokertest.TestHistory(t, "kept", func(*testing.T) pubsub.HistoryBroker { return &keeper{Broker: pubsub.InProcess()} })
}

// TestPastEndsEarly: behind what the broker was not asked for to its end, and a gap, nobody is told that he has all.
func TestPastEndsEarly(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	r := newRig(t, pubsub.Options{Broker: k, Rules: []pubsub.Rule{{Filter: "kept", Messages: 10}}})
	_, first := r.connect()
	r.subscribe(first, "kept", pubsub.SubscribeOptions{}) // the topic stays
	at := r.publish("kept", "0").Position
	k.away.Store(true)
	for range 10_500 { // more than are read for one who subscribes
		r.publish("kept", "")
	}
	k.away.Store(false)
	k.Missed("kept")
	_, second := r.connect()
	if s := r.subscribe(second, "kept", pubsub.SubscribeOptions{Since: at}); s.Recovered {
		t.Errorf("%+v, and 500 messages were not read", s)
	}
}

// TestPastAroundNotKept: what was not to be kept stays a gap in what a node keeps of the broker's past.
func TestPastAroundNotKept(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	old := newRig(t, pubsub.Options{Broker: k})
	var at []pubsub.Position
	for i := range 5 {
		m := pubsub.Message{Topic: "kept", Payload: []byte(strconv.Itoa(i)), Opcode: ws.Text}
		p, err := old.hub.Publish(t.Context(), m, pubsub.PublishOptions{NotKept: i == 2})
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p.Position)
	}
	r := newRig(t, pubsub.Options{Broker: &taken{k}, Rules: []pubsub.Rule{{Filter: "kept", Messages: 2}}})
	for _, tt := range []struct {
		since     int
		recovered bool
	}{{0, false}, {1, false}, {2, true}, {3, true}} {
		_, conn := r.connect()
		if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[tt.since]}); s.Recovered != tt.recovered {
			t.Errorf("since %d: %+v", tt.since, s)
		}
	}
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
		if m, complete, err := r.hub.History("kept", at[6], pubsub.HistoryBound{Messages: 2}); err != nil || !complete || len(m) != 2 || string(m[1].Payload) != "8" {
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

// meanwhile is a keeper for one more hub, which does something while its first answer is under way.
type meanwhile struct {
	taken
	do   func(k *keeper)
	once sync.Once
}

func (m *meanwhile) History(ctx context.Context, topic string, since pubsub.Position, bound pubsub.HistoryBound) (pubsub.History, error) {
	h, err := m.taken.History(ctx, topic, since, bound)
	m.once.Do(func() { m.do(m.keeper) })
	return h, err
}

// fill has 20 messages published, of before the hubs that a test looks at.
func (k *keeper) fill(t *testing.T) (at []pubsub.Position) {
	old := newRig(t, pubsub.Options{Broker: k})
	for i := range 20 {
		at = append(at, old.publish("kept", strconv.Itoa(i)).Position)
	}
	return at
}

func (k *keeper) say(topic, text string) {
	_, _ = k.Publish(context.Background(), pubsub.Message{Topic: topic, Payload: []byte(text), Opcode: ws.Text}, pubsub.PublishOptions{}) // it does not fail
}

// deaf is a receiver that messages do not reach.
type deaf struct{ pubsub.Receiver }

func (deaf) Receive(pubsub.Message, pubsub.PublishOptions) (int, error) { return 0, nil }

// TestPastMeanwhile: what comes while the broker is asked takes nothing from who comes back, whatever rule the
// topic has, and whether others are subscribed to it.
func TestPastMeanwhile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		do    func(k *keeper)
		want  []string // behind what was there before
		asked int64
	}{
		"another topic's message": {func(k *keeper) { k.say("noise", "n") }, nil, 1},
		"a message":               {func(k *keeper) { k.say("kept", "late") }, []string{"late"}, 2},
		"a gap elsewhere":         {func(k *keeper) { k.Missed("noise") }, nil, 1},
		"a gap of all":            {func(k *keeper) { k.Missed("") }, nil, 2},
		"a gap of a filter":       {func(k *keeper) { k.Missed("+") }, nil, 2},
		"a gap of it":             {func(k *keeper) { k.Missed("kept") }, nil, 2},
		"a lost message": {func(k *keeper) {
			hears := k.Receiver
			k.Receiver = deaf{hears}
			k.say("kept", "lost")
			k.Receiver = hears
			k.Missed("kept")
		}, []string{"lost"}, 2},
	} {
		for _, rule := range []pubsub.Rule{{Filter: "kept", Messages: 100}, {Filter: "kept", Presence: true}, {Filter: "other"}} {
			for _, others := range []int{0, 1} {
				t.Run(fmt.Sprintf("%s/%s %d/%d", name, rule.Filter, rule.Messages, others), func(t *testing.T) {
					k := &keeper{Broker: pubsub.InProcess()}
					at := k.fill(t)
					r := newRig(t, pubsub.Options{Broker: &meanwhile{taken: taken{k}, do: tt.do}, Rules: []pubsub.Rule{rule}})
					for range others {
						r.subscribed("kept")
					}
					client, conn := r.connect()
					s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[17]})
					if asked := k.asked.Load(); !s.Recovered || asked > tt.asked {
						t.Errorf("%+v, asked %d times", s, asked)
					}
					r.publish("kept", "after")
					expectTexts(t, client, append(append([]string{"18", "19"}, tt.want...), "after")...)
				})
			}
		}
	}
}

// TestPastDoesNotJoin: of a topic without a rule, whose past ends before the node began, nothing is sent, and
// nobody is told that he has all.
func TestPastDoesNotJoin(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	at := k.fill(t)
	r := newRig(t, pubsub.Options{Broker: pages{k}, Rules: []pubsub.Rule{{Filter: "other"}}, Limits: pubsub.Limits{Reading: 1}}) // one part
	_, conn := r.connect()
	if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[0]}); s.Recovered || s.Sent != 0 {
		t.Errorf("%+v", s)
	}
}

// placeless is a keeper for one more hub that does not know where its topics are, and does not answer.
type placeless struct{ taken }

func (placeless) Position(string) pubsub.Position { return pubsub.Position{} }

// TestNoPositionYet: what came to a topic before its first message, when the broker did not know where it was, may be missing.
func TestNoPositionYet(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	at := k.fill(t)
	r := newRig(t, pubsub.Options{Broker: &placeless{taken{k}}, Rules: []pubsub.Rule{{Filter: "kept", Messages: 100}}})
	k.down.Store(true)
	client, conn := r.connect()
	if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[5]}); s.Recovered || s.Position != (pubsub.Position{}) {
		t.Errorf("%+v", s)
	}
	k.say("kept", "late")
	expectTexts(t, client, "late")
	_, conn = r.connect()
	if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[5]}); s.Recovered {
		t.Errorf("behind a message of which the one before is not known: %+v", s)
	}
}
