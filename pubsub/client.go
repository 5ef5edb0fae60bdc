package pubsub

import (
	"encoding/json"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// clientShard is some of the connections that have, or had, subscriptions or a user.
type clientShard struct {
	mu      sync.Mutex // no lock of the hub's is taken under it
	clients map[*server.Conn]*client
}

// client is what the hub knows of a connection, until that ends.
type client struct {
	topics  int // that it is subscribed to, filters among them
	filters int
	user    string
	full    time.Duration // when its bucket for messages is full again
}

func (h *Hub) clientShard(c *server.Conn) *clientShard {
	return &h.clients[maphash.Comparable(h.seed, c)%shards]
}

// client has a function change what is known of a connection; false: it has ended.
func (h *Hub) client(c *server.Conn, change func(*client)) (ok bool) {
	shard := h.clientShard(c)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	cl := shard.clients[c]
	if cl == nil {
		if _, err := h.known.Join(c); err != nil {
			return false
		}
		cl = &client{}
		shard.clients[c] = cl
	}
	change(cl)
	return true
}

// mayPublish says whether a message that comes from c now is within its rate.
func (h *Hub) mayPublish(c *server.Conn) (ok bool) {
	now := time.Since(h.began)
	open := h.client(c, func(cl *client) { cl.full, ok = h.publishes.Take(cl.full, now, now, 1) })
	return ok || !open // the last words of one that has ended
}

// count counts a subscription that comes (1) or goes (-1).
func (cl *client) count(name string, n int) {
	cl.topics += n
	if IsFilter(name) {
		cl.filters += n
	}
}

// release counts one subscription less.
func (h *Hub) release(c *server.Conn, name string) {
	shard := h.clientShard(c)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if cl := shard.clients[c]; cl != nil {
		cl.count(name, -1)
	}
}

// forget is for a connection that has ended. A loop calls it.
func (h *Hub) forget(c *server.Conn) {
	shard := h.clientShard(c)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.clients, c)
}

// SetUser says whose connection this is: a string of the application's, which presence
// tells. "" is nobody.
func (h *Hub) SetUser(c *server.Conn, user string) {
	h.client(c, func(cl *client) { cl.user = user })
}

// User is what SetUser has said, "" behind the connection's end.
func (h *Hub) User(c *server.Conn) string {
	shard := h.clientShard(c)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if cl := shard.clients[c]; cl != nil {
		return cl.user
	}
	return ""
}

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
func (t *topic) enter(c *server.Conn, info []byte) {
	if t.rule < 0 || !t.hub.rules[t.rule].Presence {
		return
	}
	if t.members == nil {
		t.members = map[*server.Conn]Member{}
	}
	m := Member{ID: c.ID(), User: t.hub.User(c), Info: info}
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
