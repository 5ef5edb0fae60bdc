package pubsub

import (
	"maps"
	"slices"
)

// missed has the topics that a broker names, or all, begin their histories anew.
func (h *Hub) missed(name string) {
	h.counts.missed.Add(1) // what is made from here on knows of it
	if name != "" {
		if t := h.find(name); t != nil {
			h.noteGap(t)
		}
	} else {
		for i := range h.topics {
			shard := &h.topics[i]
			shard.mu.RLock()
			topics := slices.Collect(maps.Values(shard.topics))
			shard.mu.RUnlock()
			for _, t := range topics {
				t.mu.Lock()
				h.noteGap(t)
			}
		}
	}
	h.toldMu.Lock()
	told := h.onGap
	h.toldMu.Unlock()
	for _, tell := range told {
		tell(name)
	}
}

// OnMissed has a function called as Options.OnMissed is, besides others.
func (h *Hub) OnMissed(tell func(topic string)) {
	h.toldMu.Lock()
	defer h.toldMu.Unlock()
	h.onGap = append(h.onGap[:len(h.onGap):len(h.onGap)], tell)
}

// noteGap has a topic begin its history anew, and gives back its lock, which the caller has taken.
func (h *Hub) noteGap(t *topic) {
	for len(t.ring.messages) > 0 {
		h.dropOldest(t)
	}
	t.ring.gap = true
	h.unlock(t)
}
