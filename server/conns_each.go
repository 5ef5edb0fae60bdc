package server

import (
	"context"

	"github.com/millrace/millrace/poller"
)

// Each calls do for every open connection, one after another and on the caller's
// goroutine, until do returns false. Connections come and go meanwhile: one that is
// open all the time is given once. do may do anything that a handler may. The caller must
// not hold a lock that handlers take: loops that wait for it would not answer. Each
// asks the loops for their connections in slices, between their turns, and returns
// ctx's error when that is done first, as when all workers are held by handlers that
// block.
func (s *Server) Each(ctx context.Context, do func(c *Conn) bool) error {
	if !s.started.Load() {
		return nil
	}
	for _, l := range s.loops {
		for next := 0; next >= 0; {
			slice := &connSlice{loop: l, from: next, done: make(chan struct{})}
			if !l.PostTask(slice) {
				break // the loop has ended
			}
			select {
			case <-slice.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			for _, c := range slice.conns {
				if c.stateNow() == stateOpen && !do(c) {
					return nil
				}
			}
			next = slice.next
		}
	}
	return ctx.Err()
}

// connSlice is some of a loop's connections. It is the leader's until done is closed.
type connSlice struct {
	loop  *shard
	from  int // a place in the table
	next  int // where the next one begins; below 0: there is none
	conns []*Conn
	done  chan struct{}
}

// Do implements loop.Task.
func (s *connSlice) Do() (again bool) {
	var more bool
	s.next, more = s.loop.Each(s.from, slotsPerVisit, func(m *member, _ tick, _ poller.Token) {
		s.conns = append(s.conns, (*Conn)(m))
	})
	if !more {
		s.next = -1
	}
	close(s.done)
	return false
}
