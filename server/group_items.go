package server

import "math/bits"

// groupItems are the items of a log in a ring: each keeps its place while others come
// and go, and places are used again.
type groupItems struct {
	ring []groupItem // as many as a power of two; an item's place is its number, modulo that
}

// A ring is this large at least, and one that has grown beyond keepItems shrinks again, not below that, when it is
// nearly empty.
const (
	leastItems = 64
	keepItems  = 2048
)

func (r *groupItems) at(number uint64) *groupItem { return &r.ring[number&uint64(len(r.ring)-1)] }

// append puts an item behind the others, of which first is the oldest.
func (r *groupItems) append(item groupItem, first, number uint64) {
	if number-first == uint64(len(r.ring)) {
		r.resize(max(leastItems, 2*len(r.ring)), first, number)
	}
	*r.at(number) = item
}

// trim takes off the items before first, of which oldest is the first; the next one will have the
// number next.
func (r *groupItems) trim(oldest, first, next uint64) {
	for n := oldest; n < first; n++ {
		*r.at(n) = groupItem{}
	}
	if left := next - first; len(r.ring) > keepItems && left <= uint64(len(r.ring)/8) {
		r.resize(max(keepItems, 1<<bits.Len64(2*left)), first, next)
	}
}

// resize moves the items from first up to next, without it, to a ring of another size. Who reads the old one
// may go on.
func (r *groupItems) resize(size int, first, next uint64) {
	old := *r
	r.ring = make([]groupItem, size)
	for n := first; n < next; n++ {
		*r.at(n) = *old.at(n)
	}
}
