package gateway_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
)

// lossy is a broker that says that it has missed something.
type lossy struct {
	pubsub.Broker
	to pubsub.Receiver
}

func (l *lossy) Start(r pubsub.Receiver) error {
	l.to = r
	return l.Broker.Start(r)
}

// TestGap: whoever is subscribed to a topic is told that messages of it may be missing, and nobody else.
func TestGap(t *testing.T) {
	t.Parallel()
	broker := &lossy{Broker: pubsub.InProcess()}
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep, Broker: broker}, nil)
	one, filter, other, raw := r.connect("/topics/a/b?envelope=1"), r.connect("/topics/a/%23?envelope=1"), r.connect("/topics/c?envelope=1"), r.connect("/topics/a/b")
	stream := r.stream("/topics/a/b")
	one.ReceiveText()
	filter.ReceiveText()
	other.ReceiveText()
	stream.next()
	broker.to.Missed("a/b")
	say(t, one, "", `{"gap":"a/b"}`)
	say(t, filter, "", `{"gap":"a/b"}`)
	if e := stream.next(); e.Name != "gap" || string(e.Data) != `{"gap":"a/b"}` {
		t.Errorf("%+v", e)
	}
	other.ExpectNothing()
	broker.to.Missed("")
	say(t, one, "", `{"gap":"#"}`)
	say(t, other, "", `{"gap":"#"}`)
	raw.ExpectNothing()
	if s := r.g.Stats(); s.Gaps != 2 {
		t.Errorf("%+v", s)
	}
}

// TestGapInItsPlace: a gap is told behind the messages before it and before those behind it, so that nobody goes on behind it untold.
func TestGapInItsPlace(t *testing.T) {
	t.Parallel()
	broker := &lossy{Broker: pubsub.InProcess()}
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep, Broker: broker}, nil)
	c, raw := r.connect("/topics/a?envelope=1"), r.connect("/topics/a")
	stream := r.stream("/topics/a")
	c.ReceiveText()
	stream.next()
	for i := range 100 {
		r.publish("a", strconv.Itoa(i))
		broker.to.Missed("a")
	}
	for i := range 100 {
		say(t, c, "", fmt.Sprintf(`{"topic":"a","position":P,"time":T,"data":"%d"}`, i))
		say(t, c, "", `{"gap":"a"}`)
		if e := stream.next(); string(e.Data) != strconv.Itoa(i) {
			t.Errorf("event %d: %+v", i, e)
		}
		if e := stream.next(); e.Name != "gap" || e.ID == "" { // the reader keeps the last id
			t.Errorf("behind event %d: %+v", i, e)
		}
		if got := raw.ReceiveText(); got != strconv.Itoa(i) {
			t.Errorf("message %d: %q", i, got)
		}
	}
	raw.ExpectNothing()
}

// TestGapOfEnded: whose subscription the hub has ended is not told of its gaps any more, until he subscribes again. A raw connection still
// publishes to its topic.
func TestGapOfEnded(t *testing.T) {
	t.Parallel()
	broker := &lossy{Broker: pubsub.InProcess()}
	who := tokens{"ann": {User: "ann", Rights: gateway.Rights{Subscribe: []string{"#"}, Publish: []string{"#"}}}}
	r := newRigWith(t, gateway.Options{Auth: []gateway.Authenticator{who}}, pubsub.Options{Rules: keep, Broker: broker}, nil)
	c, raw := r.connect("/topics/a?topic=b/%2B&topic=c&envelope=1&token=ann"), r.connect("/topics/a?token=ann")
	stream := r.stream("/topics/a?topic=c&token=ann")
	for range 3 {
		c.ReceiveText()
	}
	stream.next()
	stream.next()
	r.srv.WaitIdle()
	if n := r.hub.UnsubscribeUser("ann", "a") + r.hub.UnsubscribeUser("ann", "b/+"); n != 4 {
		t.Errorf("%d subscriptions have ended, want 4", n)
	}
	for _, topic := range []string{"a", "b/x", "c"} { // of the last one all are told still
		broker.to.Missed(topic)
	}
	say(t, c, "", `{"gap":"c"}`)
	if e := stream.next(); e.Name != "gap" || string(e.Data) != `{"gap":"c"}` {
		t.Errorf("%+v", e)
	}
	say(t, c, `{"id":1,"subscribe":"a"}`, `{"id":1,"ok":true,"topic":"a","position":P,"recovered":false,"sent":0}`)
	broker.to.Missed("a")
	say(t, c, "", `{"gap":"a"}`)
	raw.SendText("still mine")
	say(t, c, "", `{"topic":"a","position":P,"time":T,"data":"still mine"}`)
	say(t, c, `{"id":2,"unsubscribe":"a"}`, `{"id":2,"ok":true,"topic":"a"}`)
	broker.to.Missed("a")
	broker.to.Missed("c")
	say(t, c, "", `{"gap":"c"}`)
}
