package gateway

import (
	"container/heap"
	"sync"
	"time"

	"github.com/millrace/millrace/sse"
)

// # The end of tokens
//
// A connection ends with the token that it was opened with, or with the last one it has brought since.
// Before that it is told. One goroutine does it for all, so a connection has no timer. It does nothing else.

const (
	warnBefore = 30 * time.Second
	// tokenTime is how long somebody may stay who may do nothing without a token, and has brought none.
	tokenTime = 10 * time.Second
	rarely    = time.Minute // clocks are set
)

// expiries are the connections whose tokens end, the next one first.
type expiries struct {
	mu      sync.Mutex // no other lock is taken under it
	line    expiryLine
	changed chan struct{}
}

// expiry is what the line knows of a session, guarded by expiries.mu.
type expiry struct {
	ends  time.Time
	next  time.Time // what is to be done: the warning, or the end
	none  bool      // there is no token, and this is the end of waiting for one
	place int
}

// expiryLine is a heap of sessions.
type expiryLine []*session

// Len implements heap.Interface.
func (l expiryLine) Len() int { return len(l) }

// Less implements heap.Interface.
func (l expiryLine) Less(i, j int) bool { return l[i].expiry.next.Before(l[j].expiry.next) }

// Swap implements heap.Interface.
func (l expiryLine) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].expiry.place, l[j].expiry.place = i, j
}

// Push implements heap.Interface.
func (l *expiryLine) Push(s any) {
	s.(*session).expiry.place = len(*l)
	*l = append(*l, s.(*session))
}

// Pop implements heap.Interface.
func (l *expiryLine) Pop() any {
	last := len(*l) - 1
	s := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return s
}

// set says when a session's token ends, zero for never. It returns false if the last one has ended: then the connection
// ends too.
func (e *expiries) set(s *session, ends time.Time) (ok bool) {
	var new *expiry
	if !ends.IsZero() {
		new = &expiry{ends: ends, next: ends.Add(-warnBefore)}
	}
	return e.put(s, new)
}

// wait has a session end unless a token comes until then.
func (e *expiries) wait(s *session, until time.Time) {
	e.put(s, &expiry{ends: until, next: until, none: true})
}

func (e *expiries) put(s *session, new *expiry) (ok bool) {
	e.mu.Lock()
	if s.expired {
		e.mu.Unlock()
		return false
	}
	if s.expiry != nil {
		heap.Remove(&e.line, s.expiry.place)
	}
	s.expiry = new
	first := false
	if new != nil {
		heap.Push(&e.line, s)
		first = s.expiry.place == 0
	}
	e.mu.Unlock()
	if first {
		select {
		case e.changed <- struct{}{}:
		default: // it will look anyway
		}
	}
	return true
}

// next takes what is to be done by now: a session to end, for what it had, or to tell how long it is left. nil: nothing is,
// for that long.
func (e *expiries) next(now time.Time) (s *session, end *expiry, left time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.line) == 0 {
		return nil, nil, rarely
	}
	s = e.line[0]
	if wait := s.expiry.next.Sub(now); wait > 0 {
		return nil, nil, min(wait, rarely)
	}
	if !s.expiry.ends.After(now) {
		heap.Remove(&e.line, 0)
		end, s.expiry, s.expired = s.expiry, nil, true
		return s, end, 0
	}
	s.expiry.next = s.expiry.ends
	heap.Fix(&e.line, 0)
	return s, nil, s.expiry.ends.Sub(now)
}

// runExpiries ends tokens, until the gateway ends.
func (g *Gateway) runExpiries() {
	timer := time.NewTimer(rarely)
	defer timer.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.expiries.changed:
		case <-timer.C:
		}
		timer.Reset(g.expire(time.Now()))
	}
}

// expire does what is to be done by now, and says when to come again.
func (g *Gateway) expire(now time.Time) time.Duration {
	for {
		s, end, left := g.expiries.next(now)
		switch {
		case s == nil:
			return left
		case end != nil && end.none:
			s.fail(&Error{Unauthorized, "no token has come: nothing is allowed without one"})
		case end != nil:
			g.counts.expired.Add(1)
			_ = s.conn.Close(CodeUnauthorized, "the token has expired") // it may have ended
		default:
			s.tell("expires", expiresIn{int(left.Round(time.Second) / time.Second)})
		}
	}
}

// expiresIn tells that the token ends soon.
type expiresIn struct {
	Seconds int `json:"expires_in"`
}

// tell tells a client something that it has not asked for. Raw payloads have no place for it.
func (s *session) tell(event string, what any) {
	switch s.form {
	case enveloped:
		_ = s.conn.SendJSON(what) // its policy says what becomes of it
	case events:
		_ = s.conn.SendEvent(sse.Event{Name: event, Data: marshal(what)}) // so here
	}
}
