package pubsub

import (
	"context"
	"errors"
	"time"
)

// History gives what is kept of a topic behind a position, of the zero position all, at most so many of
// the oldest; 0 is all. complete: these are all messages that there were behind it, and, with most, those behind
// follow from the position of the last one. It is false of the zero position: nobody knows how a topic began.
func (h *Hub) History(name string, since Position, most int) (messages []Message, complete bool, err error) {
	if err := h.limits.checkName(name); err != nil {
		return nil, false, err
	}
	if h.brokerKeeps(name) {
		return h.historyOf(name, since, most)
	}
	t := h.find(name)
	if t == nil {
		return nil, false, nil
	}
	defer h.unlock(t)
	all, complete := t.since(since, Position{}, nil, time.Now())
	if most > 0 {
		all = all[:min(len(all), most)]
	}
	return messagesOf(all), complete, nil
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
	return h.lastOf(name, n)
}

func messagesOf(all []*kept) []Message {
	messages := make([]Message, 0, len(all))
	for _, k := range all {
		messages = append(messages, k.Message)
	}
	return messages
}

// errLongPast: see lastOf.
var errLongPast = errors.New("pubsub: the broker keeps more of the topic than can be read in time")

// lastOf is Last of a topic that the broker keeps. A broker gives a past from its beginning, and a part at a time.
func (h *Hub) lastOf(name string, n int) (messages []Message, err error) {
	var since Position
	for end := time.Now().Add(pastTimeout); time.Now().Before(end); {
		p, err := h.fetch(name, since)
		if err != nil {
			return nil, err
		}
		behind := p.messages
		for len(behind) > 0 && behind[0].Position.Epoch == since.Epoch && behind[0].Position.Number <= since.Number {
			behind = behind[1:] // somebody else's question was about more
		}
		messages = append(messages, messagesOf(behind)...)
		messages = messages[max(len(messages)-n, 0):]
		if p.through == (Position{}) || p.through.Epoch == since.Epoch && p.through.Number <= since.Number {
			return messages, nil
		}
		since = p.through
	}
	return nil, errLongPast
}
