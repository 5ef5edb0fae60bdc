package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// gapRig is a rig whose broker misses something, and whose members are told.
func gapRig(t *testing.T) (*rig, pubsub.Receiver) {
	t.Helper()
	broker := &lossy{Broker: pubsub.InProcess()}
	r := newRig(t, pubsub.Options{Broker: broker, Rules: []pubsub.Rule{{Filter: "#", Messages: 10}}})
	r.hub.SetGapNotice(func(topic string) *ws.Prepared { return ws.Prepare(ws.Text, []byte("gap of "+topic)) })
	return r, broker.receiver
}

// TestGapNotice: members of a topic, and of filters that meet it, are told of a gap behind what came before, and before what comes behind.
func TestGapNotice(t *testing.T) {
	t.Parallel()
	r, broker := gapRig(t)
	topic, _ := r.subscribed("a/b", "a/+")
	filter, _ := r.subscribed("a/#")
	other, _ := r.subscribed("c")
	for i := range 50 {
		r.publish("a/b", fmt.Sprint(i))
		broker.Missed("a/b")
		r.publish("a/x", "beside")
		broker.Missed("a/y") // there is no such topic, but a filter
		if i%10 == 0 {
			broker.Missed("")
		}
	}
	for i := range 50 {
		want := []string{fmt.Sprint(i), "gap of a/b", "beside", "gap of a/y"}
		if i%10 == 0 {
			want = append(want, "gap of ")
		}
		expectTexts(t, topic, want...)
		expectTexts(t, filter, want...)
	}
	for range 5 {
		expectTexts(t, other, "gap of ")
	}
	other.ExpectNothing()
}

// TestGapsInARow: of many gaps without a message in between all are told at once, and again behind the next message.
func TestGapsInARow(t *testing.T) {
	t.Parallel()
	r, broker := gapRig(t)
	client, _ := r.subscribed("#")
	for range 2 {
		for i := range 300 {
			broker.Missed(fmt.Sprint("t", i))
		}
		r.publish("x", "a message")
		for i := range 99 {
			expectTexts(t, client, fmt.Sprint("gap of t", i))
		}
		expectTexts(t, client, "gap of ", "a message")
	}
	broker.Missed("")
	broker.Missed("t") // of all it was told
	r.publish("x", "another one")
	broker.Missed("t")
	expectTexts(t, client, "gap of ", "another one", "gap of t")
	client.ExpectNothing()
}

// TestGapOfNewcomer: who subscribes behind a notice of all topics is told of the gaps that come then.
func TestGapOfNewcomer(t *testing.T) {
	t.Parallel()
	r, broker := gapRig(t)
	broker.Missed("")
	client, _ := r.subscribed("a")
	broker.Missed("a")
	broker.Missed("")
	r.subscribed("b")
	broker.Missed("a")
	expectTexts(t, client, "gap of a", "gap of ", "gap of a")
	client.ExpectNothing()
}

// TestGapOwed: if there is no room to tell of a gap no message passes before there is.
func TestGapOwed(t *testing.T) {
	t.Parallel()
	r, broker := gapRig(t)
	client, _ := r.subscribed("a")
	full := true
	r.hub.SetGapNotice(func(topic string) *ws.Prepared {
		if full {
			return ws.Prepare(ws.Ping, nil) // refused as ErrNoRoom would be
		}
		return ws.Prepare(ws.Text, []byte("gap of "+topic))
	})
	r.publish("a", "before")
	broker.Missed("a")
	for _, topic := range []string{"a", "b"} {
		if _, err := r.hub.Publish(context.Background(), pubsub.Message{Topic: topic}, pubsub.PublishOptions{}); !errors.Is(err, server.ErrNoRoom) {
			t.Errorf("published to %s: %v, want ErrNoRoom", topic, err)
		}
	}
	full = false
	r.publish("a", "behind")
	expectTexts(t, client, "before", "gap of ", "behind")
	client.ExpectNothing()
}

// TestGapsOfOneTopic: however often one topic has a gap, its members alone are told, and each time; of many topics in a row all are told once.
func TestGapsOfOneTopic(t *testing.T) {
	t.Parallel()
	r, broker := gapRig(t)
	client, _ := r.subscribed("a", "t/+")
	other, _ := r.subscribed("b")
	for range 3 {
		for i := range 98 {
			broker.Missed(fmt.Sprint("t/", i))
			expectTexts(t, client, fmt.Sprint("gap of t/", i))
		}
		for range 300 {
			broker.Missed("a")
			expectTexts(t, client, "gap of a")
		}
		r.publish("b", "a message")
		expectTexts(t, other, "a message")
	}
	for i := range 300 {
		broker.Missed(fmt.Sprint("t/", i%150))
	}
	broker.Missed("t/1") // of all it was told
	for i := range 99 {
		expectTexts(t, client, fmt.Sprint("gap of t/", i))
	}
	expectTexts(t, client, "gap of ")
	expectTexts(t, other, "gap of ")
	other.ExpectNothing()
	client.ExpectNothing()
}

// unsteady is a broker that does not know at first where a topic is, and the second time misses something behind it.
type unsteady struct {
	lossy
	missed string
	asked  atomic.Int64
}

func (u *unsteady) Position(topic string) pubsub.Position {
	at := u.Broker.Position(topic)
	switch u.asked.Add(1) {
	case 1:
		return pubsub.Position{}
	case 2:
		_, _ = u.Publish(context.Background(), pubsub.Message{Topic: "noise", Opcode: ws.Text}, pubsub.PublishOptions{}) // so that it is elsewhere
		u.receiver.Missed(u.missed)
	}
	return at
}

// TestGapElsewhere: what is missed of one topic keeps nobody from being recovered in another one, whether that was there or not.
func TestGapElsewhere(t *testing.T) {
	t.Parallel()
	for missed, want := range map[string]bool{"b": true, "a": false, "": false, "+": false} {
		broker := &unsteady{lossy: lossy{Broker: pubsub.InProcess()}, missed: missed}
		r := newRig(t, pubsub.Options{Broker: broker, Rules: []pubsub.Rule{{Filter: "#", Messages: 10}}})
		r.subscribed("a")
		_, conn := r.connect()
		at := r.subscribe(conn, "a", pubsub.SubscribeOptions{}).Position
		_, conn = r.connect()
		if s := r.subscribe(conn, "a", pubsub.SubscribeOptions{Since: at}); s.Recovered != want {
			t.Errorf("%q was missed: %+v", missed, s)
		}
	}
	// Of topics that are not there it is known by a hash: others with the same one are taken for missed.
	r, broker := gapRig(t)
	broker.Missed("b")
	recovered := 0
	for i := range 20 {
		name := fmt.Sprint("a", i)
		at := r.publish(name, "0").Position
		at.Number-- // where somebody was who has left
		_, conn := r.connect()
		if s := r.subscribe(conn, name, pubsub.SubscribeOptions{Since: at}); s.Recovered {
			recovered++
		}
	}
	if recovered == 0 {
		t.Error("nobody is recovered in another topic")
	}
	at := r.publish("b", "0").Position
	at.Number--
	_, conn := r.connect()
	if s := r.subscribe(conn, "b", pubsub.SubscribeOptions{Since: at}); s.Recovered {
		t.Errorf("recovered over the gap: %+v", s)
	}
}
