package nats

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// TestLineSubjects: whatever a line has kept, each topic has its own subject.
func TestLineSubjects(t *testing.T) {
	for _, interest := range []Interest{ByTopic, ByPartition, All} {
		b := New(Options{Interest: interest, Prefix: "p"})
		var one line // all topics share it, as some do
		for _, text := range strings.Fields("a/b a/b a/b a.b a/b c c a/b a/b %00 a//b a//b") {
			_, hash := b.line(text)
			if got, want := one.subjectOf(b.names, text, hash), b.names.subject(text); got != want {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		}
		for _, hash := range []uint64{7, 7, 7} { // of two topics alike
			for _, text := range []string{"x", "y"} {
				if got, want := one.subjectOf(b.names, text, hash), b.names.subject(text); got != want {
					t.Errorf("%q: %q, want %q", text, got, want)
				}
			}
		}
		var fresh line
		if got, want := fresh.subjectOf(b.names, "", 0), b.names.subject(""); got != want {
			t.Errorf("of the empty name: %q, want %q", got, want)
		}
	}
}

// TestHeardTopics: many more subjects than are kept, each twice, and such as are no topic's between them.
func TestHeardTopics(t *testing.T) {
	b := New(Options{Prefix: "p"})
	s := &session{broker: b}
	for i := range 3 * len(s.heard) {
		topic := fmt.Sprintf("room/%d", i)
		for range 2 {
			got, at := s.topicOf("p.room." + topic[5:])
			if want, _ := b.line(topic); got != topic || at != want {
				t.Errorf("%q, %p, want %q, %p", got, at, topic, want)
			}
			if got, at := s.topicOf("other.room." + topic[5:]); at != nil {
				t.Errorf("a subject outside is of %q", got)
			}
		}
	}
}

// TestLineAllocates: a message of a topic that comes again and again, or is published again and again, allocates nothing here.
func TestLineAllocates(t *testing.T) {
	b := New(Options{})
	s := &session{broker: b}
	m := pubsub.Message{Topic: "rooms/1/messages", Payload: []byte("text")}
	if n := testing.AllocsPerRun(100, func() {
		l, hash := b.line(m.Topic)
		if l.subjectOf(b.names, m.Topic, hash) == "" || header(&m, &pubsub.PublishOptions{}) != nil {
			t.Error("no subject, or headers")
		}
		if topic, _ := s.topicOf("rooms.1.messages"); topic != m.Topic {
			t.Errorf("of %q", topic)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
