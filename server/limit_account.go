package server

import (
	"slices"
	"sync"
	"sync/atomic"
)

// # Two accounts of memory
//
// The server keeps account of what all connections hold: outbound, the queues;
// inbound, what was received and is not handled: unfinished heads, TLS records,
// frames and messages, and what a paused connection has read. Both count the
// capacity of buffers rather than the bytes in them, since that is what it costs.
//
// What a connection holds of an account is an entry, which knows what it is charged
// with; whoever changes it charges the difference. A loop knows its entries, and only
// those (holders): that is where the governor looks for the largest.

const (
	// queueMemory is what an empty queue takes: itself, and the pieces of a write.
	queueMemory = 768
	// inboundMemory is what an unfinished message takes besides its bytes: the
	// decoder, and its place.
	inboundMemory = 384
)

// entry is what a connection holds of an account. It is charged in one goroutine at
// a time: an outbound one under Conn.mu, an inbound one by the turn.
type entry struct {
	conn    *Conn
	charged atomic.Int64  // anyone reads
	waits   atomic.Int64  // outbound: the bytes that wait, shared ones included; anyone reads
	since   atomic.Uint32 // inbound: the tick since when it makes no progress; anyone reads
	place   int           // guarded by holders.mu: in its entries
}

// holders are a loop's entries in an account, in no order. Its lock is taken with
// Conn.mu held or alone, and held for a few instructions only.
type holders struct {
	mu      sync.Mutex
	entries []*entry // each at its place
}

func (h *holders) add(e *entry) {
	h.mu.Lock()
	e.place = len(h.entries)
	h.entries = append(h.entries, e)
	h.mu.Unlock()
}

func (h *holders) remove(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.entries) - 1
	moved := h.entries[last]
	h.entries[e.place], h.entries[last] = moved, nil
	moved.place = e.place
	h.entries = h.entries[:last]
	if cap(h.entries) > 1024 && last < cap(h.entries)/4 {
		h.entries = slices.Clip(slices.Clone(h.entries))
	}
}

func (h *holders) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries)
}

// listed is an entry and how it stood when the governor looked.
type listed struct {
	*entry
	size int64 // what it was charged with
	rank int64 // the highest is shed first
	over bool  // its connection has ended, and is only written out
}

// listedAtOnce bounds how long list holds the lock.
const listedAtOnce = 1000

// list appends all entries. Those that come or go meanwhile may be missing, or there
// twice.
func (h *holders) list(to []listed) []listed {
	for next := 0; ; next += listedAtOnce {
		h.mu.Lock()
		rest := h.entries[min(next, len(h.entries)):]
		rest = rest[:min(len(rest), listedAtOnce)]
		for _, e := range rest {
			to = append(to, listed{entry: e, size: e.charged.Load(), over: e.conn.stateNow() >= stateEnding})
		}
		h.mu.Unlock()
		if len(rest) < listedAtOnce {
			return to
		}
	}
}

// account is what all entries of one kind come to, and their bound.
type account struct {
	governor *governor
	budget   int64        // 0: there is no bound
	total    atomic.Int64 // what all are charged with
	allows   atomic.Int64 // the budget, or less while memory is short
}

// charge charges an entry with what it holds now.
func (a *account) charge(e *entry, now int64) {
	if before := e.charged.Load(); now != before {
		e.charged.Store(now)
		a.add(now - before)
	}
}

func (a *account) add(n int64) {
	total := a.total.Add(n)
	if n <= 0 || a.governor.wake == nil {
		return
	}
	before := total - n
	over := a.budget > 0 && (total > a.allows.Load() || total > a.budget/8 && before <= a.budget/8)
	if over || total > peakMemory && before <= peakMemory {
		a.governor.rouse()
	}
}

// full says that nothing may grow: the governor does not keep up.
func (a *account) full() bool {
	return a.budget > 0 && a.total.Load() > a.budget+a.budget/4
}
