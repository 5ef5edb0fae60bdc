package load

import "iter"

// maxPending bounds the messages that some loops have and others not.
const maxPending = 1 << 18

// pending are messages that some loops, or processes, have, by publisher and number. Of
// too many it gives up the older half.
type pending struct {
	newer, older map[uint64]*settled
	floor        map[uint32]uint32 // behind the last one given up of a publisher
}

// get gives a message's; nil: there is none.
func (p *pending) get(key uint64) *settled {
	if s := p.newer[key]; s != nil {
		return s
	}
	return p.older[key]
}

// put adds a message's, and gives those that are given up for it. One that was given up
// before is not added: it would be waited for in vain.
func (p *pending) put(key uint64, s *settled) (givenUp map[uint64]*settled) {
	if floor, known := p.floor[s.publisher]; known && int32(s.number-floor) < 0 {
		return nil
	}
	if len(p.newer) >= maxPending/2 {
		givenUp, p.older, p.newer = p.older, p.newer, nil
		p.raise(givenUp)
	}
	if p.newer == nil {
		p.newer = map[uint64]*settled{}
	}
	p.newer[key] = s
	return givenUp
}

// raise notes which messages are given up.
func (p *pending) raise(givenUp map[uint64]*settled) {
	if p.floor == nil {
		p.floor = map[uint32]uint32{}
	}
	for _, s := range givenUp {
		if floor, known := p.floor[s.publisher]; !known || int32(s.number-floor) >= 0 {
			p.floor[s.publisher] = s.number + 1
		}
	}
}

func (p *pending) remove(key uint64) {
	delete(p.newer, key)
	delete(p.older, key)
}

// all gives each, which may be removed meanwhile.
func (p *pending) all() iter.Seq2[uint64, *settled] {
	return func(yield func(uint64, *settled) bool) {
		for _, some := range []map[uint64]*settled{p.newer, p.older} {
			for key, s := range some {
				if !yield(key, s) {
					return
				}
			}
		}
	}
}
