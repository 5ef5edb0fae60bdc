package loop

import (
	"sync"

	"github.com/millrace/millrace/poller"
)

// chunkSlots is the number of slots a table grows by: no slot ever moves.
const chunkSlots = 2048

// chunk keeps deadlines apart from members: looking for the next deadline reads 4
// KiB a thousand members and touches none of them. It is 40 KiB, whole pages of
// Go's heap: nothing is lost to rounding.
type chunk[M Member] struct {
	due     [chunkSlots]Tick
	gen     [chunkSlots]uint32
	since   [chunkSlots]Tick // when the member came into the loop
	members [chunkSlots]M
}

// table finds a loop's members by their token, slot and generation, and keeps their
// deadlines. It belongs to the loop's leader. A free slot's deadline field holds the
// number of the next free one.
type table[M Member] struct {
	grows  sync.Mutex // for chunks to grow, and for others than the leader to look
	chunks []*chunk[M]
	first  []Tick // of each chunk: none of its deadlines is earlier
	free   uint32 // the first free slot, if used is below the number of slots
	used   int
}

// insert gives m a slot, now.
func (t *table[M]) insert(m M, now Tick) poller.Token {
	if t.used == len(t.chunks)*chunkSlots {
		t.grow()
	}
	slot := t.free
	ch, i := t.at(slot)
	t.free = uint32(ch.due[i])
	t.used++
	ch.due[i] = NoDue
	ch.since[i] = now
	ch.members[i] = m
	m.Seat().slot = slot
	return ch.token(slot)
}

// token is what a slot's member is known by.
func (ch *chunk[M]) token(slot uint32) poller.Token {
	return poller.Token(ch.gen[slot%chunkSlots])<<32 | poller.Token(slot)
}

// tokenOf is what a slot that stays taken meanwhile is known by, for any goroutine.
func (t *table[M]) tokenOf(slot uint32) poller.Token {
	t.grows.Lock()
	ch := t.chunks[slot/chunkSlots]
	t.grows.Unlock()
	return ch.token(slot)
}

// grow adds a chunk; all slots were in use.
func (t *table[M]) grow() {
	t.free = uint32(len(t.chunks) * chunkSlots)
	ch := &chunk[M]{}
	for i := range ch.due {
		ch.due[i] = Tick(t.free) + Tick(i) + 1
	}
	t.grows.Lock()
	t.chunks = append(t.chunks, ch)
	t.grows.Unlock()
	t.first = append(t.first, NoDue)
}

// find is the member of a token, the zero value if its slot has been left since.
func (t *table[M]) find(token poller.Token) (m M) {
	slot := uint32(token)
	if int(slot/chunkSlots) >= len(t.chunks) {
		return m
	}
	ch, i := t.at(slot)
	if ch.gen[i] != uint32(token>>32) {
		return m
	}
	return ch.members[i]
}

// remove frees a slot and makes tokens given out for it stale.
func (t *table[M]) remove(slot uint32) {
	var nobody M
	ch, i := t.at(slot)
	ch.members[i] = nobody
	ch.due[i] = Tick(t.free)
	ch.gen[i] = (ch.gen[i] + 1) &^ (1 << 31) // the top bit marks sources
	t.free = slot
	t.used--
}

func (t *table[M]) setDue(slot uint32, due Tick) {
	ch, i := t.at(slot)
	ch.due[i] = due
	t.first[slot/chunkSlots] = min(t.first[slot/chunkSlots], due)
}

func (t *table[M]) due(slot uint32) Tick {
	ch, i := t.at(slot)
	return ch.due[i]
}

// since is when the member came into the loop.
func (t *table[M]) since(slot uint32) Tick {
	ch, i := t.at(slot)
	return ch.since[i]
}

func (t *table[M]) at(slot uint32) (*chunk[M], uint32) {
	return t.chunks[slot/chunkSlots], slot % chunkSlots
}

// expired calls take for at most so many members whose deadline is now or over,
// having cleared it, and returns the next deadline: now, if there are more.
func (t *table[M]) expired(now Tick, most int, take func(M)) Tick {
	next := NoDue
	for i, ch := range t.chunks {
		if t.first[i] <= now && most > 0 {
			t.first[i] = NoDue // take may set one anew
			var earliest Tick
			earliest, most = ch.expire(now, most, take)
			t.first[i] = min(t.first[i], earliest)
		}
		next = min(next, t.first[i])
	}
	return next
}

// expire does so for one chunk and returns the earliest deadline that is left, and
// how many more there may be.
func (ch *chunk[M]) expire(now Tick, most int, take func(M)) (earliest Tick, left int) {
	var nobody M
	earliest = NoDue
	for i, due := range ch.due {
		if ch.members[i] == nobody {
			continue
		}
		if due > now || most == 0 {
			earliest = min(earliest, due)
			continue
		}
		most--
		ch.due[i] = NoDue
		take(ch.members[i])
	}
	return earliest, most
}

// each calls look for the members in so many slots from one on, and returns the
// first slot that it has not looked at; more: there is such a slot.
func (t *table[M]) each(from, slots int, look func(m M, since Tick, token poller.Token)) (next int, more bool) {
	var nobody M
	end := min(from+slots, len(t.chunks)*chunkSlots)
	for ; from < end; from++ {
		ch, i := t.at(uint32(from))
		if m := ch.members[i]; m != nobody {
			look(m, ch.since[i], ch.token(uint32(from)))
		}
	}
	return from, from < len(t.chunks)*chunkSlots
}
