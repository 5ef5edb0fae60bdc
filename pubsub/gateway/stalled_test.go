package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// stalled is a broker whose stream, which has the topics below "stream", does not answer for a while, as one of NATS without a leader.
type stalled struct {
	asked
	stalls  atomic.Bool
	waiting atomic.Int64
	again   chan struct{} // closed when it answers
}

func newStalled() *stalled {
	return &stalled{asked: asked{Broker: pubsub.InProcess()}, again: make(chan struct{})}
}

func (b *stalled) Keeps(topic string) bool { return strings.HasPrefix(topic, "stream/") }

func (b *stalled) wait(topic string) (stalls bool) {
	if stalls = b.stalls.Load() && b.Keeps(topic); stalls {
		b.waiting.Add(1)
		<-b.again
	}
	return stalls
}

func (b *stalled) Publish(ctx context.Context, m pubsub.Message, o pubsub.PublishOptions) (pubsub.Published, error) {
	if b.wait(m.Topic) {
		return pubsub.Published{}, pubsub.ErrUnknown
	}
	return b.Broker.Publish(ctx, m, o)
}

func (b *stalled) Position(topic string) pubsub.Position {
	b.wait(topic)
	return b.Broker.Position(topic)
}

// TestStalledBroker: while a broker's stream does not answer, who publishes to its topics, raw or in envelopes, or subscribes to new ones, does not
// keep others from other topics, new ones too. Those who find no place are told to come again.
func TestStalledBroker(t *testing.T) {
	t.Parallel()
	const workers, many = 16, 40
	b := newStalled()
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Broker: b}, func(s *server.Server) { s.Runtime.Workers = workers })
	other := r.connect("/topics?envelope=1")
	say(t, other, `{"id":1,"subscribe":"fast"}`, `{"id":1,"ok":true,"topic":"fast","position":P,"recovered":false,"sent":0}`)
	var raws, publishers, subscribers []*servertest.Client
	for range many {
		raws = append(raws, r.connect("/topics/stream/a"))
		publishers = append(publishers, r.connect("/topics?envelope=1"))
		subscribers = append(subscribers, r.connect("/topics?envelope=1"))
	}
	b.stalls.Store(true)
	refused := func() uint64 { return r.g.Stats().Refused[gateway.NoRoom] }
	for i := range many {
		raws[i].SendText("x")
		publishers[i].SendText(`{"id":1,"publish":"stream/a","data":"x"}`)
		subscribers[i].SendText(fmt.Sprintf(`{"id":1,"subscribe":"stream/new/%d"}`, i))
		say(t, other, `{"id":2,"publish":"fast","data":"x"}`, `{"topic":"fast","position":P,"kept":false,"time":T,"data":"x"}`, `{"id":2,"ok":true,"position":P,"members":1}`)
		name := fmt.Sprintf("new/%d", i)
		say(t, other, `{"id":3,"subscribe":"`+name+`"}`, `{"id":3,"ok":true,"topic":"`+name+`","position":P,"recovered":false,"sent":0}`)
	}
	r.eventually("all but a few to be refused", func() bool { return uint64(b.waiting.Load())+refused() == 3*many })
	if n := b.waiting.Load(); n < workers/2 || n > workers*3/4 {
		t.Errorf("%d wait", n)
	}
	if s := r.hub.Stats(); s.Refused == 0 || s.TooMany == 0 || s.Refused+s.TooMany != refused() {
		t.Errorf("%+v, and %d were refused", s, refused())
	}
	b.stalls.Store(false)
	close(b.again)
	told := func(text string) string {
		if strings.Contains(text, `"message":"too many wait for the broker"`) || strings.Contains(text, `"ok":true`) {
			text = ""
		}
		return text
	}
	for i := range many {
		if text := told(publishers[i].ReceiveText()); text != "" && !strings.Contains(text, `"error":"unknown"`) {
			t.Error(text)
		}
		if text := told(subscribers[i].ReceiveText()); text != "" {
			t.Error(text)
		}
		if end := raws[i].ReceiveClose(); end.Code != ws.CodeTryAgainLater {
			t.Error(end)
		}
	}
	other.SendText(`{"id":4,"publish":"stream/a","data":"x"}`)
	if text := other.ReceiveText(); !strings.HasPrefix(text, `{"id":4,"ok":true,`) {
		t.Error(text)
	}
}
