package pubsub

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// missed has the topics that a broker names, or all, begin their histories anew, and tells of it.
func (h *Hub) missed(name string) {
	h.counts.missed.Add(1) // what is made from here on knows of it
	if name == "" || IsFilter(name) {
		h.counts.missedMany.Add(1)
	} else {
		h.shardOf(name).missed.Store(true)
	}
	if name != "" {
		t := h.find(name)
		if t != nil {
			t.beginAnew()
		}
		h.gaps.tell(h, name, t)
		if t != nil {
			h.unlock(t)
		}
	} else {
		for i := range h.topics {
			shard := &h.topics[i]
			shard.mu.RLock()
			topics := slices.Collect(maps.Values(shard.topics))
			shard.mu.RUnlock()
			for _, t := range topics {
				t.mu.Lock()
				t.beginAnew()
				h.unlock(t)
			}
		}
		h.gaps.tellAll(h)
	}
	h.onGapMu.Lock()
	told := h.onGap
	h.onGapMu.Unlock()
	for _, tell := range told {
		tell(name)
	}
}

// OnMissed has a function called as Options.OnMissed is, besides others.
func (h *Hub) OnMissed(tell func(topic string)) {
	h.onGapMu.Lock()
	defer h.onGapMu.Unlock()
	h.onGap = append(h.onGap[:len(h.onGap):len(h.onGap)], tell)
}

// missedAt is a number that changes when something of a topic may have been missed, also while the topic is not there. As long as
// it is, what is missed of one other topic does not change it.
func (h *Hub) missedAt(name string) uint64 {
	shard := h.shardOf(name)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	if t := shard.topics[name]; t != nil {
		return t.missedAt()
	}
	return h.counts.missed.Load() + h.counts.missedMany.Load()
}

// missedAt is Hub.missedAt of a topic that is there.
func (t *topic) missedAt() uint64 { return t.missed.Load() + t.hub.counts.missedMany.Load() }

// beginAnew has a topic begin its history anew. The caller holds its lock.
func (t *topic) beginAnew() {
	t.missed.Add(1)
	for len(t.ring.messages) > 0 {
		t.hub.dropOldest(t)
	}
	t.ring.gap = true
}

// gaps tells members, as messages do, that the broker may have missed something: where in the order of a topic's
// messages these are missing, so that nobody sees one behind the gap who was not told of it.
type gaps struct {
	mu     sync.Mutex                      // guards notice and row; taken inside topic.mu
	notice func(topic string) *ws.Prepared // nil: nobody is told
	row    int                             // of topics that were told of without a message or a newcomer since
	told   map[string]bool                 // those, if there are fewer than gapRow
	passed atomic.Bool                     // there was one since the last notice
	owed   atomic.Bool                     // there was no room to tell all: no message passes before that
}

// gapRow is of how many topics there may be notices in a row: the last one is of all topics, and then there is none until a
// message or a newcomer comes. One topic, which may be purged over and over, is one.
const gapRow = 100

// SetGapNotice has the members of a topic, and of the filters that meet it, sent what notice makes when the broker says that
// messages of the topic may be missing. It comes behind those before the gap and before those behind it. With "" it is about
// all topics, and all get it who have, or had, subscriptions or a user: of a broker that can't tell more, or when many
// topics have gaps at once. The policies for slow readers hold for it. A notice may be for some connections only, see ws.PrepareOptions.NotPlain.
// notice is called under locks of the hub's: it must not block, nor call the hub.
func (h *Hub) SetGapNotice(notice func(topic string) *ws.Prepared) {
	h.gaps.mu.Lock()
	defer h.gaps.mu.Unlock()
	h.gaps.notice = notice
}

// tell tells of a gap of a topic, or of a filter, whose lock the caller holds if there is one, t.
func (g *gaps) tell(h *Hub, name string, t *topic) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.passed.Swap(false) {
		g.row = 0
	}
	if g.row == 0 {
		g.told = map[string]bool{}
	}
	again := g.told[name]
	if !again {
		g.row++
	}
	switch {
	case g.notice == nil || g.row > gapRow || g.row == gapRow && again:
	case g.row == gapRow:
		g.all(h)
	default:
		if !again {
			g.told[strings.Clone(name)] = true // it may be a part of a message
		}
		var filters []*topic
		if t != nil {
			filters = h.metBy(t)
		} else {
			filters = h.meeting(name, nil)
		}
		if _, err := h.push(filters, t, g.notice(name), server.SendOptions{}); err != nil {
			g.all(h)
		}
	}
}

// tellAll tells of a gap of all topics.
func (g *gaps) tellAll(h *Hub) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.passed.Store(false); g.notice != nil {
		g.row = gapRow
		g.all(h)
	}
}

// all is tellAll for one who holds mu.
func (g *gaps) all(h *Hub) {
	_, err := h.known.Send(g.notice(""))
	g.owed.Store(err != nil)
}

// settle tells what is owed, before a message.
func (g *gaps) settle(h *Hub) error {
	if !g.owed.Load() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.owed.Load() {
		g.all(h)
	}
	if g.owed.Load() {
		return server.ErrNoRoom
	}
	return nil
}

// notePassed notes that a message has passed, or that somebody subscribes who may not have got the last notice. It is
// called behind the message, or when the newcomer is among the clients that all reaches.
func (g *gaps) notePassed() {
	if !g.passed.Load() {
		g.passed.Store(true)
	}
}
