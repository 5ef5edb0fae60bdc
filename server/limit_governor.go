package server

import (
	"cmp"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/heapwatch"
	"github.com/millrace/millrace/ws"
)

// # The governor
//
// Queue.Max and Limits.Message bound what one connection holds, Limits.QueueMemory and Limits.InboundMemory
// what all do. Beyond one of these the governor, a goroutine of its own, closes
// connections until nine tenths of the budget are left: of the outbound account
// those with the largest queues, of the inbound one those that have held the most for
// the longest without progress. First those go that have ended and are only written
// out, among them the ones it has closed before. It holds no lock while it chooses:
// it lists the entries loop by loop, and then takes each Conn.mu alone.
//
// Under a memory limit of Go's (GOMEMLIMIT) or of the control group it also looks, ten
// times a second while an eighth of a budget is in use, how much of the heap survived
// the last collection. Near the limit it allows as much less as there is too much:
// first of what is unfinished, then of what is queued, which is accepted already.
//
// Should it not keep up, a quarter beyond a budget is the end: nothing grows or
// comes into being then.
//
// When much was held and is not any more, it has the memory given back.
type governor struct {
	srv      *Server
	outbound account
	inbound  account
	wake     chan struct{} // nil: there is no bound, and no goroutine

	// The goroutine's.
	listed []listed
	memory heapwatch.Watch
	peak   int64 // the most that both accounts came to since memory was given back
	calm   int   // rounds since they came to a quarter of that
}

const (
	defaultMaxBacklog = 1 << 30
	defaultMaxInbound = 512 << 20

	// shedRest is what a shed connection may keep until its peer has read our close
	// frame: the rest of a frame that is begun. If that is more, it is cut.
	shedRest = 16 << 10
	// peakMemory is what the accounts must have come to if memory is to be given back,
	// calmRounds for how many heapwatch.Periods most of it must be gone.
	peakMemory = 32 << 20
	calmRounds = 100
)

var (
	errShed        = &ws.CloseError{Code: ws.CodePolicy, Reason: "server short of memory: reading too slowly"}
	errShedInbound = &ws.CloseError{Code: ws.CodePolicy, Reason: "server short of memory: a message is unfinished for too long"}
)

func (g *governor) start(s *Server) {
	g.srv = s
	g.outbound.budget, g.inbound.budget = s.limits.backlog, s.limits.inbound
	for _, a := range []*account{&g.outbound, &g.inbound} {
		a.governor = g
		a.allows.Store(a.budget)
	}
	if g.outbound.budget == 0 && g.inbound.budget == 0 {
		return
	}
	g.wake = make(chan struct{}, 1)
	g.memory.Init()
	go g.run()
}

// rouse has the governor look. Any lock may be held.
func (g *governor) rouse() {
	select {
	case g.wake <- struct{}{}:
	default: // it knows
	}
}

// run governs until the loops have ended.
func (g *governor) run() {
	for {
		select {
		case <-g.wake:
		case <-g.srv.group.Done():
			return
		}
		for g.govern() {
			select {
			case <-g.wake:
			case <-time.After(heapwatch.Period):
			case <-g.srv.group.Done():
				return
			}
		}
	}
}

// govern sheds what is too much, and says whether to look again by itself.
func (g *governor) govern() (again bool) {
	if over, news := g.memory.Look(time.Now()); news {
		g.outbound.allow(g.inbound.allow(over))
	}
	if excess := g.inbound.excess(); excess > 0 {
		g.shedInbound(excess)
	}
	if excess := g.outbound.excess(); excess > 0 {
		g.shedOutbound()
	}
	watched := g.outbound.watched() || g.inbound.watched()
	return g.giveBack() || g.memory.Limited() && watched
}

// allow lets the account hold as much less than it does as there is too much, down
// to an eighth of its budget, and returns what is then left to be saved.
func (a *account) allow(over int64) (left int64) {
	if a.budget == 0 {
		return over
	}
	if over == 0 {
		a.allows.Store(a.budget)
		return 0
	}
	holds := min(a.total.Load(), a.budget) // less than there is, not than there might be
	allows := max(holds-over, a.budget/8)
	a.allows.Store(allows)
	return max(over-max(holds-allows, 0), 0)
}

// excess is how much is to be shed.
func (a *account) excess() int64 {
	allows := a.allows.Load()
	if total := a.total.Load(); a.budget > 0 && total > allows {
		return total - (allows - allows/10)
	}
	return 0
}

// watched says whether so much is held that the heap is to be looked at.
func (a *account) watched() bool { return a.budget > 0 && a.total.Load() > a.budget/8 }

// giveBack gives memory back to the system after a peak: Go's pools and its heap
// would keep it for minutes. again: it is not time yet.
func (g *governor) giveBack() (again bool) {
	now := g.outbound.total.Load() + g.inbound.total.Load()
	if g.peak = max(g.peak, now); g.peak < peakMemory {
		return false
	}
	if now > g.peak/4 {
		g.calm = 0
		return true
	}
	if g.calm++; g.calm < calmRounds {
		return true
	}
	g.peak, g.calm = 0, 0
	runtime.GC()         // what was in a pool is let go of by the second
	debug.FreeOSMemory() // collection, which this is
	return false
}

// list lists the entries of all loops, the highest rank first.
func (g *governor) list(of func(*shard) *holders, rank func(listed) int64) {
	for _, l := range g.srv.loops {
		g.listed = of(l).list(g.listed)
	}
	for i := range g.listed {
		g.listed[i].rank = rank(g.listed[i])
	}
	slices.SortFunc(g.listed, func(a, b listed) int { return cmp.Compare(b.rank, a.rank) })
}

// shedOutbound closes connections, those that are over and then those with the
// largest queues first, until no more is left than allowed.
func (g *governor) shedOutbound() {
	g.list(func(l *shard) *holders { return &l.queues }, func(e listed) int64 {
		size := max(e.size, e.waits.Load()) // what others wait for too is charged to nobody
		if e.over {
			return math.MaxInt64/2 + size
		}
		return size
	})
	allows := g.outbound.allows.Load()
	for _, q := range g.listed {
		if g.outbound.total.Load() <= allows-allows/10 {
			break
		}
		q.conn.shed(q.entry)
	}
	g.forgetListed()
}

// shedInbound closes connections, those first that hold the most for the longest.
// What they hold is freed in a turn of theirs, so it is counted here.
func (g *governor) shedInbound(excess int64) {
	now := g.srv.loops[0].RightNow()
	g.list(func(l *shard) *holders { return &l.unfinished }, func(e listed) int64 {
		return e.size * int64(now-min(now, tick(e.since.Load()))+1)
	})
	for _, e := range g.listed {
		if e.over {
			excess -= e.size
		}
	}
	for _, e := range g.listed {
		if excess <= 0 || g.inbound.excess() == 0 {
			break
		}
		switch {
		case e.over || e.size == 0:
		case e.conn.shedUnfinished(e.entry, e.size):
			excess -= e.size
		default:
			excess -= max(e.size-e.charged.Load(), 0) // it was given back meanwhile
		}
	}
	g.forgetListed()
}

func (g *governor) forgetListed() {
	clear(g.listed)
	g.listed = g.listed[:0]
}

// shed closes a connection because of its queue, unless that is gone meanwhile.
func (c *Conn) shed(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.queue()
	if o == nil || &o.entry != e {
		return
	}
	if c.facts == nil || c.facts.cause != errShed {
		c.loop.srv.hit(LimitQueueMemory)
	}
	c.skipGroups()
	if c.stateNow() == stateOpen {
		o.Truncate()
		c.charge()
		if max(o.charged.Load(), o.waits.Load()) <= shedRest {
			c.endLocked(errShed, endLinger)
			return
		}
	}
	c.dropQueue()
	c.cut(errShed)
}

// shedUnfinished closes a connection because of what it holds unfinished, unless
// that is gone meanwhile.
func (c *Conn) shedUnfinished(e *entry, size int64) (shed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stateNow() >= stateEnding || e.charged.Load() < size/2 {
		return false
	}
	c.shedInbound()
	return true
}

// shedInbound closes the connection because of what it holds unfinished. The caller
// holds mu.
func (c *Conn) shedInbound() {
	if c.stateNow() >= stateEnding {
		return
	}
	c.loop.srv.hit(LimitInbound)
	how := endLinger
	if c.stateNow() < stateOpen {
		how = endNow
	}
	c.endLocked(errShedInbound, how)
}

// cut ends the connection without a word, since a frame may be half out. The
// caller holds mu.
func (c *Conn) cut(cause error) {
	c.ownFacts().broken = cause
	c.endLocked(cause, endNow)
}

// budget is a bound for an account with its default: a part of the memory limit, or
// so much without one, and at least what one connection may need; 0 is no bound.
func budget(field, part, without, needs int64) int64 {
	limit := heapwatch.Limit()
	switch {
	case field < 0:
		return 0
	case field > 0:
	case limit < math.MaxInt64:
		field = max(limit/part, needs)
	default:
		field = max(without, needs)
	}
	return min(field, math.MaxInt64/2) // a quarter comes on top
}
