package pubsub

import (
	"testing"
	"time"
)

// named is a NodeBroker that is of no use but to have a name.
type named struct{ NodeBroker }

func (named) Node() string { return "self" }

// TestSweepLate: members of a node that was silent for so long that it is not known any more are gone too, if nobody looked in between, as behind
// a suspension of the machine.
func TestSweepLate(t *testing.T) {
	const beat = time.Hour
	n := newNodes(&Hub{}, named{}, beat)
	n.self.Ready = true
	members := []memberChange{{Topic: "a", Member: Member{User: "ann"}}}
	n.heard(&nodeMessage{From: "other", All: &memberPart{Members: members, Set: 1, Part: 1, Of: 1}})
	if len(n.others) != 1 || len(n.topics["a"]) != 1 {
		t.Fatalf("%d nodes, %d members", len(n.others), len(n.topics["a"]))
	}
	n.events = nil
	later := time.Now().Add(21 * beat)
	n.sweep(later)
	n.sweep(later.Add(beat))
	if len(n.others) != 0 || len(n.topics) != 0 {
		t.Errorf("%d nodes are left, and %d topics with members", len(n.others), len(n.topics))
	}
	if len(n.events) != 2 || n.events[0].Event != "leave" || n.events[1].Event != "vacated" {
		t.Errorf("it is told %+v, want leave and vacated", n.events)
	}
}
