package natstest

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// TestHistoryWhileDropping reads the past of a topic while messages come and the stream drops old ones, by each of its bounds. Nothing
// is ever missing of what a History says that it has, nor there that was not received yet.
func TestHistoryWhileDropping(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, bounds := range map[string]nats.Stream{
		"ONE": {Messages: 1}, "FIVE": {Messages: 5}, "PAGES": {Messages: 600}, "SMALL": {Bytes: 30_000}, "LARGE": {Bytes: 200_000}, "YOUNG": {Age: 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := streamed(s.url(), name)
			o.Stream.Messages, o.Stream.Bytes, o.Stream.Age = bounds.Messages, bounds.Bytes, bounds.Age
			testHistoryWhileDropping(t, startNode(t, o))
		})
	}
}

// reading is a question and its answer.
type reading struct {
	since    pubsub.Position
	bound    pubsub.HistoryBound
	history  pubsub.History
	received int // messages of the topic, by then
}

func testHistoryWhileDropping(t *testing.T, n *node) {
	n.want("kept/a")
	n.send("kept/other", "stays at the head, if it may")
	var mu sync.Mutex
	var all []pubsub.Position // of kept/a
	over := make(chan struct{})
	go func() {
		defer close(over)
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
			p, err := n.Publish(t.Context(), pubsub.Message{Topic: "kept/a", Payload: []byte(strings.Repeat("x", rand.IntN(200)))}, pubsub.PublishOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			all = append(all, p.Position)
			mu.Unlock()
			if rand.IntN(200) == 0 { // many go for it
				if _, err := n.Publish(t.Context(), pubsub.Message{Topic: "kept/b", Payload: make([]byte, 10_000)}, pubsub.PublishOptions{}); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	var readings []reading
	for running := true; running; {
		select {
		case <-over:
			running = false
		default:
		}
		r := reading{bound: pubsub.HistoryBound{Messages: []int{1, 2, 5, 300, 10_000}[rand.IntN(5)], Bytes: []int64{1, 1000, 1 << 20}[rand.IntN(3)]}}
		mu.Lock()
		if recent := min(len(all), 1+rand.IntN(1000)); rand.IntN(3) > 0 && recent > 0 {
			r.since = all[len(all)-recent]
		}
		mu.Unlock()
		r.bound.Last = r.since == pubsub.Position{} && rand.IntN(2) == 0
		var err error
		if r.history, err = n.History(t.Context(), "kept/a", r.since, r.bound); err != nil {
			t.Logf("%v %+v: %v", r.since, r.bound, err) // no answer is right as well
			continue
		}
		r.received = len(n.texts("kept/a"))
		readings = append(readings, r)
	}
	for _, r := range readings {
		r.check(t, all)
	}
	complete := 0
	for _, r := range readings {
		if r.history.From.Number <= r.since.Number {
			complete++
		}
	}
	t.Logf("%d messages, %d readings, %d of them complete", len(all), len(readings), complete)
	if len(readings) == 0 {
		t.Error("nothing was read")
	}
}

// check holds what was read against all messages.
func (r *reading) check(t *testing.T, all []pubsub.Position) {
	h, got := &r.history, map[pubsub.Position]bool{}
	last := r.since
	for _, m := range h.Messages {
		if m.Position.Number <= last.Number || m.Position.Number > h.Through.Number {
			t.Errorf("%v %+v: %v is behind %v, or beyond %v", r.since, r.bound, m.Position, last, h.Through)
		}
		last = m.Position
		got[m.Position] = true
	}
	for i, p := range all {
		if p.Number > h.Through.Number {
			break
		}
		if p.Number > max(h.From.Number, r.since.Number) && !got[p] {
			t.Errorf("%v %+v: %v is missing from %v to %v, more: %v", r.since, r.bound, p, h.From, h.Through, h.More)
		}
		if i >= r.received {
			t.Errorf("%v %+v: up to %v, and %v was not received yet", r.since, r.bound, h.Through, p)
		}
	}
}
