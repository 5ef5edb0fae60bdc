package pubsub

import (
	"context"
	"time"
)

// History gives what is kept of a topic behind a position, of the zero position all, as far as the bound goes: the oldest
// messages, or with HistoryBound.Last the newest. complete: these are all messages that there were behind it, or all that the bound allows
// and those behind follow from the position of the last one. It is false of the zero position: nobody knows how a topic began.
//
// Of a broker that keeps them, see HistoryBroker, it asks only if the node does not have all itself. This may block, for 10 s at most.
// It reads at most 10,000 messages, or as much as there is room for (Limits.History, Limits.Reading); if this is less than the bound it gives the
// first part, which is not complete, or with Last the last part. ErrName, ErrBusy, and the broker's errors.
func (h *Hub) History(name string, since Position, bound HistoryBound) (messages []Message, complete bool, err error) {
	if err := h.limits.checkName(name); err != nil {
		return nil, false, err
	}
	broker := h.brokerKeeps(name)
	if t := h.find(name); t != nil {
		all, complete := t.since(since, Position{}, nil, time.Now())
		lacks := broker && (!complete || since == Position{})
		if bound.Last && since == (Position{}) {
			wanted := HistoryBound{orAll(bound.Messages), orAll(bound.Bytes), true}
			lacks = broker && (!h.keeps(name) || t.lacks(Position{}, wanted, Position{}, nil))
		}
		if !lacks {
			messages = messagesOf(bound.cut(all))
		}
		h.unlock(t)
		if !lacks {
			return messages, complete, nil
		}
	}
	if !broker {
		return nil, false, nil
	}
	return h.historyOf(name, since, bound)
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

func messagesOf(all []*kept) []Message {
	messages := make([]Message, 0, len(all))
	for _, k := range all {
		messages = append(messages, k.Message)
	}
	return messages
}
