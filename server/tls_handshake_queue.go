package server

import (
	"container/heap"
	"container/list"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/addrcount"
	"github.com/millrace/millrace/internal/loop"
)

// # Whose handshake is next
//
// At most Limits.TLSHandshakes are under way; who finds no place waits in line.
//
//   - The line is one of addresses. The one with the fewest handshakes under way is
//     next; of several one that had none so far, and then the one whose last turn was
//     the longest ago; within an address, who came first. A handshake that was cut for
//     its peer's silence goes on counting for cutTime. So who was never served comes
//     before who comes again.
//   - An address gets less than three times as many places as it leaves free: three
//     quarters of them, another one three quarters of the rest, and so on. So a
//     newcomer finds a place, whatever a few others do.
//   - While somebody is in the line, a peer may keep its handshake waiting for
//     yieldTime in all, however many bytes it brings meanwhile. Who has taken longer
//     is cut, the longest first, if that helps one in the line. A loop that has one
//     in the line looks every roomLook.
//
// The 64 bits that go around with an IPv6 address count as one. A Unix socket's peer,
// and a proxy that has not said whose the connection is, is an address of its own in
// each connection.
const (
	yieldTime = 2 * time.Second
	cutTime   = 10 * time.Second
	// maxCuts bounds the handshakes that are remembered as cut.
	maxCuts = 4096
	// roomLook is how often is looked whether a peer has taken too long.
	roomLook ticks = 2
)

// source is an address that has a handshake under way, in the line, or cut lately.
type source struct {
	key     addrcount.Key
	known   bool      // it is among handshakes.sources
	running int       // handshakes under way
	cuts    int       // those cut lately
	waiting list.List // of *tlsStream, in the line
	served  bool      // it has had a place
	turn    uint64    // when it last got a place, or came
	place   int       // in the line; -1: nobody waits

	computed uint64 // guarded by shares.mu: the last turn that it has claimed
}

// sources is the line, a heap.
type sources []*source

func (l sources) Len() int { return len(l) }
func (l sources) Less(i, j int) bool {
	a, b := l[i], l[j]
	if a, b := a.running+a.cuts, b.running+b.cuts; a != b {
		return a < b
	}
	if a.served != b.served {
		return b.served
	}
	return a.turn < b.turn
}
func (l sources) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}
func (l *sources) Push(x any) {
	src := x.(*source)
	src.place = len(*l)
	*l = append(*l, src)
}
func (l *sources) Pop() any {
	last := len(*l) - 1
	src := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	src.place = -1
	return src
}

// silents are the handshakes whose peer is awaited, a heap: first who has taken the
// longest.
type silents []*handshake

func (l silents) Len() int           { return len(l) }
func (l silents) Less(i, j int) bool { return l[i].due < l[j].due }
func (l silents) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].silent, l[j].silent = i, j
}
func (l *silents) Push(x any) {
	k := x.(*handshake)
	k.silent = len(*l)
	*l = append(*l, k)
}
func (l *silents) Pop() any {
	last := len(*l) - 1
	k := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	k.silent = -1
	return k
}

// silenced is a handshake that was cut for its peer's silence.
type silenced struct {
	src   *source
	until tick
}

// line is who has a place and who waits for one. Its lock is taken with Conn.mu held
// or alone; loop.mu may be taken under it. An operation takes O(log n).
type line struct {
	mu      sync.Mutex
	max     int
	running int
	inLine  int // they wait for a place
	leaving int // they have a place and are to leave it
	turns   uint64
	sources map[addrcount.Key]*source
	first   sources
	silent  silents
	cuts    list.List // of silenced, the oldest first
}

// enter puts s into the line, and takes who has a place then, most likely s itself:
// nil if nobody has. It says whether s waits. Conn.mu is held.
func (l *line) enter(s *tlsStream, key addrcount.Key, known bool) (next *tlsStream, waits bool) {
	now := s.conn.loop.RightNow()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgive(now)
	src := l.sources[key]
	if !known || src == nil {
		l.turns++
		src = &source{key: key, known: known, turn: l.turns, place: -1}
	}
	if known {
		l.sources[key] = src
	}
	s.shake.source = src
	s.shake.waits = src.waiting.PushBack(s)
	l.inLine++
	if src.place < 0 {
		heap.Push(&l.first, src)
	}
	if next = l.take(); next == nil {
		l.makeRoom(now)
	}
	return next, s.shake.waits != nil
}

// take gives a place to the first in the line, if there is one for it.
func (l *line) take() *tlsStream {
	free := l.max - l.running
	if len(l.first) == 0 || free == 0 {
		return nil
	}
	src := l.first[0]
	if src.running > 0 && src.running+1 > 3*(free-1) {
		return nil // it would have more than three times as many as are left
	}
	s := src.waiting.Front().Value.(*tlsStream)
	l.turns++
	src.served, src.turn = true, l.turns
	src.running++
	l.running++
	l.remove(s)
	return s
}

// sizes are how many have a place, and how many wait for one.
func (l *line) sizes() (running, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running, l.inLine
}

// remove takes s out of the line.
func (l *line) remove(s *tlsStream) {
	src := s.shake.source
	src.waiting.Remove(s.shake.waits)
	s.shake.waits = nil
	l.inLine--
	if src.waiting.Len() > 0 {
		heap.Fix(&l.first, src.place)
	} else {
		heap.Remove(&l.first, src.place)
	}
	l.drop(src)
}

// drop forgets an address of which nothing is left.
func (l *line) drop(src *source) {
	if src.known && src.running+src.cuts+src.waiting.Len() == 0 {
		delete(l.sources, src.key)
	}
}

// forget takes s out of the line, if it is there.
func (l *line) forget(s *tlsStream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.shake.waits != nil {
		l.remove(s)
	}
}

// finish gives up the place of a handshake that is over, and takes who has one then.
func (l *line) finish(k *handshake) (next *tlsStream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	k.source.running--
	if k.yields.Load() {
		l.leaving--
	}
	l.reorder(k.source)
	l.drop(k.source)
	return l.take()
}

// reorder is for an address whose count has changed.
func (l *line) reorder(src *source) {
	if src.place >= 0 {
		heap.Fix(&l.first, src.place)
	}
}

// ownFacts counts a handshake that is cut. Conn.mu is held.
func (l *line) remember(s *tlsStream) {
	src, now := s.shake.source, s.conn.loop.RightNow()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !src.known {
		return
	}
	if l.cuts.Len() == maxCuts {
		l.forgiveFirst()
	}
	src.cuts++
	l.cuts.PushBack(silenced{src, now + loop.TimeoutTicks(cutTime)})
	l.reorder(src)
}

// forgive forgets those that were cut long ago.
func (l *line) forgive(now tick) {
	for l.cuts.Len() > 0 && l.cuts.Front().Value.(silenced).until <= now {
		l.forgiveFirst()
	}
}

func (l *line) forgiveFirst() {
	src := l.cuts.Remove(l.cuts.Front()).(silenced).src
	src.cuts--
	l.reorder(src)
	l.drop(src)
}

// await notes that the peer of s is awaited; heard, that it is not any more. Conn.mu
// is held.
func (l *line) await(s *tlsStream) {
	k, now := s.shake, s.conn.loop.RightNow()
	l.mu.Lock()
	defer l.mu.Unlock()
	k.since = now
	if k.yields.Load() {
		return
	}
	most := loop.TimeoutTicks(yieldTime)
	k.due = now + most - min(k.awaited, most)
	heap.Push(&l.silent, k)
}

func (l *line) heard(s *tlsStream) {
	k, now := s.shake, s.conn.loop.RightNow()
	l.mu.Lock()
	defer l.mu.Unlock()
	k.awaited += now - k.since
	if k.silent >= 0 {
		heap.Remove(&l.silent, k.silent)
	}
}

// makeRoom cuts handshakes whose peers have taken too long, no more of them than wait
// in the line.
func (l *line) makeRoom(now tick) {
	for l.leaving < l.inLine && len(l.silent) > 0 && l.silent[0].due <= now {
		k := l.silent[0]
		if l.running < l.max && k.source.waiting.Len() == 0 {
			k.due = now + roomLook // it is in nobody's way: those in the line have too many places themselves
			heap.Fix(&l.silent, 0)
			continue
		}
		heap.Pop(&l.silent)
		l.leaving++
		k.yields.Store(true)
		k.conn.wake() // its turn does it: that connection's lock may not be taken here
	}
}

// look is makeRoom for a loop that has had one in the line, and says when to look
// again.
func (l *line) look(now tick) (next *tlsStream, again tick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgive(now)
	next = l.take() // the order may be another now
	if l.makeRoom(now); l.inLine == 0 {
		return next, noDue
	}
	return next, now + roomLook
}
