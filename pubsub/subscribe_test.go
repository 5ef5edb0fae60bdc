package pubsub_test

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// TestBefore: how a subscription begins is known before anything of it comes, and it may be refused then.
func TestBefore(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 10}}})
	first := r.publish("a", "1")
	r.publish("a", "2")
	client, conn := r.connect()
	refused := errors.New("refused")
	_, err := r.hub.Subscribe(conn, "a", pubsub.SubscribeOptions{Since: first.Position, Before: func(pubsub.Subscribed) error { return refused }})
	if err != refused || r.hub.Count("a") != 0 {
		t.Errorf("%v, %d subscribers", err, r.hub.Count("a"))
	}
	var before pubsub.Subscribed
	o := pubsub.SubscribeOptions{Since: first.Position, Before: func(s pubsub.Subscribed) error {
		before = s
		return conn.SendText("it begins")
	}}
	s := r.subscribe(conn, "a", o)
	if before != s || s.Sent != 1 || !s.Recovered {
		t.Errorf("before %+v, then %+v", before, s)
	}
	r.publish("a", "3")
	expectTexts(t, client, "it begins", "2", "3")
	if s := r.subscribe(conn, "a", pubsub.SubscribeOptions{Before: func(pubsub.Subscribed) error { return refused }}); !s.Again {
		t.Errorf("%+v", s)
	}
}

// TestTopicStats are the figures of one topic.
func TestTopicStats(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "kept", Messages: 2}}})
	r.subscribed("kept")
	for _, text := range []string{"1", "22", "333"} {
		r.publish("kept", text)
	}
	last := r.publish("other", "x").Position
	if s, err := r.hub.TopicStats("kept"); err != nil || s.Subscribers != 1 || s.Messages != 2 || s.Bytes != 5 || s.Position.Number != last.Number-1 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := r.hub.TopicStats("other"); err != nil || s != (pubsub.TopicStats{Position: last}) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := r.hub.TopicStats("a/#"); !errors.Is(err, pubsub.ErrName) {
		t.Error(err)
	}
	if r.hub.Limits().Payload != 1<<20 || r.hub.Server() == nil {
		t.Errorf("%+v", r.hub.Limits())
	}
}
