package pubsub

import (
	"errors"
	"time"
)

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

// SomeMembers is Members, with at most so many of them, whichever; count is how many there are.
func (h *Hub) SomeMembers(name string, most int) (members []Member, count int) {
	if h.nodes != nil {
		return h.nodes.someMembers(name, most)
	}
	t := h.find(name)
	if t == nil {
		return nil, 0
	}
	defer h.unlock(t)
	return appendMembers([]Member{}, t.members, most), len(t.members)
}

func (n *nodes) someMembers(topic string, most int) (members []Member, count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	members, count = appendMembers([]Member{}, n.self.members[topic], most), len(n.self.members[topic])
	for _, o := range n.others {
		members = appendMembers(members, o.members[topic], most)
		count += len(o.members[topic])
	}
	return members, count
}

// appendMembers appends members while there are fewer than most.
func appendMembers[K comparable](members []Member, from map[K]Member, most int) []Member {
	for _, m := range from {
		if len(members) >= most {
			break
		}
		members = append(members, m)
	}
	return members
}
