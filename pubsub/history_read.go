package pubsub

import (
	"context"
	"time"
)

// History gives what is kept of a topic behind a position, of the zero position all, at most so many of
// the oldest; 0 is all. complete: these are all messages that there were behind it, and, with most, those behind
// follow from the position of the last one. It is false of the zero position: nobody knows how a topic began.
// Of a broker that keeps them, see HistoryBroker, it asks only if the node does not have all itself, which may block; of
// more than the broker gives at once it gives the first part, which is not complete.
func (h *Hub) History(name string, since Position, most int) (messages []Message, complete bool, err error) {
	if err := h.limits.checkName(name); err != nil {
		return nil, false, err
	}
	broker := h.brokerKeeps(name)
	if t := h.find(name); t != nil {
		all, complete := t.since(since, Position{}, nil, time.Now())
		if most > 0 {
			all = all[:min(len(all), most)]
		}
		lacks := broker && (!complete || since == Position{})
		if !lacks {
			messages = messagesOf(all)
		}
		h.unlock(t)
		if !lacks {
			return messages, complete, nil
		}
	}
	if !broker {
		return nil, false, nil
	}
	return h.historyOf(name, since, most)
}

// Purge drops what is kept of a topic. Who comes back with an older position is told that
// something is missing.
func (h *Hub) Purge(name string) error {
	if err := h.limits.checkName(name); err != nil {
		return err
	}
	if h.brokerKeeps(name) {
		ctx, cancel := context.WithTimeout(context.Background(), pastTimeout)
		defer cancel()
		return h.historian.Purge(ctx, name)
	}
	t := h.find(name)
	if t == nil {
		return nil
	}
	defer h.unlock(t)
	for len(t.ring.messages) > 0 {
		h.dropOldest(t)
	}
	return nil
}

// Last gives the last messages that are kept of a topic, at most n, from the oldest. It copies no others. Of a broker that
// keeps them, see HistoryBroker, it asks only for what the node does not have itself, which may block.
func (h *Hub) Last(name string, n int) ([]Message, error) {
	if err := h.limits.checkName(name); err != nil || n <= 0 {
		return nil, err
	}
	broker := h.brokerKeeps(name)
	if t := h.find(name); t != nil {
		all, _ := t.since(Position{}, Position{}, nil, time.Now())
		lacks := broker && (!h.keeps(name) || t.lacks(SubscribeOptions{Last: n}, Position{}, nil))
		messages := messagesOf(all[max(len(all)-n, 0):])
		h.unlock(t)
		if !lacks {
			return messages, nil
		}
	}
	if !broker {
		return nil, nil
	}
	p, err := h.pastLast(name, n)
	if err != nil {
		return nil, err
	}
	return messagesOf(p.messages), nil
}

func messagesOf(all []*kept) []Message {
	messages := make([]Message, 0, len(all))
	for _, k := range all {
		messages = append(messages, k.Message)
	}
	return messages
}
