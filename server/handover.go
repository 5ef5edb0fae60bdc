package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// # Leader/followers
//
// A loop's turn word says who owns the loop:
//
//	even  nobody's turn is under way: the leader owns the loop
//	odd   a turn is under way: whoever swaps the word to the next even number
//	      owns the loop from then on
//
// The leader makes the word odd when it begins a turn and swaps it back when it
// ends the turn. The watchdog, having seen the same odd word in two looks, takes
// the loop by swapping that very word. The word only grows, so a swap of an old
// value can not succeed; exactly one of the two succeeds.
//
//	leader: begin        leader: end
//	even ─────────────▶ odd ─────────────▶ even      the leader goes on
//	                     │ watchdog: take
//	                     └───────────────▶ even      the loop is handed over;
//	                                                 the leader's end fails
//
// Between a successful take and the moment a new worker leads, the watchdog owns
// the loop. It marks the connection of the slow turn as away, so that the new
// leader gives it no second turn but notes what it misses, and flushes what the
// slow handler has sent; the leader goes on writing its queue. The slow worker finishes its turn with the connection
// still its own, finds that its swap fails, and posts the connection back to the
// loop's inbox: the leader then clears the mark and gives it the turn it missed.

// begin starts a turn: from here on the loop can be taken.
func (l *loop) begin() (turn uint64) {
	turn = l.turnWord.Load() + 1
	l.turnWord.Store(turn)
	if dog := &l.srv.watchdog; dog.parked.Load() { // after the store: see watchdog.park
		dog.unpark()
	}
	return turn
}

// end ends a turn; false means that the loop was taken.
func (l *loop) end(turn uint64) bool {
	return l.turnWord.CompareAndSwap(turn, turn+1)
}

// take takes the loop out of a turn that was seen under way, for another worker.
func (l *loop) take(turn uint64) bool {
	l.leader.Load().takenAt.Store(int64(time.Since(started))) // before the swap, which tells the worker to look
	if !l.turnWord.CompareAndSwap(turn, turn+1) {
		return false
	}
	c := l.current
	c.away = true
	c.mu.Lock()
	c.uncork()
	c.mu.Unlock()
	l.counters.handovers.Add(1)
	return true
}

// watchdogPeriod is how often the watchdog looks: a turn is slow when two looks
// in a row see it.
const watchdogPeriod = 2 * time.Millisecond

// watchdog replaces leaders whose turn takes too long. It is one goroutine a
// server, parked while no loop is in a turn.
type watchdog struct {
	srv    *Server
	parked atomic.Bool
	wake   chan struct{}
	done   chan struct{}
	seen   []uint64  // each loop's turn word at the last look
	asked  time.Time // when the busy loops were last asked how late they are
}

func (d *watchdog) start(s *Server) {
	d.srv = s
	d.wake = make(chan struct{}, 1)
	d.done = make(chan struct{})
	d.seen = make([]uint64, len(s.loops))
	go d.run()
	go func() {
		s.loopsDone.Wait()
		s.handshakes.over.Wait() // their connections are closed: they end soon
		s.crew.end()
		close(d.done)
	}()
}

func (d *watchdog) run() {
	period := time.NewTicker(watchdogPeriod)
	defer period.Stop()
	for {
		if !d.look() {
			period.Stop()
			if !d.park() {
				return
			}
			period.Reset(watchdogPeriod)
		}
		select {
		case <-period.C:
		case <-d.done:
			return
		}
	}
}

// look takes the loops whose turn is slow, asks the busy ones how late they are,
// and says whether any loop has moved since the last look.
func (d *watchdog) look() (busy bool) {
	now := time.Now()
	ask := now.Sub(d.asked) >= probePeriod
	for i, l := range d.srv.loops {
		turn := l.turnWord.Load()
		if turn%2 == 1 && turn == d.seen[i] {
			d.srv.crew.replace(l, turn)
		}
		moved := turn%2 == 1 || turn != d.seen[i]
		d.seen[i] = turn
		busy = busy || moved
		if moved && ask {
			d.asked = now
			l.askLag()
		}
	}
	return busy
}

// park sleeps until a turn begins; false means that the server has ended. A
// leader stores its turn word and then loads parked; park stores parked and then
// loads the words: one of the two sees the other.
func (d *watchdog) park() bool {
	d.parked.Store(true)
	for _, l := range d.srv.loops {
		if l.turnWord.Load()%2 == 1 {
			d.parked.Store(false)
			return true
		}
	}
	select {
	case <-d.wake:
		d.parked.Store(false) // it is still set if the wake was an old one
		return true
	case <-d.done:
		return false
	}
}

func (d *watchdog) unpark() {
	if d.parked.CompareAndSwap(true, false) {
		select {
		case d.wake <- struct{}{}:
		default: // one is in there that park did not need: it wakes as well
		}
	}
}

// crew is the workers of a server: those that lead, those held by slow handlers,
// and those on standby.
type crew struct {
	srv *Server

	mu         sync.Mutex
	standby    []*worker
	workers    int  // all of them
	ended      bool // nobody is on standby any more
	lastReport time.Time
}

// keepStandby is how many idle workers are kept, besides one a loop; they cost a
// stack and a read buffer each.
const keepStandby = 4

func (cr *crew) init(s *Server) { cr.srv = s }

// lead gives the loop to its first worker; the bound has room for one a loop.
func (cr *crew) lead(l *loop) { cr.take().loops <- l }

// take is a standby worker, or a new one within the bound.
func (cr *crew) take() *worker {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if n := len(cr.standby); n > 0 {
		w := cr.standby[n-1]
		cr.standby = cr.standby[:n-1]
		return w
	}
	if cr.workers >= cr.srv.limits.workers {
		return nil
	}
	cr.workers++
	w := newWorker(cr.srv)
	go w.run()
	return w
}

// putBack puts a worker on standby; false means that there are enough and it
// should end.
func (cr *crew) putBack(w *worker) bool {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if len(cr.standby) >= len(cr.srv.loops)+keepStandby || cr.ended {
		cr.workers--
		return false
	}
	cr.standby = append(cr.standby, w)
	return true
}

// replace hands the loop of a slow turn to another worker. Without one the loop
// waits for its handler: that is the back-pressure, and it is reported.
func (cr *crew) replace(l *loop, turn uint64) {
	w := cr.take()
	if w == nil {
		l.counters.waits.Add(1)
		cr.reportShortage()
		return
	}
	if l.take(turn) {
		w.loops <- l
	} else if !cr.putBack(w) {
		close(w.loops)
	}
}

// end lets the standby workers go, once the loops are done.
func (cr *crew) end() {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	for _, w := range cr.standby {
		close(w.loops)
		cr.workers--
	}
	cr.standby = nil
	cr.ended = true
}
