package pubsub_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server/servertest"
)

// told is of what nodes tell each other what these tests lose.
type told struct {
	All *struct {
		Members []struct {
			Member struct{ User string }
		}
	}
	Changes []any
	Sync    bool
}

// loseWhat has a bus lose what a function says. It is called for one message after the other.
func (b *bus) loseWhat(lost func(to string, m *told) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lose = func(to string, data []byte) bool {
		var m told
		return json.Unmarshal(data, &m) == nil && lost(to, &m)
	}
}

// whole waits until a node says that it knows all members, of one other node.
func (r *rig) whole() {
	r.t.Helper()
	r.eventually("it to know all", func() bool { return len(r.hub.Nodes()) == 2 && !r.hub.Partial() })
}

// TestNodesLostParts: whatever part of all members is lost, a node does not say that it knows all before it does.
func TestNodesLostParts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		members int
		lost    []int // of the parts that are told, from 1
	}{
		"first": {500, []int{1}}, "middle": {500, []int{2}}, "last": {500, []int{3}}, "the only one": {3, []int{1}},
		"last, and the next first": {300, []int{2, 3}}, "two of four, and one of the next": {700, []int{2, 3, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &bus{nodes: map[string]*busBroker{}}
			one, _ := b.rig(t, "one")
			for i := range tt.members {
				one.enter(fmt.Sprint("user", i), "room/1")
			}
			parts := 0
			b.loseWhat(func(to string, m *told) bool {
				if m.All == nil || to != "two" {
					return false
				}
				parts++
				return slices.Contains(tt.lost, parts)
			})
			two, _ := b.rig(t, "two")
			two.whole()
			if got := len(two.hub.Members("room/1")); got != tt.members {
				t.Errorf("it says that it knows all, and knows %d members of %d", got, tt.members)
			}
		})
	}
}

// TestNodesLostPartsGhost: who has left between two answers, of which the one has lost its end and the other its beginning, is not there.
func TestNodesLostPartsGhost(t *testing.T) {
	t.Parallel()
	b := &bus{nodes: map[string]*busBroker{}}
	one, _ := b.rig(t, "one")
	clients := map[string]*servertest.Client{}
	for i := range 300 {
		user := fmt.Sprint("user", i)
		clients[user] = one.enter(user, "room/1")
	}
	var mu sync.Mutex
	parts, ghost, left := 0, "", false
	b.loseWhat(func(to string, m *told) bool {
		mu.Lock()
		defer mu.Unlock()
		if m.All == nil || to != "two" {
			return m.Sync && to == "one" && parts >= 2 && !left
		}
		if parts++; parts == 1 {
			ghost = m.All.Members[0].Member.User
		}
		return parts == 2 || parts == 3
	})
	two, _ := b.rig(t, "two")
	one.eventually("the first answer", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return parts >= 2
	})
	clients[ghost].Abort()
	one.eventually("one to leave", func() bool { return len(one.hub.Members("room/1")) == 299 })
	mu.Lock()
	left = true
	mu.Unlock()
	two.whole()
	if got := users(two.hub, "room/1"); !slices.Equal(got, users(one.hub, "room/1")) {
		t.Errorf("it knows %d members of 299; %s, who has left, is one: %v", len(got), ghost, slices.Contains(got, ghost))
	}
}

// TestNodesLostPartsKnown: members who are known stay when a part that tells of them anew is lost.
func TestNodesLostPartsKnown(t *testing.T) {
	t.Parallel()
	b := &bus{nodes: map[string]*busBroker{}}
	one, _ := b.rig(t, "one")
	for i := range 500 {
		one.enter(fmt.Sprint("user", i), "room/1")
	}
	two, _ := b.rig(t, "two")
	two.whole()
	changes, parts := 0, 0
	b.loseWhat(func(to string, m *told) bool {
		switch {
		case len(m.Changes) > 0:
			changes++
			return changes == 1
		case m.All != nil && to == "two":
			parts++
			return parts == 2
		}
		return false
	})
	_, conn := one.connect()
	one.subscribe(conn, "room/1", pubsub.SubscribeOptions{})
	two.eventually("the new one to be known too", func() bool {
		known := len(two.hub.Members("room/1"))
		if known < 500 {
			t.Fatalf("only %d members of 500 are left", known)
		}
		return known == 501 && !two.hub.Partial()
	})
}
