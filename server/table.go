package server

import (
	"sync"

	"github.com/millrace/millrace/poller"
)

// chunkSlots is the number of slots a table grows by: no slot ever moves.
const chunkSlots = 2048

// noDue is the deadline of a slot that has none.
const noDue = ^tick(0)

// chunk keeps deadlines apart from connections: looking for the next deadline
// reads 4 KiB a thousand connections and touches none of them. It is 40 KiB, whole
// pages of Go's heap: nothing is lost to rounding.
type chunk struct {
	due   [chunkSlots]tick
	gen   [chunkSlots]uint32
	since [chunkSlots]tick // when the connection came into the loop
	conns [chunkSlots]*Conn
}

// table finds a loop's connections by their token, slot and generation, and
// keeps their deadlines. It belongs to the loop's leader. A free slot's deadline
// field holds the number of the next free one.
type table struct {
	grows  sync.Mutex // for chunks to grow, and for others than the leader to look
	chunks []*chunk
	first  []tick // of each chunk: none of its deadlines is earlier
	free   uint32 // the first free slot, if used is below the number of slots
	used   int
}

// insert gives c a slot, now.
func (t *table) insert(c *Conn, now tick) poller.Token {
	if t.used == len(t.chunks)*chunkSlots {
		t.grow()
	}
	slot := t.free
	ch, i := t.at(slot)
	t.free = uint32(ch.due[i])
	t.used++
	ch.due[i] = noDue
	ch.since[i] = now
	ch.conns[i] = c
	c.slot = slot
	return ch.token(slot)
}

// token is what a slot's connection is known by.
func (ch *chunk) token(slot uint32) poller.Token {
	return poller.Token(ch.gen[slot%chunkSlots])<<32 | poller.Token(slot)
}

// token is what a slot that stays taken meanwhile is known by, for any goroutine.
func (t *table) token(slot uint32) poller.Token {
	t.grows.Lock()
	ch := t.chunks[slot/chunkSlots]
	t.grows.Unlock()
	return ch.token(slot)
}

// grow adds a chunk; all slots were in use.
func (t *table) grow() {
	t.free = uint32(len(t.chunks) * chunkSlots)
	ch := &chunk{}
	for i := range ch.due {
		ch.due[i] = tick(t.free) + tick(i) + 1
	}
	t.grows.Lock()
	t.chunks = append(t.chunks, ch)
	t.grows.Unlock()
	t.first = append(t.first, noDue)
}

// find is the connection of a token, nil if its slot has been left since.
func (t *table) find(token poller.Token) *Conn {
	slot := uint32(token)
	if int(slot/chunkSlots) >= len(t.chunks) {
		return nil
	}
	ch, i := t.at(slot)
	if ch.gen[i] != uint32(token>>32) {
		return nil
	}
	return ch.conns[i]
}

// remove frees c's slot and makes tokens given out for it stale.
func (t *table) remove(c *Conn) {
	ch, i := t.at(c.slot)
	ch.conns[i] = nil
	ch.due[i] = tick(t.free)
	ch.gen[i] = (ch.gen[i] + 1) &^ (1 << 31) // the top bit marks listeners
	t.free = c.slot
	t.used--
}

func (t *table) setDue(slot uint32, due tick) {
	ch, i := t.at(slot)
	ch.due[i] = due
	t.first[slot/chunkSlots] = min(t.first[slot/chunkSlots], due)
}

func (t *table) due(slot uint32) tick {
	ch, i := t.at(slot)
	return ch.due[i]
}

// since is when the connection came into the loop.
func (t *table) since(slot uint32) tick {
	ch, i := t.at(slot)
	return ch.since[i]
}

func (t *table) at(slot uint32) (*chunk, uint32) {
	return t.chunks[slot/chunkSlots], slot % chunkSlots
}

// expired calls take for at most so many connections whose deadline is now or over,
// having cleared it, and returns the next deadline: now, if there are more.
func (t *table) expired(now tick, most int, take func(*Conn)) tick {
	next := noDue
	for i, ch := range t.chunks {
		if t.first[i] <= now && most > 0 {
			t.first[i] = noDue // take may set one anew
			var earliest tick
			earliest, most = ch.expire(now, most, take)
			t.first[i] = min(t.first[i], earliest)
		}
		next = min(next, t.first[i])
	}
	return next
}

// expire does so for one chunk and returns the earliest deadline that is left, and
// how many more there may be.
func (ch *chunk) expire(now tick, most int, take func(*Conn)) (earliest tick, left int) {
	earliest = noDue
	for i, due := range ch.due {
		if ch.conns[i] == nil {
			continue
		}
		if due > now || most == 0 {
			earliest = min(earliest, due)
			continue
		}
		most--
		ch.due[i] = noDue
		take(ch.conns[i])
	}
	return earliest, most
}

// eachIn calls visit for every connection of one chunk, and says whether there is
// such a chunk.
func (t *table) eachIn(chunk int, visit func(*Conn)) bool {
	if chunk >= len(t.chunks) {
		return false
	}
	for _, c := range t.chunks[chunk].conns {
		if c != nil {
			visit(c)
		}
	}
	return true
}
