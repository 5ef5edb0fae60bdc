package server

// pickLoop spreads connections over the loops: of two neighbours, in turn, the one
// with fewer connections takes the next. Those that have left, for net/http or for
// good, do not count: whatever the order in which pages and WebSockets come, each
// loop gets its share of those that stay.
func (s *Server) pickLoop() *shard {
	n := uint32(len(s.loops))
	if n == 1 {
		return s.loops[0]
	}
	i := s.nextLoop.Add(1)
	one, other := s.loops[i%n], s.loops[(i+1)%n]
	if other.load() < one.load() {
		return other
	}
	return one
}

// load is how many connections the loop has, or is about to get.
func (l *shard) load() int64 { return l.counters.open.Load() + l.coming.Load() }
