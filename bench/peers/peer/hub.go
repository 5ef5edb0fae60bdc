package peer

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Hub is the set of connections that a broadcast goes to. All its methods may be
// called from everywhere; sending takes no lock.
type Hub[C comparable] struct {
	mu    sync.Mutex
	conns map[C]struct{}
	all   atomic.Pointer[[]C] // nil: not gathered since the last change
}

// Open adds a connection.
func (h *Hub[C]) Open(c C) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil {
		h.conns = make(map[C]struct{})
	}
	h.conns[c] = struct{}{}
	h.all.Store(nil)
}

// Close takes a connection out. Who called All before may still send to it.
func (h *Hub[C]) Close(c C) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	h.all.Store(nil)
}

// All gives the connections, not to be written to.
func (h *Hub[C]) All() []C {
	if all := h.all.Load(); all != nil {
		return *all
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Collect(maps.Keys(h.conns))
	h.all.Store(&all)
	return all
}
