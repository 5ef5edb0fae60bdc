package pubsub

import "github.com/millrace/millrace/server"

// Waiting is how many subscriptions wait for the broker's past.
func (h *Hub) Waiting() int {
	h.waits.mu.Lock()
	defer h.waits.mu.Unlock()
	return h.waits.kinds[forKept].held + h.waits.kinds[forKept].over
}

// MayWait says whether one more subscription may wait for the broker's past.
func (h *Hub) MayWait() bool {
	_, leave := h.waits.enterPast()
	if leave != nil {
		leave()
	}
	return leave != nil
}

// Forget forgets a connection, as its loop does when it ends.
func (h *Hub) Forget(c *server.Conn) { h.forget(c) }
