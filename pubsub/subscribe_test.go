package pubsub_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
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

// TestPastAsPublished: the past is sent with the options of its messages.
func TestPastAsPublished(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 10}}})
	publish := func(text string, o server.SendOptions) pubsub.Position {
		t.Helper()
		p, err := r.hub.Publish(t.Context(), pubsub.Message{Topic: "a", Payload: []byte(text)}, pubsub.PublishOptions{SendOptions: o})
		if err != nil {
			t.Fatal(err)
		}
		return p.Position
	}
	first := publish("first", server.SendOptions{})
	publish("soon over", server.SendOptions{Expires: time.Nanosecond})
	publish("for long", server.SendOptions{Expires: time.Hour, Key: "k"})
	r.eventually("a nanosecond is over", func() bool {
		client, conn := r.connect()
		s := r.subscribe(conn, "a", pubsub.SubscribeOptions{Since: first})
		if s.Sent == 1 && s.Recovered {
			expectTexts(t, client, "for long")
		}
		return s.Sent == 1 && s.Recovered
	})
	if all, _, err := r.hub.History("a", first, pubsub.HistoryBound{}); len(all) != 2 || err != nil {
		t.Errorf("%d messages, %v", len(all), err)
	}
}

// TestRefusedIsCounted: also what is refused for its name, size or text.
func TestRefusedIsCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Limits: pubsub.Limits{Payload: 3}})
	for _, m := range []pubsub.Message{{Topic: "a/+"}, {Topic: "a", Payload: []byte("long")}, {Topic: "a", Payload: []byte("\xff")}} {
		if _, err := r.hub.Publish(t.Context(), m, pubsub.PublishOptions{}); err == nil {
			t.Errorf("%+v is taken", m)
		}
	}
	if s := r.hub.Stats(); s.Refused != 3 || s.Published != 0 {
		t.Errorf("%+v", s)
	}
}

// TestOptionsThatCanNotWork: a hub is not made with options that say what can not be.
func TestOptionsThatCanNotWork(t *testing.T) {
	if _, err := pubsub.New(nil, pubsub.Options{}); err == nil || err.Error() != "pubsub: New: the server is nil" {
		t.Error(err)
	}
	t.Parallel()
	rules := func(rules ...pubsub.Rule) pubsub.Options { return pubsub.Options{Rules: rules} }
	for want, o := range map[string]pubsub.Options{
		"Rules[0].Filter":                   rules(pubsub.Rule{Filter: "a/#/b"}),
		"Rules[0]: Messages":                rules(pubsub.Rule{Filter: "a", Messages: -1}),
		"Rules[1]: Age and Bytes":           rules(pubsub.Rule{Filter: "a"}, pubsub.Rule{Filter: "b", Age: time.Second}),
		"no such QueuePolicy":               rules(pubsub.Rule{Filter: "a", Policy: 9}),
		"the hub's":                         rules(pubsub.Rule{Filter: "$presence/#", Messages: 1}),
		`Rules[0], "a/#", is that of all`:   rules(pubsub.Rule{Filter: "a/#"}, pubsub.Rule{Filter: "a/+"}),
		"PublishBurst is of no use without": {Limits: pubsub.Limits{PublishBurst: 1}},
	} {
		if _, err := pubsub.New(&server.Server{}, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one with %q", err, want)
		}
	}
}

// placed is a broker that does something when it is asked for a position, after it has looked.
type placed struct {
	pubsub.Broker
	receiver pubsub.Receiver
	asked    atomic.Pointer[func()] // once
}

func (p *placed) Start(r pubsub.Receiver) error {
	p.receiver = r
	return p.Broker.Start(r)
}

func (p *placed) Position(topic string) pubsub.Position {
	at := p.Broker.Position(topic)
	if do := p.asked.Swap(nil); do != nil {
		(*do)()
	}
	return at
}

// whenAsked has the broker do something at the next question.
func (p *placed) whenAsked(do func()) { p.asked.Store(&do) }

// TestTopicMadeAnew: where the broker was before a topic was made anew says nothing of that one.
func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	broker := &placed{Broker: pubsub.InProcess()}
	r := newRig(t, pubsub.Options{Broker: broker, Rules: []pubsub.Rule{{Filter: "a", Messages: 10}}})
	at := r.publish("other", "0").Position
	_, first := r.connect()
	_, second := r.connect()
	asked, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	broker.whenAsked(func() { // the first one's topic is there, of no use yet
		m := pubsub.Message{Topic: "a", Payload: []byte("1"), Opcode: ws.Text}
		if _, err := r.hub.Publish(t.Context(), m, pubsub.PublishOptions{NotKept: true}); err != nil {
			t.Error(err)
		}
		broker.whenAsked(func() {
			close(asked)
			<-goOn
		})
		go func() {
			defer close(done)
			_, _ = r.hub.Subscribe(second, "a", pubsub.SubscribeOptions{}) // it is open
		}()
		<-asked
	})
	s := r.subscribe(first, "a", pubsub.SubscribeOptions{Since: at})
	close(goOn)
	<-done
	if s.Recovered {
		t.Errorf("%+v, and 1 was missed", s)
	}
}

// TestGapOfOneOnHisWay: who subscribes is told of a gap behind his place, whatever was told while the broker was asked for it.
func TestGapOfOneOnHisWay(t *testing.T) {
	t.Parallel()
	broker := &placed{Broker: pubsub.InProcess()}
	r := newRig(t, pubsub.Options{Broker: broker})
	r.hub.SetGapNotice(func(topic string) *ws.Prepared { return ws.Prepare(ws.Text, []byte("gap of "+topic)) })
	client, conn := r.connect()
	broker.whenAsked(func() { broker.receiver.Missed("") })
	r.subscribe(conn, "a", pubsub.SubscribeOptions{})
	broker.receiver.Missed("a")
	expectTexts(t, client, "gap of ", "gap of a")
}

// TestNothingLostBehindReply: who was told that the subscription has begun, to a topic or to a filter, gets what is published from then on, and nothing
// before he was told.
func TestNothingLostBehindReply(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rooms/a", "rooms/+", "#"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, pubsub.Options{})
			client, conn := r.connect()
			told, published := make(chan bool), make(chan bool)
			go func() { // somebody who publishes as soon as the client knows that it is subscribed
				<-told
				r.publish("rooms/a", "first")
				close(published)
			}()
			r.subscribe(conn, name, pubsub.SubscribeOptions{Before: func(pubsub.Subscribed) error {
				if err := conn.SendText("begun"); err != nil {
					return err
				}
				expectTexts(t, client, "begun")
				close(told)
				select { // the moment between the reply and the subscription, made long
				case <-published:
				case <-time.After(200 * time.Millisecond):
				}
				return nil
			}})
			<-published
			r.publish("rooms/a", "second")
			expectTexts(t, client, "first", "second")
		})
	}
}

// TestBeforeFails: a subscription to a filter that is refused while it begins, or panics, holds up nobody.
func TestBeforeFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{})
	client, _ := r.subscribed("a/#")
	_, conn := r.connect()
	refused := errors.New("refused")
	if _, err := r.hub.Subscribe(conn, "a/#", pubsub.SubscribeOptions{Before: func(pubsub.Subscribed) error { return refused }}); !errors.Is(err, refused) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = r.hub.Subscribe(conn, "a/#", pubsub.SubscribeOptions{Before: func(pubsub.Subscribed) error { panic("of the application") }})
	}()
	r.publish("a/b", "x")
	expectTexts(t, client, "x")
}
