package server

import "sync"

// ownLimits are limits that a connection was given, for all that were given the same.
type ownLimits struct {
	connLimits
	given ConnLimits

	// facts are those of connections that have nothing else to remember, by what they
	// agreed upon for compression, nil for nothing. Guarded by owns.mu.
	facts map[*deflation]*facts
}

// owns are the limits that connections were given.
type owns struct {
	mu     sync.Mutex // no other lock is taken under it; Conn.mu may be held
	limits map[ownKey]*ownLimits
}

type ownKey struct {
	given ConnLimits
	whole bool // see Server.judgeOwn
}

// maxShared bounds how many different limits are kept to be shared. Connections with
// others have theirs for themselves.
const maxShared = 1000

// ownLimits are what l comes to, nil if that is what the server has; whole: messages are
// kept until they are whole.
func (s *Server) ownLimits(l ConnLimits, whole bool) (*ownLimits, error) {
	if l == (ConnLimits{}) {
		return nil, nil
	}
	key := ownKey{l, whole}
	o := &s.owns
	o.mu.Lock()
	defer o.mu.Unlock()
	if own := o.limits[key]; own != nil {
		return own, nil
	}
	all := l.over(s.connFields())
	own := &ownLimits{connLimits: all.effective(), given: l}
	if l.Queue.Max == 0 && s.limits.backlog > 0 {
		own.maxQueue = int(min(int64(own.maxQueue), s.limits.backlog))
	}
	if err := s.judgeOwn(l, all, own.maxQueue, whole); err != nil {
		return nil, err
	}
	if own.paced() {
		s.group.KeepRounds()
	}
	if o.limits == nil {
		o.limits = make(map[ownKey]*ownLimits)
	}
	if len(o.limits) < maxShared {
		o.limits[key] = own
	}
	return own, nil
}

// sharedFacts are those of a connection that has nothing to remember but these, nil if
// there is neither. A deflation must be a shared one.
func (s *Server) sharedFacts(d *deflation, own *ownLimits) *facts {
	switch {
	case own == nil && d == nil:
		return nil
	case own == nil:
		return d.facts
	}
	s.owns.mu.Lock()
	defer s.owns.mu.Unlock()
	f := own.facts[d]
	if f == nil {
		f = &facts{deflate: d, limits: own, shared: true}
		if own.facts == nil {
			own.facts = make(map[*deflation]*facts)
		}
		own.facts[d] = f
	}
	return f
}
