package server

import (
	"cmp"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/ws"
)

// # The governor
//
// MaxQueue bounds what waits for one peer, MaxBacklog what waits for all. Beyond it
// the governor, a goroutine of its own, closes the connections with the largest
// queues, until nine tenths of the budget are left. First those go that have ended
// and are only written out, among them the ones it has closed before. It holds no
// lock while it chooses: it lists the queues loop by loop, and then takes each
// Conn.mu alone.
//
// Under a memory limit of Go's (GOMEMLIMIT) it also looks, ten times a second
// while an eighth of the budget is in use, how much of the heap survived the last
// collection. Near the limit it allows as much less as there is too much.
//
// Should it not keep up, a quarter beyond the budget is the end: no queue grows or
// comes into being then.
type governor struct {
	srv    *Server
	budget int64        // 0: there is no bound, and no goroutine
	total  atomic.Int64 // what all queues are charged with
	allows atomic.Int64 // the budget, or less while memory is short
	wake   chan struct{}

	// The goroutine's.
	largest []queued
	memory  heapWatch
}

const (
	defaultMaxBacklog = 1 << 30

	// memoryPeriod is how often the governor looks at the heap.
	memoryPeriod = 100 * time.Millisecond
	// shedRest is what a shed connection may keep until its peer has read our close
	// frame: the rest of a frame that is begun. If that is more, it is cut.
	shedRest = 16 << 10
)

var errShed = &ws.CloseError{Code: ws.CodePolicy, Reason: "server short of memory: reading too slowly"}

func (g *governor) start(s *Server) {
	g.srv = s
	g.budget = s.limits.backlog
	g.allows.Store(g.budget)
	if g.budget == 0 {
		return
	}
	g.wake = make(chan struct{}, 1)
	g.memory.init()
	go g.run()
}

// add charges the account. The caller holds the Conn.mu of the queue.
func (g *governor) add(n int64) {
	total := g.total.Add(n)
	if n <= 0 || g.budget == 0 {
		return
	}
	watched := g.budget / 8
	if total > g.allows.Load() || total > watched && total-n <= watched {
		select {
		case g.wake <- struct{}{}:
		default: // it knows
		}
	}
}

// full says that no queue may grow: the governor does not keep up.
func (g *governor) full() bool {
	return g.budget > 0 && g.total.Load() > g.budget+g.budget/4
}

// run governs until the loops have ended.
func (g *governor) run() {
	for {
		select {
		case <-g.wake:
		case <-g.srv.watchdog.done:
			return
		}
		for g.govern() {
			select {
			case <-g.wake:
			case <-time.After(memoryPeriod):
			case <-g.srv.watchdog.done:
				return
			}
		}
	}
}

// govern sheds what is too much, and says whether to look again by itself.
func (g *governor) govern() (again bool) {
	watched := g.budget / 8
	switch over, news := g.memory.look(time.Now()); {
	case news && over > 0: // less than there is, not than there might be
		g.allows.Store(max(min(g.total.Load(), g.budget)-over, watched))
	case news:
		g.allows.Store(g.budget)
	}
	if allows := g.allows.Load(); g.total.Load() > allows {
		g.shed(allows - allows/10)
	}
	return g.memory.limited() && g.total.Load() > watched
}

// shed closes connections, those that are over and then those with the largest
// queues first, until no more than target is left.
func (g *governor) shed(target int64) {
	for _, l := range g.srv.loops {
		g.largest = l.backlog.list(g.largest)
	}
	slices.SortFunc(g.largest, func(a, b queued) int {
		if a.over == b.over {
			return cmp.Compare(b.size, a.size)
		}
		if a.over {
			return -1
		}
		return 1
	})
	for _, q := range g.largest {
		if g.total.Load() <= target {
			break
		}
		q.queue.conn.shed(q.queue)
	}
	clear(g.largest)
	g.largest = g.largest[:0]
}

// shed closes a connection because of its queue, unless that is gone meanwhile.
func (c *Conn) shed(o *outbound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != o {
		return
	}
	if c.facts == nil || c.facts.cause != errShed {
		c.loop.srv.hit(LimitBacklog)
	}
	if c.lifeNow() == lifeOpen {
		o.truncate()
		c.charge()
		if o.charged.Load() <= shedRest {
			c.endLocked(errShed, endLinger)
			return
		}
	}
	c.dropQueue()
	c.cut(errShed)
}

// cut ends the connection without a word, since a frame may be half out. The
// caller holds mu.
func (c *Conn) cut(cause error) {
	c.remember().broken = cause
	c.endLocked(cause, endNow)
	c.kick()
}

// heapWatch looks how close the heap is to Go's memory limit.
type heapWatch struct {
	samples [numSamples]metrics.Sample
	next    time.Time // not before
	cycle   int64     // the first collection that can tell more than is known
}

const (
	memoryLimit = iota
	heapCycles
	heapLive
	memoryTotal
	heapObjects
	heapFree
	heapUnused
	heapReleased
	numSamples
)

var sampleNames = [numSamples]string{
	memoryLimit:  "/gc/gomemlimit:bytes",
	heapCycles:   "/gc/cycles/total:gc-cycles",
	heapLive:     "/gc/heap/live:bytes",
	memoryTotal:  "/memory/classes/total:bytes",
	heapObjects:  "/memory/classes/heap/objects:bytes",
	heapFree:     "/memory/classes/heap/free:bytes",
	heapUnused:   "/memory/classes/heap/unused:bytes",
	heapReleased: "/memory/classes/heap/released:bytes",
}

func (h *heapWatch) init() {
	for i, name := range sampleNames {
		h.samples[i].Name = name
	}
}

func (h *heapWatch) value(sample int) int64 {
	return int64(min(h.samples[sample].Value.Uint64(), math.MaxInt64))
}

// limited says whether there was a limit when it last looked.
func (h *heapWatch) limited() bool { return h.value(memoryLimit) < math.MaxInt64 }

// look tells by how much what is alive on the heap, and all else that Go has,
// passes seven eighths of the limit; news: since it last did there was a collection
// that can tell. What is alive is known as of the last one only, and what was given
// back to a pool stays alive for one more, so after an excess it takes two.
func (h *heapWatch) look(now time.Time) (over int64, news bool) {
	if now.Before(h.next) {
		return 0, false
	}
	h.next = now.Add(memoryPeriod)
	metrics.Read(h.samples[:])
	cycle, limit := h.value(heapCycles), h.value(memoryLimit)
	if cycle < h.cycle && h.limited() {
		return 0, false
	}
	used := h.value(memoryTotal) - h.value(heapReleased) - h.value(heapFree) - h.value(heapUnused) -
		h.value(heapObjects) + h.value(heapLive)
	over = max(used-(limit-limit/8), 0)
	h.cycle = cycle + 1
	if over > 0 {
		h.cycle++
	}
	return over, true
}

// backlogBudget is MaxBacklog with its default; 0 is no bound.
func (s *Server) backlogBudget() int64 {
	limit := debug.SetMemoryLimit(-1)
	switch {
	case s.MaxBacklog < 0:
		return 0
	case s.MaxBacklog > 0:
		return s.MaxBacklog
	case limit < math.MaxInt64:
		return limit / 2
	}
	return defaultMaxBacklog
}
