package simnet

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/poller"
)

const (
	// firstFD is the lowest number given out: 0 to 2 are the standard streams,
	// and 0 means "no descriptor" in a Conn.
	firstFD = 3
	// chunkSize makes a chunk 32 KiB: a whole number of the allocator's pages.
	chunkSize = 1024
)

// descriptor is one number's entry: what it names, and its place in a poller.
type descriptor struct {
	conn   atomic.Pointer[Conn]   // nil: not open, or a listener
	poller atomic.Pointer[Poller] // written under the owner's and the poller's lock

	// Guarded by the poller's lock.
	token      poller.Token
	generation uint32 // counts registrations; says whether an entry of the ready list is stale
	ready      poller.Ready
	queued     bool // in the poller's ready list
}

// note tells the poller, if there is one, that the descriptor became ready.
func (d *descriptor) note(fd int32, ready poller.Ready) {
	if p := d.poller.Load(); p != nil {
		p.note(d, fd, ready)
	}
}

// table gives out descriptor numbers, the lowest free one first. Entries never
// move, so looking one up takes no lock.
type table struct {
	chunks atomic.Pointer[[]*[chunkSize]descriptor]

	mu    sync.Mutex
	used  []uint64 // a bit for each number
	full  []uint64 // a bit for each word of used that has no bit left
	open  int
	limit int // 0: none
}

func (t *table) init(limit, preallocate int) {
	t.limit = limit
	t.chunks.Store(new([]*[chunkSize]descriptor))
	t.grow(firstFD + preallocate)
	t.used[0] = 1<<firstFD - 1
}

// grow makes room for at least that many numbers. t.mu is held, or t is new.
func (t *table) grow(numbers int) {
	chunks := *t.chunks.Load()
	for len(chunks)*chunkSize < numbers {
		chunks = append(chunks, new([chunkSize]descriptor))
		t.used = append(t.used, make([]uint64, chunkSize/64)...)
	}
	for len(t.full)*64 < len(t.used) {
		t.full = append(t.full, 0)
	}
	t.chunks.Store(&chunks)
}

// at returns the entry of a number, or nil when it was never given out.
func (t *table) at(fd int) *descriptor {
	chunks := *t.chunks.Load()
	if fd < 0 || fd/chunkSize >= len(chunks) {
		return nil
	}
	return &chunks[fd/chunkSize][fd%chunkSize]
}

// take gives out the lowest free number, or false at the limit.
func (t *table) take() (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit > 0 && t.open >= t.limit {
		return 0, false
	}
	word := t.freeWord()
	if word == len(t.used) {
		t.grow((word + 1) * 64)
	}
	bit := bits.TrailingZeros64(^t.used[word])
	t.used[word] |= 1 << bit
	if t.used[word] == ^uint64(0) {
		t.full[word/64] |= 1 << (word % 64)
	}
	t.open++
	return word*64 + bit, true
}

// freeWord returns the first word of used with a bit left, or len(used).
func (t *table) freeWord() int {
	for i, words := range t.full {
		if words != ^uint64(0) {
			return min(i*64+bits.TrailingZeros64(^words), len(t.used))
		}
	}
	return len(t.used)
}

func (t *table) release(fd int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used[fd/64] &^= 1 << (fd % 64)
	t.full[fd/64/64] &^= 1 << (fd / 64 % 64)
	t.open--
}

func (t *table) openCount() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}
