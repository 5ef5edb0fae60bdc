package pubsub

import (
	"container/list"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/ws"
)

// TestLines does what topics do with their messages at random, and counts anew what each has.
func TestLines(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	const topics, most = 30, 100_000
	l := &lines{rules: make([]list.List, 2), most: most}
	rings, began := map[*topic][]*kept{}, time.Now()
	var all []*topic
	for i := range topics {
		all = append(all, &topic{rule: i % 2})
	}
	message := func(of *topic, at int) *kept {
		size := random.IntN(3000)
		if random.IntN(100) == 0 {
			size = most
		}
		p := ws.PrepareWith(ws.Text, []byte(strings.Repeat("x", size)), ws.PrepareOptions{Event: "e"})
		return &kept{topic: of, prepared: p, Message: Message{Time: began.Add(time.Duration(at))}}
	}
	for step := range 20_000 {
		of := all[random.IntN(1+random.IntN(topics))] // the first ones more often
		var gone []*kept
		switch ring := rings[of]; random.IntN(6) {
		case 0:
			if len(ring) > 0 {
				l.remove(of.rule, ring[0])
				rings[of] = ring[1:]
			}
		case 1:
			if k := message(of, step); l.addFirst(of.rule, k) {
				rings[of] = append([]*kept{k}, ring...)
			}
		case 2:
			gone = l.expired(of.rule, began.Add(time.Duration(step-2000)), 10)
		case 3:
			for _, k := range ring {
				k.prepared.Event()
			}
			gone = l.recount(ring)
		default:
			rings[of] = append(ring, message(of, step))
			gone = l.add(of.rule, rings[of])
		}
		for _, k := range gone {
			if rings[k.topic][0] != k {
				t.Fatalf("step %d: one goes that is not the oldest of its topic", step)
			}
			rings[k.topic] = rings[k.topic][1:]
		}
		var sum int64
		large := 0
		for _, of := range all {
			var bytes int64
			for _, k := range rings[of] {
				bytes += k.size()
			}
			if bytes != of.held.bytes || (of.held.oldest == nil) != (len(rings[of]) == 0) || (of.held.newest == nil) != (len(rings[of]) == 0) {
				t.Fatalf("step %d: a topic has %d bytes, not %+v", step, bytes, of.held)
			}
			if sum += bytes; bytes > most/historyShares {
				large++
			}
		}
		if sum != l.bytes || sum > most || large != len(l.large) || large >= historyShares || l.rules[0].Len()+l.rules[1].Len() == 0 && sum > 0 {
			t.Fatalf("step %d: %d bytes, counted %d; %d large topics, counted %d", step, sum, l.bytes, large, len(l.large))
		}
	}
}
