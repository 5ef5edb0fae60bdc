package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/poller"
)

// reason says why a connection gets a turn; several may come together.
type reason uint8

const (
	readable = reason(poller.Readable)
	writable = reason(poller.Writable)
	hangup   = reason(poller.Hangup)

	kicked   reason = 1 << 3 // another goroutine changed something: look
	expired  reason = 1 << 4 // its deadline is over
	draining reason = 1 << 5 // the server drains: end politely
	stopped  reason = 1 << 6 // the server stops now
	emptied  reason = 1 << 7 // the queue was written out beside its slow turn
)

// listenerToken marks tokens that name a listener instead of a slot.
const listenerToken poller.Token = 1 << 63

// visit is a thing for the leader to do: a connection's turn, a connection that
// arrives, a listener to go on accepting from or to begin with, or a task.
type visit struct {
	conn     *Conn
	why      reason
	returned bool // its slow turn is over, the loop has it back
	arrival  *arrival
	acceptor *acceptor
	listener *acceptor
	task     func(*loop) (again bool) // short, and calls no handler; again: another round
}

// loop is a poller, its connections, and the worker that leads it. There is one
// for each processor.
type loop struct {
	srv    *Server
	index  uint32 // in Server.loops
	engine poller.Engine
	poll   poller.Poller
	clock  atomic.Uint32 // as of the last Wait, in ticks; see now
	coming atomic.Int64  // arrivals that were posted, and not admitted yet

	// The turn word: who owns the loop. See handover.go.
	turnWord atomic.Uint64

	leader atomic.Pointer[worker] // the one that leads, or led last

	// The leader's: handed over with the loop.
	current   *Conn // whose turn it is
	events    []poller.Event
	nextEvent int
	numEvents int
	visits    []visit // taken after the events
	nextVisit int
	again     []visit // for the next round: more to read
	posted    []visit // the inbox's other array
	table     table
	nextDue   tick // no deadline is earlier
	roomLook  tick // when to look for silent TLS handshakes; noDue: nobody waits for one
	listeners []*acceptor
	stopSeen  reason
	pace      *drainPace // while the server drains, nil: none is left to be closed

	mu    sync.Mutex // guards what follows, and Conn.kicked
	inbox []visit
	stop  reason // draining or stopped, once the server shuts down
	ended bool   // no leader looks into the inbox any more

	round      round
	queues     holders      // of the outbound account
	unfinished holders      // of the inbound one
	probe      atomic.Int64 // when the watchdog asked how late the loop is; see lag.go
	counters   loopCounters
}

func newLoop(s *Server, p poller.Poller) *loop {
	l := &loop{srv: s, index: uint32(len(s.loops)), engine: s.engine, poll: p, nextDue: noDue, roomLook: noDue}
	l.events = make([]poller.Event, s.limits.eventsABatch)
	l.updateClock()
	return l
}

// lead runs the loop on w until the server stops or w loses the loop because a
// handler was slow. Another worker goes on exactly where w was: all there is to
// know stands in the loop.
func (l *loop) lead(w *worker) {
	w.round = l.round
	l.leader.Store(w)
	for {
		for l.nextEvent < l.numEvents {
			event := l.events[l.nextEvent]
			l.nextEvent++
			if !l.takeEvent(w, event) {
				return
			}
		}
		for l.nextVisit < len(l.visits) {
			v := l.visits[l.nextVisit]
			l.visits[l.nextVisit] = visit{}
			l.nextVisit++
			if !l.takeVisit(w, v) {
				return
			}
		}
		l.collectVisits()
		if l.finished() {
			return
		}
		l.wait(w)
	}
}

// takeEvent gives the event's connection its turn; false means that w no longer
// leads.
func (l *loop) takeEvent(w *worker, e poller.Event) bool {
	if e.Token&listenerToken != 0 {
		l.acceptFrom(e.Token)
		return true
	}
	c := l.table.find(e.Token)
	if c == nil {
		return true // an event that was under way when its connection was closed
	}
	if e.Ready == poller.Writable && c.lifeNow() <= lifeHead && !c.hasQueue() {
		return true // the edge of its registration: it has nothing to write yet
	}
	return l.turn(w, c, reason(e.Ready))
}

func (l *loop) takeVisit(w *worker, v visit) bool {
	switch {
	case v.returned:
		return l.takeBack(w, v.conn, v.why)
	case v.conn != nil:
		return l.turn(w, v.conn, v.why)
	case v.arrival != nil:
		return l.arrive(w, v.arrival.take())
	case v.acceptor != nil:
		l.accept(v.acceptor)
	case v.task != nil:
		if v.task(l) {
			l.again = append(l.again, v)
		}
	default:
		l.addListener(v.listener)
	}
	return true
}

// collectVisits makes the next round of visits: connections that have more to
// read, the inbox, and those whose deadline is over.
func (l *loop) collectVisits() {
	l.visits, l.again = l.again, l.visits[:0]
	l.nextVisit = 0

	l.mu.Lock()
	l.inbox, l.posted = l.posted[:0], l.inbox
	stop := l.stop
	for _, v := range l.posted {
		if v.why&kicked != 0 {
			v.conn.kicked = false
		}
	}
	l.mu.Unlock()
	l.visits = append(l.visits, l.posted...)
	clear(l.posted)

	if stop&^l.stopSeen != 0 {
		l.noticeStop(stop)
	}
	if l.pace != nil {
		l.drainSome()
	}
	l.answerLag()
	l.srv.logLimits(l.now())
	l.collectExpired()
}

// expiredARound bounds the connections that get a turn for their deadline in one
// round, so that the others are served meanwhile.
const expiredARound = 2048

func (l *loop) collectExpired() {
	now := l.now()
	if l.nextDue > now {
		return
	}
	l.nextDue = l.table.expired(now, expiredARound, func(c *Conn) {
		l.visits = append(l.visits, visit{conn: c, why: expired})
	})
	for _, a := range l.listeners {
		if a.retry <= now {
			l.accept(a)
		}
		l.nextDue = min(l.nextDue, a.retry)
	}
	l.lookForRoom(now)
}

// wait fills the next batch of events. It does not block while there are visits.
func (l *loop) wait(w *worker) {
	l.endRound()
	l.nextEvent, l.numEvents = 0, 0
	n, err := l.poll.Wait(l.events, l.waitTime())
	l.updateClock()
	l.beginRound(w)
	if err != nil {
		l.srv.log().Error("poller failed", "err", err)
		time.Sleep(10 * time.Millisecond) // not at full speed, if it goes on failing
		return
	}
	l.numEvents = n
}

func (l *loop) waitTime() time.Duration {
	switch {
	case len(l.visits)+len(l.again) > 0:
		return 0
	case l.pace != nil:
		return max(min(l.nextDue.time(), l.pace.next)-l.engine.Now(), 0)
	case l.nextDue == noDue:
		return -1
	}
	return max(l.nextDue.time()-l.engine.Now(), 0)
}

// setDue makes sure that c gets a turn at the given tick, at the latest. It is
// the leader's, like the table.
func (l *loop) setDue(c *Conn, due tick) {
	l.table.setDue(c.slot, due)
	l.nextDue = min(l.nextDue, due)
}

// post hands the leader something to do. It may be called from any goroutine;
// false means that the loop has ended.
func (l *loop) post(v visit) bool {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	if v.why&kicked != 0 {
		if v.conn.kicked {
			l.mu.Unlock()
			return true
		}
		v.conn.kicked = true
	}
	l.inbox = append(l.inbox, v)
	l.mu.Unlock()
	l.poll.Wake()
	return true
}

// requestStop makes the leader close all connections: politely (draining) or at
// once (stopped).
func (l *loop) requestStop(why reason) {
	l.mu.Lock()
	l.stop |= why
	ended := l.ended
	l.mu.Unlock()
	if !ended {
		l.poll.Wake()
	}
}

// noticeStop begins to drain, or closes the listeners and gives every connection a
// turn to end in.
func (l *loop) noticeStop(stop reason) {
	l.stopSeen = stop
	if stop&stopped == 0 {
		l.beginDrain()
		return
	}
	l.pace = nil
	for _, a := range l.listeners {
		l.closeListener(a)
	}
	chunk := 0
	l.visits = append(l.visits, visit{task: func(l *loop) (again bool) {
		chunk++
		return l.table.eachIn(chunk-1, func(c *Conn) { l.again = append(l.again, visit{conn: c, why: stop}) })
	}})
}

// finished says whether the loop is over, and ends it: the server stops and the
// last connection is gone. A connection in a slow turn keeps its loop.
func (l *loop) finished() bool {
	if l.stopSeen == 0 || l.table.used+len(l.visits)+len(l.listeners) > 0 {
		return false
	}
	l.mu.Lock()
	l.ended = len(l.inbox) == 0
	ended := l.ended
	l.mu.Unlock()
	if ended {
		if err := l.poll.Close(); err != nil {
			l.srv.log().Error("poller not closed", "err", err)
		}
		l.srv.loopsDone.Done()
	}
	return ended
}

// isOver says whether the loop is over, which in a drain comes to each at its time.
func (l *loop) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// tick is a time in tenths of a second on the engine's clock, the grain of all
// deadlines.
type tick uint32

// ticks is a duration in the same unit.
type ticks = tick

const tickTime = 100 * time.Millisecond

func ticksOf(d time.Duration) ticks { return ticks((d + tickTime - 1) / tickTime) }

// timeoutTicks is ticksOf for a timeout, which must not be over early: the tick that
// it counts from was rounded down. It is over by two ticks after d.
func timeoutTicks(d time.Duration) ticks { return ticksOf(d) + 1 }

func (t tick) time() time.Duration { return time.Duration(t) * tickTime }

// now is the clock as of the loop's last Wait: right for its leader, and for a
// turn until a handler has had the time to be slow.
func (l *loop) now() tick { return tick(l.clock.Load()) }

// rightNow is the clock itself, for goroutines that have not come out of a Wait
// just now: the loop may have been asleep for long.
func (l *loop) rightNow() tick { return tick(l.engine.Now() / tickTime) }

func (l *loop) updateClock() {
	if now := uint32(l.rightNow()); now != l.clock.Load() {
		l.clock.Store(now)
	}
}
