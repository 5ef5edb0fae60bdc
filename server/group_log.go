package server

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/internal/outqueue"
	"github.com/millrace/millrace/ws"
)

// groupLog is a loop's part of all groups: what is to be passed on to the members there,
// in the order in which it came. Joins and leaves stand in the same order.
//
// Items are numbered from 1 on. A connection in a group knows up to which it has
// caught up (grouped.seen); an item goes when no member needs it any more.
type groupLog struct {
	loop *shard

	// The numbers of the oldest item and of the newest; written under mu.
	first, last atomic.Uint64

	mu     sync.Mutex // guards what follows; the innermost lock
	items  groupItems
	parts  []*groupPart // by id; nil: the id is free
	free   []uint32     // ids
	posted bool         // Do will run
	// Do will run before the loop can end: it runs, or whoever posts it keeps the loop.
	endPosted bool

	pass groupPass // the leader's
}

// maxGroupItems bounds a loop's log. Beyond it Group.Send returns ErrNoRoom.
const maxGroupItems = 1 << 16

// groupItem is a message to the members of a part, or the join or leave of one, or the
// end of a connection.
type groupItem struct {
	part    *groupPart    // nil: conn is over
	message *groupMessage // nil: conn joins or leaves
	before  uint64        // the number of the part's message before this one
	conn    *Conn         // of a message: the part's only member; nil: there may be others
	policy  QueuePolicy   // of a message: conn's, or the group's
}

// groupPart is the members of a group on one loop.
type groupPart struct {
	group *Group
	log   *groupLog
	id    uint32

	// Guarded by Group.mu.
	policy   QueuePolicy // that of only, or the group's
	expected int         // members, also those whose join or leave is in the log
	only     *Conn       // the one of them; nil: there are none or several, or it is not known which

	newest  uint64 // guarded by groupLog.mu: the number of its newest message
	mention uint64 // likewise: of its newest item

	// The leader's.
	members []*Conn
	one     [1]*Conn // has members, while there is one
	cursor  int      // of the pass under way: those before have caught up
	touched uint64   // a message to it in the last pass that had one
}

// groupMessage is a message on its way to members. It is charged once, however many
// queues it waits in.
type groupMessage struct {
	group    *Group
	prepared *ws.Prepared
	policy   QueuePolicy
	key      any // a groupKey; nil: none
	keyHash  uint32
	inOrder  bool         // it does not take the place of the one with its key
	expires  tick         // 0: never
	size     atomic.Int64 // what is charged: the frame, the key, and other forms that wait
	holds    atomic.Int64 // logs and queues; the last one takes the charge back
	waits    atomic.Pointer[waitingFrame]
}

// groupKey is a message's key, of its group's or of another owner.
type groupKey struct {
	owner any
	key   string
}

var keySeed = maphash.MakeSeed()

// waitingFrame is one form of a message, for queues: compressed or not.
type waitingFrame struct {
	outqueue.Shared
	next *waitingFrame
}

// forEver is more than ticks can count.
const forEver = 5 * 365 * 24 * time.Hour

func newGroupMessage(g *Group, p *ws.Prepared, o SendOptions, holds int) *groupMessage {
	m := &groupMessage{group: g, prepared: p, policy: o.Policy, inOrder: o.InOrder}
	if o.Key != "" {
		key := groupKey{o.KeyOwner, o.Key}
		if key.owner == nil {
			key.owner = g
		}
		m.key, m.keyHash = key, uint32(maphash.Comparable(keySeed, key))
	}
	if o.Expires > 0 && o.Expires < forEver {
		m.expires = g.srv.loops[0].RightNow() + loop.TimeoutTicks(o.Expires)
	}
	m.holds.Store(int64(holds))
	m.charge(len(p.Frame()) + len(o.Key))
	return m
}

// charge charges bytes of the message, as those of a form.
func (m *groupMessage) charge(bytes int) {
	m.size.Add(int64(bytes))
	m.group.srv.governor.outbound.add(int64(bytes))
}

// release lets go of one hold.
func (m *groupMessage) release() {
	if m.holds.Add(-1) == 0 {
		m.group.srv.governor.outbound.add(-m.size.Load())
	}
}

// share is a frame of the message, for one queue more.
func (m *groupMessage) share(frame []byte) *outqueue.Shared {
	m.holds.Add(1)
	first := m.waits.Load()
	for w := first; w != nil; w = w.next {
		if &w.Frame[0] == &frame[0] {
			return &w.Shared
		}
	}
	w := &waitingFrame{Shared: outqueue.Shared{Frame: frame, Key: m.key, KeyHash: m.keyHash, Expires: uint32(m.expires), Released: m.release}, next: first}
	// If another one has made it too, both are right.
	if m.waits.CompareAndSwap(first, w) && &frame[0] != &m.prepared.Frame()[0] {
		m.charge(len(frame))
	}
	return &w.Shared
}

func (l *groupLog) init(s *shard) {
	l.loop = s
	l.first.Store(1)
}

// hasRoom says whether a message may be pushed.
func (l *groupLog) hasRoom() bool {
	first := l.first.Load() // read before last, so that it is not beyond it
	return l.last.Load()+1-first < maxGroupItems
}

// push puts a join or a leave behind the other items, has the leader do it, and gives its number. The caller
// holds Group.mu.
func (l *groupLog) push(item groupItem) (number uint64) {
	l.mu.Lock()
	number = l.append(item)
	l.wake()
	return number
}

// pushEnd is push for the end of a connection. Its loop may end with it, so Do must be posted before it returns. posted does not
// say that: a sender sets it, and may not have posted yet. endPosted does: whoever sets it is a connection that the loop waits for, or Do.
func (l *groupLog) pushEnd(c *Conn) {
	l.mu.Lock()
	l.append(groupItem{conn: c})
	post := !l.endPosted
	l.posted, l.endPosted = true, true
	l.mu.Unlock()
	if post {
		l.loop.PostTask(l)
	}
}

// pushMessage puts a message behind the other items for each of the groups that has members here, one
// behind the other. The caller holds the groups' locks.
func (l *groupLog) pushMessage(m *groupMessage, groups []*Group) {
	locked := false
	for _, g := range groups {
		part := g.partOn(l)
		if part == nil || part.expected == 0 {
			continue
		}
		if !locked {
			l.mu.Lock()
			locked = true
		}
		l.append(groupItem{part: part, message: m, conn: part.only, policy: part.policy})
	}
	if locked {
		l.wake()
	}
}

// append puts an item behind the others. The caller holds mu.
func (l *groupLog) append(item groupItem) (number uint64) {
	number = l.last.Load() + 1
	if item.part != nil {
		if item.message != nil {
			item.before, item.part.newest = item.part.newest, number
		}
		item.part.mention = number
	}
	l.items.append(item, l.first.Load(), number)
	l.last.Store(number)
	return number
}

// wake has the leader run, and gives mu back.
func (l *groupLog) wake() {
	post := !l.posted
	l.posted = true
	l.mu.Unlock()
	if post {
		l.loop.PostTask(l) // a loop that has ended has done all items: see pushEnd
	}
}

// gain counts a member more. The caller holds Group.mu.
func (p *groupPart) gain(c *Conn, policy QueuePolicy) {
	p.only, p.policy = nil, p.group.options.Policy
	if p.expected == 0 {
		p.only, p.policy = c, cmp.Or(policy, p.policy)
	}
	p.expected++
	p.group.members++
}

// lose counts a member less, and forgets the forms of messages when the last one has gone. The
// caller holds Group.mu.
func (p *groupPart) lose() {
	p.only, p.policy = nil, p.group.options.Policy
	p.expected--
	if p.group.members--; p.group.members == 0 {
		p.group.ways.Store(nil)
	}
}

// partOn is the group's part on a loop, nil if there is none. The caller holds Group.mu.
func (g *Group) partOn(l *groupLog) *groupPart {
	if int(l.loop.index) >= len(g.parts) {
		return nil
	}
	return g.parts[l.loop.index]
}

// part is the group's part on a loop, made if there is none. The caller holds Group.mu.
func (g *Group) part(l *groupLog) *groupPart {
	if p := g.partOn(l); p != nil {
		return p
	}
	if loops := len(g.srv.loops); g.parts == nil && loops <= len(g.few) {
		g.parts = g.few[:loops]
	} else if g.parts == nil {
		g.parts = make([]*groupPart, loops)
	}
	p := l.newPart(g)
	g.parts[l.loop.index] = p
	return p
}

func (l *groupLog) newPart(g *Group) *groupPart {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &g.home
	if p.group != nil { // it has been a part, which somebody may look at yet (Each)
		p = &groupPart{}
	}
	*p = groupPart{group: g, log: l}
	p.members = p.one[:0]
	if n := len(l.free); n > 0 {
		p.id = l.free[n-1]
		l.free = l.free[:n-1]
		l.parts[p.id] = p
		return p
	}
	p.id = uint32(len(l.parts))
	l.parts = append(l.parts, p)
	return p
}

// dropEmpty frees a part that has no members and is in no item. The leader calls it.
func (l *groupLog) dropEmpty(p *groupPart) {
	if len(p.members) > 0 {
		return
	}
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.expected > 0 || p.mention >= l.first.Load() || l.parts[p.id] != p {
		return
	}
	l.parts[p.id] = nil
	l.free = append(l.free, p.id)
	p.group.parts[l.loop.index] = nil
	p.members = nil // it may be a part of the group, which stays
}

// pending is a message in the log and its number there, for a member.
type pending struct {
	number  uint64
	message *groupMessage
	policy  QueuePolicy
}

// collect appends the messages that c is to get, up to end and perhaps
// beyond, in their order, and gives the number up to which that is all. The caller holds Conn.mu. It takes
// as long as the connection has memberships, or as there are items up to end that it has not
// seen, whichever is less.
func (l *groupLog) collect(c *Conn, end uint64, to []pending) ([]pending, uint64) {
	g := c.grouped()
	l.mu.Lock()
	defer l.mu.Unlock()
	first, last := l.first.Load(), l.last.Load()
	for first <= end && end < last && l.items.at(end).message != nil && l.items.at(end).message == l.items.at(end+1).message {
		end++ // it is for several groups: they are not parted
	}
	if unseen := max(g.seen+1, first); end+1-unseen <= uint64(g.len()) {
		return l.collectItems(c, unseen, end, to), end
	}
	several := false
	for i := range g.len() {
		m := g.at(i)
		found := len(to)
		for n := l.parts[m.id()].newest; n > g.seen && n >= first; {
			item := l.items.at(n)
			if m.gets(n) {
				to = append(to, item.pending(n, m))
			}
			n = item.before
		}
		several = several || found > 0 && len(to) > found
		if found == 0 {
			slices.Reverse(to)
		}
	}
	if several {
		slices.SortFunc(to, func(a, b pending) int { return cmp.Compare(a.number, b.number) })
		to = slices.CompactFunc(to, func(a, b pending) bool { return a.message == b.message })
	}
	return to, last
}

// collectItems is collect by the items, from one number to another, in place of the memberships.
func (l *groupLog) collectItems(c *Conn, from, end uint64, to []pending) []pending {
	g := c.grouped()
	for n := from; n <= end; n++ {
		item := l.items.at(n)
		switch {
		case item.message == nil, len(to) > 0 && to[len(to)-1].message == item.message:
			continue
		case item.conn == c: // no need to look for it in all of c's groups
			to = append(to, pending{n, item.message, cmp.Or(item.message.policy, item.policy)})
			continue
		case item.conn != nil:
			continue
		}
		if _, m := g.find(item.part.id); m != nil && m.gets(n) {
			to = append(to, item.pending(n, m))
		}
	}
	return to
}

// pending is the message, for a member.
func (i *groupItem) pending(number uint64, m *membership) pending {
	return pending{number, i.message, cmp.Or(i.message.policy, m.policy(), i.policy)}
}

// trim takes the items up to a number off. The leader calls it.
func (l *groupLog) trim(end uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.first.Load()
	for n := first; n <= end; n++ {
		if m := l.items.at(n).message; m != nil {
			m.release()
		}
	}
	l.items.trim(first, end+1, l.last.Load()+1)
	l.first.Store(end + 1)
}
