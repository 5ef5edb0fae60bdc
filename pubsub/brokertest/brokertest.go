// Package brokertest holds a pubsub.Broker to what its interface promises.
package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
)

// patience is how long a test waits for what has to come.
const patience = 10 * time.Second

// errRefused is what the receiver answers when it is to.
var errRefused = errors.New("refused by the test")

// receiver notes what comes.
type receiver struct {
	t        testing.TB
	mu       sync.Mutex
	busy     map[string]bool
	messages map[string][]pubsub.Message // by topic
	refuse   string                      // payloads that are refused
	missed   int                         // times that something was
	mayMiss  bool                        // that is no error
}

// Receive implements pubsub.Receiver.
func (r *receiver) Receive(m pubsub.Message, _ pubsub.PublishOptions) (int, error) {
	r.mu.Lock()
	if r.busy[m.Topic] {
		r.t.Errorf("%s: a message comes while another one does", m.Topic)
	}
	r.busy[m.Topic] = true
	r.mu.Unlock()
	time.Sleep(10 * time.Microsecond) // for others to be in the way, if they may
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[m.Topic] = false
	if r.refuse != "" && string(m.Payload) == r.refuse {
		return 0, errRefused
	}
	m.Payload = slices.Clone(m.Payload)
	r.messages[m.Topic] = append(r.messages[m.Topic], m)
	return 7, nil
}

// Missed implements pubsub.Receiver.
func (r *receiver) Missed(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed++
	if !r.mayMiss {
		r.t.Errorf("something of %q was missed", topic)
	}
}

func (r *receiver) of(topic string) []pubsub.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages[topic])
}

// Test runs the suite. Each broker that start gives is a new one without messages; Test starts and
// closes it.
func Test(t *testing.T, start func(t *testing.T) pubsub.Broker) {
	for name, test := range map[string]func(*testing.T, pubsub.Broker, *receiver){
		"order": order, "positions": positions, "whole or not at all": refusals, "contents": contents,
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			test(t, b, begin(t, b))
		})
	}
}

// begin starts a broker, which is closed at the end of the test.
func begin(t *testing.T, b pubsub.Broker) *receiver {
	t.Helper()
	r := &receiver{t: t, busy: map[string]bool{}, messages: map[string][]pubsub.Message{}}
	if err := b.Start(r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func publish(t *testing.T, b pubsub.Broker, topic, text string) pubsub.Published {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := b.Publish(ctx, pubsub.Message{Topic: topic, Payload: []byte(text)}, pubsub.PublishOptions{})
	if err != nil {
		t.Error(err)
	}
	return p
}

// expectMissed has it be no error that something is missed.
func (r *receiver) expectMissed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mayMiss = true
}

// waitMissed waits until something was missed.
func (r *receiver) waitMissed() {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		missed := r.missed
		r.mu.Unlock()
		if missed > 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Fatal("nothing is missed")
		}
	}
}

// received waits until so many messages of a topic have come.
func (r *receiver) received(topic string, want int) []pubsub.Message {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if got := r.of(topic); len(got) >= want || time.Now().After(end) {
			if len(got) != want {
				r.t.Fatalf("%s: %d messages have come, want %d", topic, len(got), want)
			}
			return got
		}
	}
}

// order: of one topic one message comes after the other, with growing numbers, and what one
// goroutine publishes in its order, each once.
func order(t *testing.T, b pubsub.Broker, r *receiver) {
	const topics, senders, each = 3, 4, 200
	for i := range topics {
		b.Interest(fmt.Sprint("t", i), true)
	}
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for n := range each {
				publish(t, b, fmt.Sprint("t", n%topics), fmt.Sprintf("%d %d", s, n))
			}
		})
	}
	all.Wait()
	total := 0
	for i := range topics {
		topic := fmt.Sprint("t", i)
		want := senders * ((each + topics - 1 - i) / topics)
		last, number := map[int]int{}, uint64(0)
		for _, m := range r.received(topic, want) {
			var s, n int
			if _, err := fmt.Sscan(string(m.Payload), &s, &n); err != nil {
				t.Fatal(err)
			}
			if n+1 <= last[s] || m.Position.Number <= number {
				t.Fatalf("%s: %q behind %d, number %d behind %d", topic, m.Payload, last[s], m.Position.Number, number)
			}
			last[s], number = n+1, m.Position.Number
			total++
		}
	}
	if total != senders*each {
		t.Errorf("%d messages have come, want %d", total, senders*each)
	}
}

// positions: Publish gives the position that the message comes with, and Position none that is
// before what has come, or not before what comes.
func positions(t *testing.T, b pubsub.Broker, r *receiver) {
	b.Interest("a", true)
	for i := range 100 {
		before := b.Position("a")
		p := publish(t, b, "a", strconv.Itoa(i))
		got := r.received("a", i+1)[i]
		if got.Position != p.Position {
			t.Fatalf("published at %v, came at %v", p.Position, got.Position)
		}
		if got.Position.Epoch != before.Epoch || got.Position.Number <= before.Number || b.Position("a").Number < got.Position.Number {
			t.Fatalf("at %v, then %v, then %v", before, got.Position, b.Position("a"))
		}
		if read, err := pubsub.ParsePosition(got.Position.String()); err != nil || read != got.Position {
			t.Fatalf("%v is read as %v, %v", got.Position, read, err)
		}
	}
}

// refusals: a message that the receiver refuses is not published, or it is told that it was missed, and those behind it are published.
func refusals(t *testing.T, b pubsub.Broker, r *receiver) {
	b.Interest("a", true)
	r.refuse = "bad"
	r.expectMissed()
	publish(t, b, "a", "1")
	p, err := b.Publish(t.Context(), pubsub.Message{Topic: "a", Payload: []byte("bad")}, pubsub.PublishOptions{})
	if !errors.Is(err, errRefused) && err != nil || err == nil && p.Position == (pubsub.Position{}) {
		t.Errorf("refused: %+v, %v", p, err)
	}
	publish(t, b, "a", "2")
	if got := r.received("a", 2); string(got[1].Payload) != "2" {
		t.Errorf("%q", got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if (r.missed > 0) != (err == nil) {
		t.Errorf("told %d times that something was missed; publishing said %v", r.missed, err)
	}
}

// contents: a message comes as it was published, with its time.
func contents(t *testing.T, b pubsub.Broker, r *receiver) {
	for _, topic := range []string{"a", "a/b/c", "/", "ä ö/*/>", "x.y"} {
		b.Interest(topic, true)
		for _, payload := range []string{"", "\x00\xff", "text"} {
			began := time.Now()
			p := publish(t, b, topic, payload)
			all := r.of(topic)
			for len(all) == 0 || string(all[len(all)-1].Payload) != payload {
				if time.Since(began) > patience {
					t.Fatalf("%q does not come to %q", payload, topic)
				}
				time.Sleep(time.Millisecond)
				all = r.of(topic)
			}
			if m := all[len(all)-1]; m.Time.Before(began.Add(-time.Minute)) || m.Topic != topic || p.Position != m.Position {
				t.Errorf("%+v", m)
			}
		}
	}
}
