package pubsub

import "sync/atomic"

// hubCounts are a hub's counts. They are those of all goroutines.
type hubCounts struct {
	published, refused, tooFast, missed, tooMany, eventsLost atomic.Uint64
	fetched, fetchFailed, fetchRefused, nodesFailed          atomic.Uint64
	missedMany                                               atomic.Uint64 // those of missed that were of a filter, or of all topics
	topics                                                   atomic.Int64  // filters aside
	subscriptions                                            atomic.Int64
}

// Stats are a hub's figures.
type Stats struct {
	Topics        int    // that have subscribers or a history, filters not counted
	Filters       int    // that have subscribers
	Subscriptions int64  // of connections, to topics and to filters
	Published     uint64 // messages
	Refused       uint64 // messages that Publish refused, but for TooFast
	TooFast       uint64 // messages refused with ErrTooFast
	TooMany       uint64 // subscriptions refused with ErrTooMany, ErrFull or ErrBusy
	Missed        uint64 // times that the broker said that something may be missing
	EventsLost    uint64 // presence events that server.ErrNoRoom kept from being sent
	Fetched       uint64 // times that the broker was asked for the past of a topic
	FetchFailed   uint64 // those of them that it did not answer
	FetchRefused  uint64 // times that the past was not read, or not to its end, since too much was being read: see Limits.Reading
	NodesFailed   uint64 // messages to other nodes that could not be sent, or of others that could not be read
	HistoryBytes  int64  // memory of all that is kept, see Limits.History
}

// Stats are the figures as they stand.
func (h *Hub) Stats() Stats {
	s := Stats{
		Topics: int(h.counts.topics.Load()), Subscriptions: h.counts.subscriptions.Load(), Published: h.counts.published.Load(), Refused: h.counts.refused.Load(),
		TooFast: h.counts.tooFast.Load(), TooMany: h.counts.tooMany.Load(), Missed: h.counts.missed.Load(), EventsLost: h.counts.eventsLost.Load(),
	}
	s.Fetched, s.FetchFailed, s.FetchRefused = h.counts.fetched.Load(), h.counts.fetchFailed.Load(), h.counts.fetchRefused.Load()
	s.NodesFailed = h.counts.nodesFailed.Load()
	h.filtersMu.RLock()
	s.Filters = h.filters.Len()
	h.filtersMu.RUnlock()
	h.lines.mu.Lock()
	s.HistoryBytes = h.lines.bytes
	h.lines.mu.Unlock()
	return s
}

// TopicStats are the figures of one topic.
type TopicStats struct {
	Subscribers int      // connections that are subscribed by this very name
	Messages    int      // that are kept
	Bytes       int64    // that these have
	Position    Position // where the topic is: each message that comes from now on stands behind it
}

// TopicStats are those of a topic as they stand.
func (h *Hub) TopicStats(name string) (s TopicStats, err error) {
	if err := h.limits.checkName(name); err != nil {
		return s, err
	}
	newest := h.broker.Position(name)
	t := h.find(name)
	if t == nil {
		return TopicStats{Position: newest}, nil
	}
	defer h.unlock(t)
	return TopicStats{t.subscribers, len(t.ring.messages), t.ring.bytes, t.position(newest)}, nil
}
