package pubsub

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// topic is a topic, or a filter, that has subscribers or a history.
type topic struct {
	// What a message needs comes first: of a million topics each cache line is a miss.
	rule        int        // in Hub.rules; -1: none
	mu          sync.Mutex // guards what follows up to members, and the order of messages and subscriptions
	dead        bool       // it is not in the hub any more
	asking      int32      // of those who want its past, while the broker is asked
	metAs       uint64     // Hub.generation as of met; 0: never
	met         []*topic   // the filters that meet the name, as of metBy
	subscribers int
	begins      atomic.Pointer[chan struct{}] // not guarded; of a filter: a subscription is just beginning, until the channel is closed
	group       server.Group                  // not guarded
	ring        ring
	received    Position // of the last message that might be kept, or not before it; zero: none was since the topic is there
	members     map[*server.Conn]Member

	name   string
	hub    *Hub
	held   held          // of its history in the rule's line
	missed atomic.Uint64 // how often it has begun anew, and hubCounts.missed when it was made; see Hub.missedAt
}

// # Where a subscription to a filter begins
//
// Who is told that his subscription has begun gets what is published from then on. Of a topic that is so since whoever sends a
// message has the topic's lock, which the subscription holds from before it tells until it has joined. A filter's lock no publisher takes. So he looks whether
// a subscription is beginning, and waits for that.

// hold has those wait who send to a filter, until end. The caller holds the filter's lock.
func (t *topic) hold() (end func()) {
	begins := make(chan struct{})
	t.begins.Store(&begins)
	return func() {
		t.begins.Store(nil)
		close(begins)
	}
}

// await waits until no subscription is beginning that somebody was told of by now.
func (t *topic) await() {
	if begins := t.begins.Load(); begins != nil {
		<-*begins
	}
}

func (h *Hub) shardOf(name string) *topicShard {
	return &h.topics[maphash.String(h.seed, name)%shards]
}

// find gives a topic, or a filter, with its lock taken; nil if there is none.
func (h *Hub) find(name string) *topic {
	shard := h.shardOf(name)
	for {
		shard.mu.RLock()
		t := shard.topics[name]
		shard.mu.RUnlock()
		if t == nil {
			return nil
		}
		t.mu.Lock()
		if !t.dead {
			return t
		}
		t.mu.Unlock()
	}
}

// findOrMake is find for a subscription: it makes what is not there. position is where the broker is, asked
// when the topic was there: what comes behind it comes to the topic.
func (h *Hub) findOrMake(name string) (t *topic, position Position, err error) {
	for {
		made, err := h.make(name, Position{})
		if err != nil {
			return nil, Position{}, err
		}
		missed := h.missedAt(name)
		if !IsFilter(name) {
			if position, err = h.position(name); err != nil { // it may wait, also for a message that is being received
				if t = h.find(name); t != nil {
					h.unlock(t) // it may be of no use to anybody
				}
				return nil, Position{}, err
			}
		}
		if t = h.find(name); t == nil {
			continue // it was of no use to anybody, and is gone again
		}
		if t != made { // another one is there in its place, which may not have been when the broker was asked
			h.unlock(t)
			continue
		}
		if t.ring.floor == (Position{}) && position != (Position{}) && t.missedAt() == missed {
			t.ring.floor, t.ring.gap = position, false
		}
		return t, position, nil
	}
}

// make makes a topic, unless it is there, and gives it. Behind floor all that is to be kept will be in its history;
// zero: that is not known yet.
func (h *Hub) make(name string, floor Position) (*topic, error) {
	shard := h.shardOf(name)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if t := shard.topics[name]; t != nil {
		return t, nil
	}
	if most := int64(h.limits.AllTopics); !IsFilter(name) && h.counts.topics.Add(1) > most {
		h.counts.topics.Add(-1)
		return nil, fmt.Errorf("%w: there are %d topics", ErrFull, most)
	}
	name = strings.Clone(name) // it may be a part of a message
	t := &topic{hub: h, name: name, rule: -1}
	t.ring.floor = floor
	t.missed.Store(h.counts.missed.Load())
	t.ring.gap = floor == Position{} || shard.missed.Load() || h.counts.missedMany.Load() > 0
	if !IsFilter(name) {
		t.rule = h.ruleOf(name)
	}
	options := server.GroupOptions{Gone: func(c *server.Conn) { h.left(t, c) }}
	if t.rule >= 0 {
		options.Policy = h.rules[t.rule].Policy
	}
	t.group.Init(h.srv, options)
	if IsFilter(name) {
		h.filtersMu.Lock()
		defer h.filtersMu.Unlock()
		if h.filters.Len() >= h.limits.Filters {
			return nil, fmt.Errorf("%w: %d filters have subscribers", ErrFull, h.limits.Filters)
		}
		h.filters.Add(name, t)
		h.generation.Add(1)
	}
	shard.topics[name] = t
	h.broker.Interest(name, true)
	return t, nil
}

// unlock gives a topic's lock back, and the topic up if it is of no use any more.
func (h *Hub) unlock(t *topic) {
	idle := t.idle()
	t.mu.Unlock()
	if !idle {
		return
	}
	shard := h.shardOf(t.name)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if !t.mu.TryLock() {
		return // whoever has it looks when he gives it back
	}
	defer t.mu.Unlock()
	if t.dead || !t.idle() {
		return
	}
	t.dead = true
	delete(shard.topics, t.name)
	h.broker.Interest(t.name, false)
	if !IsFilter(t.name) {
		h.counts.topics.Add(-1)
	} else {
		h.filtersMu.Lock()
		h.filters.Remove(t.name)
		h.filtersMu.Unlock()
		h.generation.Add(1)
	}
}

// idle says whether nobody needs the topic. The caller holds mu.
func (t *topic) idle() bool { return t.subscribers == 0 && t.asking == 0 && len(t.ring.messages) == 0 }

// metBy are the filters that meet a topic. The caller holds its lock.
func (h *Hub) metBy(t *topic) []*topic {
	if now := h.generation.Load(); t.metAs != now+1 {
		t.met, t.metAs = h.meeting(t.name, nil), now+1
	}
	return t.met
}

// meeting appends the filters that meet a name.
func (h *Hub) meeting(name string, to []*topic) []*topic {
	h.filtersMu.RLock()
	defer h.filtersMu.RUnlock()
	return h.filters.Match(name, to)
}

// received notes a message of a topic that has a past, and puts it into the history if it is to be kept. The caller
// holds the topic's lock.
func (h *Hub) received(t *topic, m Message, p *ws.Prepared, o server.SendOptions, keep bool) (gone []*kept) {
	if last := t.last(); last.Epoch != m.Position.Epoch && last != (Position{}) {
		for len(t.ring.messages) > 0 { // numbers begin anew
			h.dropOldest(t)
		}
		t.ring.gap = true
	}
	t.received = m.Position
	if t.ring.gap || !keep {
		t.ring.floor, t.ring.gap = m.Position, false
	}
	if keep {
		gone = h.keep(t, m, p, o)
	}
	return gone
}

// keep puts a message into a topic's history, and gives those, of any topics, that have to
// go for it. The caller holds the topic's lock.
func (h *Hub) keep(t *topic, m Message, p *ws.Prepared, o server.SendOptions) (gone []*kept) {
	rule := &h.rules[t.rule]
	k := &kept{Message: m, prepared: p, topic: t, options: o}
	k.Topic = t.name
	k.Payload = p.Payload()
	t.ring.messages = append(t.ring.messages, k)
	t.ring.bytes += int64(len(k.Payload))
	gone = h.lines.add(t.rule, t.ring.messages[max(len(t.ring.messages)-2, 0):]) // all have got the one before, in their forms
	for len(t.ring.messages) > rule.Messages || rule.Bytes > 0 && t.ring.bytes > rule.Bytes {
		h.dropOldest(t)
	}
	return gone
}

// dropOldest takes the oldest message out of a topic's history. The caller holds the
// topic's lock.
func (h *Hub) dropOldest(t *topic) {
	k := t.ring.messages[0]
	t.ring.messages[0] = nil
	t.ring.messages = t.ring.messages[1:]
	t.ring.bytes -= int64(len(k.Payload))
	t.ring.floor = later(t.ring.floor, k.Position)
	h.lines.remove(t.rule, k)
}

// later is the position behind which there is nothing before either of two: b, unless it is before a in the
// same epoch.
func later(a, b Position) Position {
	if a.Epoch == b.Epoch && a.Number > b.Number {
		return a
	}
	return b
}

// evict takes messages that have no place in their line any more out of their topics'
// histories. The caller holds no lock.
func (h *Hub) evict(gone []*kept) {
	for _, k := range gone {
		t := k.topic
		t.mu.Lock()
		for range slices.Index(t.ring.messages, k) + 1 { // usually the first; -1: it has gone already
			h.dropOldest(t)
		}
		h.unlock(t)
	}
}

// expire lets go of what is too old.
func (h *Hub) expire(now time.Time) {
	const atOnce = 1000
	for i, r := range h.rules {
		for r.Age > 0 {
			gone := h.lines.expired(i, now.Add(-r.Age), atOnce)
			h.evict(gone)
			if len(gone) < atOnce {
				break
			}
		}
	}
}

// since gives the messages behind a position that are kept and not too old; they are the
// ring's own. complete: these are all that there were. newest is where the broker was
// when the topic was there already, past what it keeps from before. The caller holds the topic's lock.
func (t *topic) since(p, newest Position, past *past, now time.Time) (messages []*kept, complete bool) {
	if past != nil && t.joins(past) {
		all, floor, last := t.joined(past)
		behind := sort.Search(len(all), func(i int) bool { return all[i].Position.Number > p.Number })
		return all[behind:], p.Epoch == last.Epoch && p.Number >= floor.Number && p.Number <= max(last.Number, newest.Number)
	}
	if t.rule < 0 || t.hub.rules[t.rule].Messages == 0 {
		return nil, false
	}
	all, floor, first := t.ring.messages, t.ring.floor, 0
	for age := t.hub.rules[t.rule].Age; age > 0 && first < len(all) && now.Sub(all[first].Time) > age; first++ {
		floor = later(floor, all[first].Position) // the next sweep takes it
	}
	last := t.last()
	if newest.Epoch == last.Epoch {
		last.Number = max(last.Number, newest.Number)
	}
	if p.Epoch != last.Epoch {
		return all[first:], false
	}
	behind := sort.Search(len(all), func(i int) bool { return all[i].Position.Number > p.Number })
	return all[max(first, behind):], !t.ring.gap && p.Number >= floor.Number && p.Number <= last.Number
}

// last is the position of the topic's last message, or one that is not before it. The caller holds
// the topic's lock.
func (t *topic) last() Position {
	if t.received == (Position{}) {
		return t.ring.floor
	}
	return t.received
}
