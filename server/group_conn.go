package server

import (
	"math"
	"slices"
	"sync"

	"github.com/millrace/millrace/ws"
)

// grouped is what a connection in groups knows of them. It stands in Conn.value in place of
// the application's, so that a connection in none has nothing of it. It has 48 bytes, and is
// guarded by Conn.mu.
type grouped struct {
	value any           // the application's
	seen  uint64        // the item of the loop's log up to which the connection has all, or wants none
	more  *[]membership // behind first; nil: there are none
	first membership    // all of them are in the order of their parts' ids
}

// membership is a connection's in a part. It has 12 bytes.
type membership struct {
	part  uint32 // its id, and a QueuePolicy from policyShift on
	index uint32 // in the part's members, noIndex: not yet; and the state from stateShift on
	at    uint32 // while it joins or leaves: the lower half of the item's number
}

// memberState is how far the leader is with a membership.
type memberState uint32

const (
	settled memberState = iota
	joining
	leaving
)

const (
	policyShift        = 28
	stateShift         = 30
	noIndex     uint32 = 1<<stateShift - 1
)

func (m *membership) id() uint32 { return m.part & (1<<policyShift - 1) }

func (m *membership) policy() QueuePolicy { return QueuePolicy(m.part >> policyShift) }

func (m *membership) state() memberState { return memberState(m.index >> stateShift) }

func (m *membership) place() uint32 { return m.index & noIndex }

func (m *membership) setState(s memberState, at uint32) {
	m.index, m.at = m.place()|uint32(s)<<stateShift, at
}

func (m *membership) setPlace(place uint32) { m.index = m.index&^noIndex | place }

// gets says whether the message with this number in the log is for the member.
func (m *membership) gets(number uint64) bool {
	switch since := int32(uint32(number) - m.at); m.state() {
	case joining:
		return since > 0
	case leaving:
		return since < 0
	}
	return true
}

// grouped is what c knows of its groups, nil if it is in none. The caller holds mu.
func (c *Conn) grouped() *grouped {
	g, _ := c.value.(*grouped)
	return g
}

func (g *grouped) len() int {
	if g.more == nil {
		return 1
	}
	return 1 + len(*g.more)
}

func (g *grouped) at(i int) *membership {
	if i == 0 {
		return &g.first
	}
	return &(*g.more)[i-1]
}

// find is the membership in a part, nil if there is none, and its place or where it would stand.
func (g *grouped) find(part uint32) (i int, m *membership) {
	from, to := 0, g.len() // it is behind from-1 and before to
	switch {
	case part > g.at(to-1).id():
		return to, nil // as that of a new group usually is
	case part < g.first.id():
		return 0, nil
	}
	for from < to {
		middle := int(uint(from+to) / 2)
		m := g.at(middle)
		switch id := m.id(); {
		case id == part:
			return middle, m
		case id < part:
			from = middle + 1
		default:
			to = middle
		}
	}
	return from, nil
}

// insert puts a membership at the place that find has given.
func (g *grouped) insert(i int, m membership) *membership {
	if g.more == nil {
		g.more = new([]membership)
	}
	if i == 0 {
		g.first, m = m, g.first
	}
	*g.more = slices.Insert(*g.more, max(i-1, 0), m)
	return g.at(i)
}

// remove takes out a membership, which is not the last.
func (g *grouped) remove(i int) {
	if i == 0 {
		g.first = (*g.more)[0]
	}
	rest := shrunk(slices.Delete(*g.more, max(i-1, 0), max(i, 1)))
	*g.more = rest
	if len(rest) == 0 {
		g.more = nil
	}
}

// join makes c a member. The caller holds mu and Group.mu, and has caught up.
func (c *Conn) join(to *Group, policy QueuePolicy) {
	l := &c.loop.groups
	part := to.part(l)
	g := c.grouped()
	var place int
	var m *membership
	if g != nil {
		if place, m = g.find(part.id); m != nil && m.state() != leaving {
			return
		}
	}
	number := l.push(groupItem{part: part, conn: c})
	switch fresh := (membership{part: part.id | uint32(policy)<<policyShift, index: noIndex}); {
	case g == nil:
		g = &grouped{value: c.value, seen: number, first: fresh}
		c.value, m = g, &g.first
	case m == nil:
		m = g.insert(place, fresh)
	default:
		m.part = fresh.part // it is leaving, and had another policy perhaps
	}
	m.setState(joining, uint32(number))
	part.gain(c, policy)
	if way := c.framing(); way != (framing{}) { // who sends makes the form, and no loop
		to.addWay(way)
	}
}

// leave ends c's membership, false if there is none. The caller holds mu and Group.mu, and has
// caught up.
func (c *Conn) leave(from *Group) bool {
	part := from.partOn(&c.loop.groups)
	if part == nil {
		return false
	}
	_, m := c.grouped().find(part.id)
	if m == nil || m.state() == leaving {
		return false
	}
	m.setState(leaving, uint32(c.loop.groups.push(groupItem{part: part, conn: c})))
	part.lose()
	return true
}

// # Catching up

// delivery is what a connection gets to catch up with its groups, and for whom else it is
// right.
type delivery struct {
	part   uint32 // of a connection in this part alone
	seen   uint64 // that had all up to here
	last   uint64 // and then has all up to here
	way    framing
	shares bool // it is right for others

	list    []pending
	frames  [][]byte // one each
	joined  []byte   // all of them, if they are several and small
	bytes   int      // in all frames
	notText int      // messages that are left out, for there is no such form of them
	noted   *Group   // has noted the way
}

// joinBytes bounds the frames that are copied together for one write, and so what a
// delivery has, but for one that is larger.
const joinBytes = 64 << 10

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// catchUp sends c what its groups have for it, before something of its own or the end, and says how many bytes. It
// may end the connection: the caller, who holds mu, looks again whether it takes something.
func (c *Conn) catchUp() (bytes int) {
	g := c.grouped()
	if g == nil || g.seen >= c.loop.groups.last.Load() || c.takesNothing() {
		return 0
	}
	d := deliveries.Get().(*delivery)
	for end := c.loop.groups.last.Load(); g.seen < end && !c.takesNothing(); {
		// It is not compressed: that would take long under mu, and what the caller has
		// compressed may refer to what was sent before.
		d.collect(c, g, end, c.framing())
		g.seen = d.last
		d.send(c, nil)
		bytes += d.bytes
	}
	d.forget()
	deliveries.Put(d)
	return bytes
}

// skipGroups is for a connection that ends behind a gap: it gets nothing more, also of what is
// sent from here on. The caller holds mu, and ends it.
func (c *Conn) skipGroups() {
	if g := c.grouped(); g != nil {
		g.seen = math.MaxUint64
	}
}

// visit is catchUp for the leader in a pass, but for one write at most. done: c has all that
// the pass is about.
func (l *groupLog) visit(c *Conn) (done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.grouped()
	d := &l.pass.delivery
	if g == nil || c.takesNothing() || g.seen >= l.pass.end {
		return true
	}
	way, z := c.framing(), c.deflation()
	if z != nil && z.keeps && !z.mu.TryLock() {
		z = nil // somebody compresses with the context, to which this does not belong then
	}
	if z != nil {
		way.deflate, way.keeps, way.drops, way.z = true, z.keeps, c.limits().drops, z.sender
	}
	if !d.fits(g, way) {
		d.collect(c, g, l.pass.end, way)
	}
	g.seen = d.last
	d.send(c, z)
	l.pass.bytes += d.bytes
	if z != nil && z.keeps {
		z.unlock()
	}
	return g.seen >= l.pass.end
}

// fits says whether what another connection got is right for one more.
func (d *delivery) fits(g *grouped, way framing) bool {
	return d.shares && g.more == nil && g.first.state() == settled && g.first.part == d.part && g.seen == d.seen && way == d.way
}

// collect finds what c is to get next, up to end and perhaps beyond. The caller holds c's mu.
func (d *delivery) collect(c *Conn, g *grouped, end uint64, way framing) {
	d.part, d.seen, d.way = g.first.part, g.seen, way
	d.shares = g.more == nil && g.first.state() == settled
	d.clear()
	d.list, d.last = c.loop.groups.collect(c, end, d.list)
	kept, plain := d.list[:0], way == framing{}
	for _, p := range d.list {
		frame := p.message.prepared.Frame()
		if !plain || !p.message.prepared.Plain() {
			if frame = d.formFor(c, p); frame == nil {
				if way.events {
					d.notText++
				}
				continue
			}
		}
		if len(kept) > 0 && d.bytes+len(frame) > joinBytes {
			d.last = p.number - 1 // not the number of the one before, which may be in the log for several groups
			break
		}
		kept = append(kept, p)
		d.bytes += len(frame)
		d.frames = append(d.frames, frame)
	}
	clear(d.list[len(kept):])
	d.list = kept
	if len(d.frames) < 2 {
		return
	}
	for _, frame := range d.frames {
		d.joined = append(d.joined, frame...)
	}
}

// clear empties the lists, of which nothing stays behind their ends.
func (d *delivery) clear() {
	clear(d.list)
	clear(d.frames)
	d.list, d.frames, d.joined, d.bytes, d.notText, d.noted = d.list[:0], d.frames[:0], d.joined[:0], 0, 0, nil
}

// forget lets go of the messages.
func (d *delivery) forget() {
	d.clear()
	d.shares = false
	if cap(d.list) > 1024 {
		d.list, d.frames = nil, nil
	}
}

// send gives c its messages; z is locked if it keeps a context. The caller holds c's mu.
func (d *delivery) send(c *Conn, z *deflation) {
	next := 0
	if len(d.joined) > 0 && c.out == nil && len(d.joined) <= c.limits().maxQueue {
		c.writeShared(d.list, d.frames, d.joined)
		next = len(d.list)
	}
	if z != nil {
		for i, p := range d.list[:next] {
			d.way.noteDeflated(c, z, p, d.frames[i])
		}
	}
	for ; next < len(d.list) && !c.takesNothing(); next++ {
		if c.sendShared(d.list[next], d.frames[next]) && z != nil {
			d.way.noteDeflated(c, z, d.list[next], d.frames[next])
		}
	}
	if d.notText > 0 {
		c.loop.counters.events.notText.Add(uint64(d.notText))
	}
}

// noteDeflated notes a frame if it is compressed, as Conn.deflated does.
func (way *framing) noteDeflated(c *Conn, z *deflation, p pending, frame []byte) {
	if form := way.form(p.message.prepared); &frame[0] != &form.Frame()[0] {
		c.deflated(z, form.Payload(), len(frame))
	}
}

// corksTooMuch says whether a message that may be dropped would make much of the queue, if the kernel does not take the turn's output:
// what is corked can not be dropped any more.
func (c *Conn) corksTooMuch(p pending, frame []byte) bool {
	return len(c.out.cork)+len(frame) > c.limits().maxQueue/4 && c.mayDrop(p)
}

// sendShared is send for a message that others get too. false: it is too large for any queue. The caller holds c's mu.
func (c *Conn) sendShared(p pending, frame []byte) bool {
	switch {
	case len(frame)-ws.MaxHeader > c.limits().maxQueue:
		drops := c.policyFor(p) != CloseWhenFull || p.message.prepared.Len() <= c.limits().maxQueue // its envelope, or event, alone is too large
		c.tooBig(drops)
		c.countNewest(drops)
		return false
	case c.queue() != nil:
		c.queueShared(p, frame)
	case c.out != nil && len(frame) < direct && !c.corksTooMuch(p, frame):
		c.putCorked(p.message.prepared.Opcode(), nil, frame)
		c.sentMessages(1)
	default:
		if c.out != nil {
			c.writeCork()
		}
		if c.queue() != nil {
			c.queueShared(p, frame)
		} else if !c.writeBroken() {
			c.writeShared([]pending{p}, [][]byte{frame}, frame)
		}
	}
	return true
}
