package pubsub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// TestPresenceRate: who comes and goes for ever is refused, so that those who are told of it are not flooded. It may always
// leave, and use what nobody is told of.
func TestPresenceRate(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "rooms/#", Presence: true}}, Limits: pubsub.Limits{PresenceRate: 1, PresenceBurst: 3}})
	watcher, _ := r.subscribed("$presence/rooms/hall")
	_, conn := r.connect()
	came := 0
	for range 50 {
		_, err := r.hub.Subscribe(conn, "rooms/hall", pubsub.SubscribeOptions{})
		if err != nil && !errors.Is(err, pubsub.ErrTooFast) {
			t.Fatal(err)
		}
		if in := r.hub.Unsubscribe(conn, "rooms/hall"); in != (err == nil) {
			t.Fatalf("%v, and then unsubscribed: %v", err, in)
		}
		if err == nil {
			came++
		}
	}
	if came < 3 || came > 13 {
		t.Errorf("it came %d times", came)
	}
	_, other := r.subscribed("rooms/hall")
	r.hub.Unsubscribe(other, "rooms/hall")
	for range came + 1 { // the other one too, and nothing else
		for _, event := range []string{"join", "leave"} {
			var e struct{ Event string }
			if watcher.ReceiveJSON(&e); e.Event != event {
				t.Errorf("%+v, want %s", e, event)
			}
		}
	}
	for _, name := range []string{"hall", "rooms/+", "$presence/rooms/hall"} {
		r.subscribe(conn, name, pubsub.SubscribeOptions{})
	}
}

// TestPresenceAtTheStart: a connection may enter as many topics as it may have, and then leave them. Until that is over it enters
// no others, but it stays where it is.
func TestPresenceAtTheStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "rooms/#", Presence: true}}})
	_, conn := r.subscribed("rooms/hall")
	most := r.hub.Limits().Topics
	for i := range most - 1 {
		r.subscribe(conn, fmt.Sprint("rooms/", i), pubsub.SubscribeOptions{})
	}
	for i := range most - 1 {
		if !r.hub.Unsubscribe(conn, fmt.Sprint("rooms/", i)) {
			t.Fatal("it may not leave")
		}
	}
	if _, err := r.hub.Subscribe(conn, "rooms/1", pubsub.SubscribeOptions{}); !errors.Is(err, pubsub.ErrTooFast) {
		t.Errorf("%v behind %d topics that it has left", err, most-1)
	}
	if s := r.subscribe(conn, "rooms/hall", pubsub.SubscribeOptions{}); !s.Again {
		t.Errorf("%+v where it is already", s)
	}
}

// TestPresenceRateRecovers: it may come again when the time is over, and with no bound at any time.
func TestPresenceRateRecovers(t *testing.T) {
	t.Parallel()
	rules := []pubsub.Rule{{Filter: "#", Presence: true}}
	r := newRig(t, pubsub.Options{Rules: rules, Limits: pubsub.Limits{PresenceRate: 100, PresenceBurst: 1}})
	_, conn := r.connect()
	for range 5 {
		r.eventually("it to be in again", func() bool {
			_, err := r.hub.Subscribe(conn, "a", pubsub.SubscribeOptions{})
			return err == nil
		})
		r.hub.Unsubscribe(conn, "a")
	}
	free := newRig(t, pubsub.Options{Rules: rules, Limits: pubsub.Limits{PresenceRate: -1}})
	_, conn = free.connect()
	for range 1000 {
		free.subscribe(conn, "a", pubsub.SubscribeOptions{})
		free.hub.Unsubscribe(conn, "a")
	}
}

// TestPresenceOfOneThatEnds: of a connection that ends while it is subscribed by another goroutine, join and leave tell who it was.
func TestPresenceOfOneThatEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "rooms/#", Presence: true}}})
	watcher, _ := r.subscribed("$presence/rooms/hall")
	client, conn := r.connect()
	r.hub.SetUser(conn, "ann")
	r.subscribe(conn, "rooms/hall", pubsub.SubscribeOptions{Before: func(pubsub.Subscribed) error {
		r.hub.Forget(conn) // its loop is that fast
		return nil
	}})
	client.Abort()
	for _, event := range []string{"join", "leave"} {
		var e struct {
			Event  string
			Member struct{ User string }
		}
		if watcher.ReceiveJSON(&e); e.Event != event || e.Member.User != "ann" {
			t.Errorf("%+v, want %s of ann", e, event)
		}
	}
}

// TestPresenceOfLongNames: whatever name a topic may have, who comes and goes can be told.
func TestPresenceOfLongNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Presence: true}}})
	limits := r.hub.Limits()
	for _, name := range []string{strings.Repeat("a", limits.NameLength), "b" + strings.Repeat("/b", limits.Levels-1)} {
		watcher, _ := r.subscribed("$presence/" + name)
		r.subscribed(name)
		var e struct{ Event, Topic string }
		if watcher.ReceiveJSON(&e); e.Event != "join" || e.Topic != name {
			t.Errorf("%+v", e)
		}
		_, conn := r.connect()
		for _, longer := range []string{name + "/b" + name, "$presence/" + name + "/b" + name} {
			if _, err := r.hub.Subscribe(conn, longer, pubsub.SubscribeOptions{}); !errors.Is(err, pubsub.ErrName) {
				t.Errorf("%q: %v", longer, err)
			}
		}
	}
}

// TestNoPresence: who wants to be told who comes and goes where nobody is told that is refused, by name or by filter, and not left waiting.
func TestNoPresence(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "rooms/quiet/#", Messages: 1}, {Filter: "rooms/#", Presence: true}, {Filter: "news/+"}}})
	_, conn := r.connect()
	for name, ok := range map[string]bool{
		"rooms/hall": true, "rooms/#": true, "rooms/+": true, "rooms/+/x": true, "#": true, "+/hall": true, "+/quiet/x": true,
		"rooms/quiet": false, "rooms/quiet/x": false, "rooms/quiet/+": false, "news/1": false, "news/#": false, "other": false, "other/+": false, "$presence/rooms/hall": false, "$presence/#": false, "$presence/+/hall": false,
	} {
		if _, err := r.hub.Subscribe(conn, "$presence/"+name, pubsub.SubscribeOptions{}); ok != (err == nil) || !ok && !errors.Is(err, pubsub.ErrNoPresence) {
			t.Errorf("%s: %v, want %v", name, err, ok)
		}
	}
}
