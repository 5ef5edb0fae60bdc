package pubsub

import (
	"encoding/json"
	"math"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// # Presence

// Member is who is subscribed to a topic with presence.
type Member struct {
	ID   server.ConnID   `json:"id"`
	User string          `json:"user,omitempty"`
	Info json.RawMessage `json:"info,omitempty"`
}

// presencePrefix begins the topics that tell who comes and goes.
const presencePrefix = "$presence/"

// presenceEvent is a message of theirs.
type presenceEvent struct {
	Event  string `json:"event"` // "join" or "leave"; over nodes also "occupied" or "vacated"
	Topic  string `json:"topic"`
	Member Member `json:"member,omitzero"`
}

// Members gives who is subscribed to a topic whose rule has presence; a connection each. The
// topic "$presence/NAME" tells of those who come and go: its messages are JSON objects with event
// ("join" or "leave"), topic and member (id, user, info).
//
// Over nodes these are the members of all nodes, see also Partial; a user counts once in what is told, and leaves
// when he has been away for Options.Heartbeat; and "occupied" and "vacated", without a member, are told too.
func (h *Hub) Members(name string) []Member {
	members, _ := h.SomeMembers(name, math.MaxInt)
	return members
}

// Count is how many connections are subscribed to a topic, or a filter, by this very name.
func (h *Hub) Count(name string) int {
	t := h.find(name)
	if t == nil {
		return 0
	}
	defer h.unlock(t)
	return t.subscribers
}

// enter notes a member, and tells of it. The caller holds the topic's lock.
func (t *topic) enter(c *server.Conn, user string, info []byte) {
	if t.rule < 0 || !t.hub.rules[t.rule].Presence {
		return
	}
	if t.members == nil {
		t.members = map[*server.Conn]Member{}
	}
	m := Member{ID: c.ID(), User: user, Info: info}
	t.members[c] = m
	t.tell("join", m)
}

// exit is enter for one that has left.
func (t *topic) exit(c *server.Conn) {
	m, ok := t.members[c]
	if !ok {
		return
	}
	delete(t.members, c)
	t.hub.noteExit(c)
	t.tell("leave", m)
}

// tell tells of a member. The caller holds the topic's lock.
func (t *topic) tell(event string, m Member) {
	if n := t.hub.nodes; n != nil {
		n.change(t.name, m, event == "leave")
		return
	}
	t.hub.tellPresence(presenceEvent{event, t.name, m})
}

// tellPresence tells what happened to a topic to who is subscribed for that, here. The caller may hold the topic's lock.
func (h *Hub) tellPresence(e presenceEvent) {
	to := h.meeting(presencePrefix+e.Topic, nil)
	teller := h.find(presencePrefix + e.Topic)
	if teller != nil {
		defer h.unlock(teller)
	}
	if len(to) == 0 && teller == nil {
		return
	}
	text, err := json.Marshal(e)
	if err != nil {
		return // info is no JSON: Subscribe has refused it
	}
	if _, err := h.send(to, teller, prepare(Message{Topic: presencePrefix + e.Topic, Payload: text, Opcode: ws.Text}, false), PublishOptions{}); err != nil {
		h.counts.eventsLost.Add(1)
	}
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
