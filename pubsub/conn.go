package pubsub

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/millrace/millrace/server"
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
	left    time.Duration // when its bucket for topics with presence that it has left is full again
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

// mayEnter says whether a connection may enter a topic with presence, which its members are told. What it has left counts,
// and not what it enters. So it may enter many at its start, and leave at any time, but not come and go for ever.
func (h *Hub) mayEnter(cl *client) bool {
	now := time.Since(h.began)
	_, ok := h.presences.Take(cl.left, now, now, 1)
	return ok
}

// noteExit notes that a connection has left a topic with presence.
func (h *Hub) noteExit(c *server.Conn) {
	shard := h.clientShard(c)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if cl := shard.clients[c]; cl != nil {
		cl.left = h.presences.Charge(cl.left, time.Since(h.began), 1)
	}
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
