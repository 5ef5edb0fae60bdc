package server

import "time"

// groupPass is the leader's way through the log: it does what joins and leaves say,
// visits the members of the parts that have messages, and takes the items off the log. What
// comes meanwhile is the next pass's, though members that lack other messages than those
// before them get it at once.
type groupPass struct {
	under   bool   // a pass is under way
	end     uint64 // its last item
	touched []*groupPart
	next    int // in touched
	settled []*groupPart

	// A connection that is over, and how many of its memberships have ended so far.
	ending *grouped
	ended  int

	// Of the slice under way.
	visits int
	bytes  int

	delivery delivery
}

// A pass is cut into slices, between which the loop serves others.
const (
	sliceVisits = 16                    // connections that are written to
	sliceBytes  = 1 << 20               // and what, but for the last write
	sliceTime   = 50 * time.Microsecond // of a slice of several passes
	passWork    = 1024                  // items of the log that a pass takes, and memberships that end in it

	// A pass ends early that is about so many groups which have few members in all: in each
	// visit a connection is looked for in all of them.
	smallGroups, smallMembers = 16, 64
)

// Do implements loop.Task: it is a slice of a pass, or of several.
func (l *groupLog) Do() (again bool) {
	p := &l.pass
	began := time.Now()
	p.visits, p.bytes = 0, 0
	for {
		if !p.under && !l.beginPass() {
			return false
		}
		for ; p.next < len(p.touched); p.next++ {
			part := p.touched[p.next]
			for part.cursor < len(part.members) {
				if p.sliceOver() {
					return true
				}
				p.visits++
				if l.visit(part.members[part.cursor]) {
					part.cursor++
				}
			}
			part.cursor = 0
		}
		if l.endPass(); p.sliceOver() || time.Since(began) > sliceTime {
			return true
		}
	}
}

func (p *groupPass) sliceOver() bool { return p.visits >= sliceVisits || p.bytes >= sliceBytes }

// beginPass says whether there is anything to do, and does the joins and leaves.
func (l *groupLog) beginPass() bool {
	p := &l.pass
	l.mu.Lock()
	first, last := l.first.Load(), l.last.Load()
	items := l.items // others only append to them
	l.posted, l.endPosted = first <= last, first <= last
	l.mu.Unlock()
	if first > last {
		return false
	}
	work, members, number := 0, 0, first
	for whole := true; whole && number <= last; number++ {
		if work >= passWork || p.sliceOver() || len(p.touched) >= smallGroups && members < smallMembers {
			break
		}
		work++
		item := items.at(number)
		switch part := item.part; {
		case part == nil:
			if work, whole = l.leaveGroups(item.conn, work); !whole {
				number-- // it goes on in the next pass
			}
		case item.message == nil:
			l.settle(item.conn, part, number)
			p.settled = append(p.settled, part)
		case part.touched < first:
			part.touched = number
			p.touched = append(p.touched, part)
			members += len(part.members)
		}
	}
	p.under, p.end, p.next = true, number-1, 0
	return true
}

func (l *groupLog) endPass() {
	p := &l.pass
	l.trim(p.end)
	for _, parts := range []*[]*groupPart{&p.touched, &p.settled} {
		for _, part := range *parts {
			l.dropEmpty(part)
		}
		clear(*parts)
		*parts = (*parts)[:0]
	}
	p.under = false
	p.delivery.forget()
}

// settle does what the item with this number says, if it is c's latest for the part.
func (l *groupLog) settle(c *Conn, part *groupPart, number uint64) {
	if index := l.settleConn(c, part, number); index != noIndex {
		l.remove(part, index)
	}
}

// settleConn is settle but for the removal from the part, of the member with this index.
func (l *groupLog) settleConn(c *Conn, part *groupPart, number uint64) (index uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.grouped()
	if g == nil {
		return noIndex // it is over
	}
	place, m := g.find(part.id)
	if m == nil || m.state() == settled {
		return noIndex
	}
	if bytes := c.catchUp(); bytes > 0 { // also if it has left meanwhile: no pass visits who is no member yet
		l.pass.visits++
		l.pass.bytes += bytes
	}
	if m.at != uint32(number) {
		return noIndex
	}
	if m.state() == leaving {
		index = m.place()
		if g.more == nil {
			c.value = g.value
		} else {
			g.remove(place)
		}
		return index
	}
	m.setState(settled, 0)
	if m.place() == noIndex {
		m.setPlace(uint32(len(part.members)))
		if part.members = append(roomy(part.members), c); len(part.members) > 1 {
			part.one[0] = nil // it has moved
		}
	}
	return noIndex
}

// partOf is the part that a membership is in.
func (l *groupLog) partOf(m membership) *groupPart {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parts[m.id()]
}

// remove takes a member out of a part, whose last takes its place. It is called before a
// pass visits members, never in the midst.
func (l *groupLog) remove(p *groupPart, index uint32) {
	last := len(p.members) - 1
	if int(index) != last {
		moved := p.members[last]
		moved.mu.Lock()
		_, m := moved.grouped().find(p.id)
		m.setPlace(index)
		moved.mu.Unlock()
		p.members[index] = moved
	}
	p.members[last] = nil
	p.members = shrunk(p.members[:last])
}

// roomy is s with room for one more. It grows by a sixteenth, where append grows by a
// quarter and more: there are many.
func roomy[E any](s []E) []E {
	if len(s) < cap(s) || len(s) < 256 {
		return s
	}
	return append(make([]E, 0, len(s)+len(s)/16), s...)
}

// shrunk is s with less room, if most of it is free.
func shrunk[E any](s []E) []E {
	if cap(s) < 64 || len(s) > cap(s)/4 {
		return s
	}
	return append(make([]E, 0, 2*len(s)), s...)
}

// leaveGroups ends memberships of a connection that is over, each some work, up to passWork. It gives the work with them, and
// whether that was the last. The leader calls it.
func (l *groupLog) leaveGroups(c *Conn, before int) (work int, whole bool) {
	p, work := &l.pass, before
	if p.ending == nil {
		c.mu.Lock()
		g := c.grouped()
		if g == nil {
			c.mu.Unlock()
			return work, true
		}
		c.value = g.value
		c.mu.Unlock()
		p.ending, p.ended = g, 0 // nobody else knows it any more
	}
	for ; p.ended < p.ending.len(); p.ended++ {
		if work >= passWork {
			return work, false
		}
		work++
		l.endMembership(c, *p.ending.at(p.ended))
	}
	p.ending = nil
	return work, true
}

func (l *groupLog) endMembership(c *Conn, m membership) {
	part := l.partOf(m)
	if m.state() != leaving {
		part.group.mu.Lock()
		part.lose()
		part.group.mu.Unlock()
	}
	if m.place() != noIndex {
		l.remove(part, m.place())
	}
	l.pass.settled = append(l.pass.settled, part)
	if gone := part.group.options.Gone; gone != nil && m.state() != leaving {
		l.callGone(gone, c)
	}
}

func (l *groupLog) callGone(gone func(*Conn), c *Conn) {
	defer func() {
		if p := recover(); p != nil {
			l.loop.logPanic(p, c.RemoteName())
		}
	}()
	gone(c)
}
