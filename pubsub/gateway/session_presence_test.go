package gateway_test

import (
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
)

// TestPresenceRate: who comes and goes too often is told so, and may leave and publish as before.
func TestPresenceRate(t *testing.T) {
	t.Parallel()
	limits := pubsub.Limits{PresenceRate: 1, PresenceBurst: 2}
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep, Limits: limits}, nil)
	c := r.connect("/topics?envelope=1")
	say(t, c, `{"id":1,"subscribe":"rooms/hall"}`, `{"id":1,"ok":true,"topic":"rooms/hall","position":P,"recovered":false,"sent":0}`)
	for _, room := range []string{"rooms/1", "rooms/2", "rooms/3", "rooms/4", "rooms/5"} {
		say(t, c, `{"id":2,"subscribe":"`+room+`"}`, `{"id":2,"ok":true,"topic":"`+room+`","position":P,"recovered":false,"sent":0}`)
	}
	for _, room := range []string{"rooms/1", "rooms/2", "rooms/3", "rooms/4", "rooms/5"} {
		say(t, c, `{"id":3,"unsubscribe":"`+room+`"}`, `{"id":3,"ok":true,"topic":"`+room+`"}`)
	}
	say(t, c, `{"id":4,"subscribe":"rooms/1"}`, `{"id":4,"error":"too_fast","message":"a connection may leave 1 topics with presence a second, and 2 at once, and still subscribe to one"}`)
	say(t, c, `{"id":5,"subscribe":"rooms/hall"}`, `{"id":5,"ok":true,"topic":"rooms/hall","again":true}`)
	say(t, c, `{"id":6,"subscribe":"news"}`, `{"id":6,"ok":true,"topic":"news","position":P,"recovered":false,"sent":0}`)
	say(t, c, `{"id":7,"unsubscribe":"rooms/hall"}`, `{"id":7,"ok":true,"topic":"rooms/hall"}`)
}
