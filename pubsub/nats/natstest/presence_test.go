package natstest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/server/servertest"
)

func (h *host) enter(user, topic string) *servertest.Client {
	h.t.Helper()
	client, conn := h.connect()
	h.hub.SetUser(conn, user)
	if _, err := h.hub.Subscribe(conn, topic, pubsub.SubscribeOptions{}); err != nil {
		h.t.Fatal(err)
	}
	return client
}

func (h *host) users(topic string) (names []string) {
	for _, m := range h.hub.Members(topic) {
		names = append(names, m.User)
	}
	slices.Sort(names)
	return names
}

// TestPresence: nodes on NATS know each other's members; those of a node that is cut off are gone when it was silent
// for 10/3 heartbeats, and both sides say that they may lack some.
func TestPresence(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.options.Port)
	rule := pubsub.Rule{Filter: "room/+", Presence: true}
	a, b := startHost(t, nats.Options{URLs: []string{s.url()}}, rule), startHost(t, nats.Options{URLs: []string{p.url()}}, rule)
	for i := range 450 {
		a.enter(fmt.Sprint("many", i), "room/2")
	}
	a.enter("ann", "room/1")
	bob := b.enter("bob", "room/1")
	both := []string{"ann", "bob"}
	eventually(t, "both to know all", func() bool {
		return slices.Equal(a.users("room/1"), both) && slices.Equal(b.users("room/1"), both) && len(b.users("room/2")) == 450 && !a.hub.Partial() && !b.hub.Partial()
	})
	if nodes := b.hub.Nodes(); len(nodes) != 2 || nodes[0].ID != b.broker.Node() || nodes[1].ID != a.broker.Node() {
		t.Errorf("%+v", nodes)
	}
	p.freeze()
	began := time.Now()
	eventually(t, "each to have its own only", func() bool {
		return slices.Equal(a.users("room/1"), []string{"ann"}) && slices.Equal(b.users("room/1"), []string{"bob"})
	})
	t.Logf("gone after %v of heartbeats of %v", time.Since(began), heartbeat)
	if !a.hub.Partial() || !b.hub.Partial() {
		t.Errorf("partial: %v, %v", a.hub.Partial(), b.hub.Partial())
	}
	p.cut()
	p.thaw()
	eventually(t, "both to know all again", func() bool {
		return slices.Equal(a.users("room/1"), both) && slices.Equal(b.users("room/1"), both) && len(b.users("room/2")) == 450 && !a.hub.Partial() && !b.hub.Partial()
	})
	if n := a.hub.CloseUser("bob", 4000, "enough"); n != 0 {
		t.Errorf("%d of bob's connections were here", n)
	}
	if e := bob.ReceiveClose(); e.Code != 4000 || e.Reason != "enough" {
		t.Errorf("%+v", e)
	}
	eventually(t, "bob to be gone", func() bool { return slices.Equal(a.users("room/1"), []string{"ann"}) })
}
