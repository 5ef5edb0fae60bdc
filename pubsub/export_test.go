package pubsub

import "github.com/millrace/millrace/server"

// Waiting is how many subscriptions wait for the broker's past.
func (h *Hub) Waiting() int {
	h.readings.mu.Lock()
	defer h.readings.mu.Unlock()
	return h.readings.waiting
}

// MayWait says whether one more subscription may wait for the broker's past.
func (h *Hub) MayWait() bool {
	_, ok := h.readings.enter()
	if ok {
		h.readings.leave()
	}
	return ok
}

// Forget forgets a connection, as its loop does when it ends.
func (h *Hub) Forget(c *server.Conn) { h.forget(c) }
