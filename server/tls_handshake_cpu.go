package server

import (
	"container/heap"
	"sync"
)

// shares are the processors that handshakes may compute on. Addresses take turns: one
// that brings many ClientHellos at once waits behind its own, a newcomer behind at most
// one handshake of each. It is start-time fair queueing with a cost of 1: a claim's
// turn is one after the last of its address, and not before those that are served now.
type shares struct {
	mu     sync.Mutex // no other lock is taken under it
	free   int
	now    uint64 // the turn that is served
	claims claims
	count  uint64
}

// claim is a handshake that waits for a share.
type claim struct {
	turn, number uint64
	granted      chan struct{}
}

// claims is a heap.
type claims []claim

func (c claims) Len() int { return len(c) }
func (c claims) Less(i, j int) bool {
	if c[i].turn != c[j].turn {
		return c[i].turn < c[j].turn
	}
	return c[i].number < c[j].number
}
func (c claims) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *claims) Push(x any)   { *c = append(*c, x.(claim)) }
func (c *claims) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	(*c)[last] = claim{}
	*c = (*c)[:last]
	return x
}

// compute waits for a share of the processors; pause gives it up while its holder
// waits for something else. Without src, as after a callback, it is next.
func (s *shares) compute(src *source) {
	s.mu.Lock()
	turn := s.now
	if src != nil {
		turn = max(s.now, src.computed) + 1
		src.computed = turn
	}
	if s.free > 0 {
		s.free--
		s.now = max(s.now, turn)
		s.mu.Unlock()
		return
	}
	s.count++
	mine := claim{turn, s.count, make(chan struct{})}
	heap.Push(&s.claims, mine)
	s.mu.Unlock()
	<-mine.granted
}

func (s *shares) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.claims) == 0 {
		s.free++
		return
	}
	next := heap.Pop(&s.claims).(claim)
	s.now = max(s.now, next.turn)
	close(next.granted)
}
