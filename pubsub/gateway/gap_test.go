package gateway_test

import (
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
