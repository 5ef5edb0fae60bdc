package nats

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
)

// noted is a receiver that notes what comes, and "-" and the name of what is missed.
type noted struct {
	came   []string
	refuse string // a payload
	in     func() // called in Receive of it
}

// Receive implements pubsub.Receiver.
func (n *noted) Receive(m pubsub.Message, _ pubsub.PublishOptions) (int, error) {
	n.came = append(n.came, string(m.Payload))
	if n.in != nil && string(m.Payload) == n.refuse {
		n.in()
		return 0, errors.New("no room")
	}
	return 1, nil
}

// Missed implements pubsub.Receiver.
func (n *noted) Missed(name string) { n.came = append(n.came, "-"+name) }

// broker gives one without a connection, whose session has begun.
func (n *noted) broker(o Options) (*Broker, *session) {
	b := New(o)
	b.receiver = n
	s := &session{broker: b, closed: make(chan struct{}), number: b.interests.begin()}
	b.session.Store(s)
	return b, s
}

func (n *noted) expect(t *testing.T, want ...string) {
	t.Helper()
	for i := range n.came { // what is missed together has any order
		for k := i; k > 0 && strings.HasPrefix(n.came[k-1], "-") && strings.HasPrefix(n.came[k], "-") && n.came[k] < n.came[k-1]; k-- {
			n.came[k], n.came[k-1] = n.came[k-1], n.came[k]
		}
	}
	if !slices.Equal(n.came, want) {
		t.Errorf("%q, want %q", n.came, want)
	}
	n.came = nil
}

// TestEarly: what others may have published between a message of this node's, which came before the server knew who wants the topic, and
// the next one that comes is told before that, once.
func TestEarly(t *testing.T) {
	var n noted
	b, s := n.broker(Options{})
	send := func(text string) {
		_, _ = b.send(s, nil, &pubsub.Message{Topic: "a/b", Payload: []byte(text)}, &pubsub.PublishOptions{}) // there is no connection
	}
	take := func(text string) { b.take(s, &nats.Msg{Subject: "a.b", Data: []byte(text)}) }
	i := &b.interests
	b.Interest("a/+", true)
	b.Interest("#", true)
	b.Interest("other", true)
	take("0")
	n.expect(t, "0")
	send("1")
	take("2")
	take("3")
	n.expect(t, "1", "-#", "-a/+", "2", "3")
	send("4")
	batch := i.changes(s.number, time.Hour)
	i.subscribed(s.number, batch)
	early := i.confirm(s.number, batch, 0, false)
	take("5") // they are just about to be told
	take("6")
	n.expect(t, "4", "-#", "-a/+", "5", "6")
	if len(early) != 2 || len(i.confirm(s.number, early, 0, false)) != 0 || i.unready.Load() != 0 {
		t.Errorf("%d are to be told, and %d are not ready", len(early), i.unready.Load())
	}
	b.Interest("a/b", true) // the server does not know it yet, but brings its messages
	send("7")
	take("8")
	n.expect(t, "7", "8")
	b.session.Store(nil)
	s.number = i.begin()
	send("9")
	s.known(i.changes(s.number, time.Hour), 0, false)
	take("10")
	n.expect(t, "9", "-#", "-a/+", "-a/b", "10")
}

// TestWaitsOnce: who publishes waits for the server to know who wants the topic, and if that was in vain nobody does it again, until the next
// session.
func TestWaitsOnce(t *testing.T) {
	var n noted
	b, s := n.broker(Options{})
	b.Interest("a/+", true)
	publish := func() time.Duration {
		begin := time.Now()
		_, _ = b.Publish(context.Background(), pubsub.Message{Topic: "a/b"}, pubsub.PublishOptions{}) // there is no connection
		return time.Since(begin)
	}
	s.maxPayload = 1
	first, second := publish(), publish()
	if first < readyTimeout || second > readyTimeout/2 {
		t.Errorf("waited for %v, and for %v", first, second)
	}
	s.number = b.interests.begin()
	n.came = nil
	time.AfterFunc(readyTimeout/10, func() {
		batch := b.interests.changes(s.number, time.Hour)
		b.interests.subscribed(s.number, batch)
		s.known(batch, 0, false)
	})
	if took := publish(); took < readyTimeout/10 || took > readyTimeout/2 {
		t.Errorf("waited for %v", took)
	}
	n.expect(t, "-a/+", "") // for the two before
}

// waiting is a slog.Handler that has who logs wait.
type waiting struct {
	slog.Handler
	wait func()
}

// Enabled implements slog.Handler.
func (w *waiting) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (w *waiting) Handle(context.Context, slog.Record) error {
	w.wait()
	return nil
}

// TestRefusedInPlace: between a message for which there was no room and what tells of that no other message of the topic comes.
func TestRefusedInPlace(t *testing.T) {
	var n noted
	sent := make(chan struct{})
	b, s := n.broker(Options{Logger: slog.New(&waiting{slog.DiscardHandler, func() { <-sent }})})
	b.Interest("a", true)
	n.refuse, n.in = "refused", func() {
		go func() {
			defer close(sent)
			_, _ = b.send(s, nil, &pubsub.Message{Topic: "a", Payload: []byte("next")}, &pubsub.PublishOptions{}) // there is no connection
		}()
	}
	b.take(s, &nats.Msg{Subject: "a", Data: []byte("refused")})
	n.expect(t, "refused", "-a", "next")
	if refused := b.Stats(); refused.Refused != 1 {
		t.Errorf("%+v", refused)
	}
}
