package loop

import (
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
// the loop. It marks the member of the slow turn as away, so that the new leader
// gives it no second turn but notes what it misses, and has it do what needs no turn
// (Member.MissedWhileAway). The slow worker finishes its turn with the member still its own,
// finds that its swap fails, and posts the member back to the loop's inbox: the
// leader then clears the mark and gives it the turn it missed.
type word struct{ n atomic.Uint64 }

// begin starts a turn: from here on the loop can be taken.
func (w *word) begin() (turn uint64) {
	turn = w.n.Load() + 1
	w.n.Store(turn)
	return turn
}

// swap ends a turn, or takes the loop out of it; false means that the other one did.
func (w *word) swap(turn uint64) bool { return w.n.CompareAndSwap(turn, turn+1) }

// under says whether a turn is under way as of a word.
func under(word uint64) bool { return word%2 == 1 }

// turn gives m its turn on w. It returns false when w has lost the loop meanwhile:
// the turn was slow and another worker leads.
//
// Its name, and that of goOn, is what slowStack finds the turns by that hold workers.
func (l *Loop[M]) turn(w *Worker, m M, why Reason) (leads bool) {
	s := m.Seat()
	switch {
	case s.away:
		s.missed |= why | m.MissedWhileAway(why)
		return true
	case s.left():
		return true // a job that was noted before the member left
	case why&Expired != 0:
		w.Since = l.table.since(s.slot) // while the table is ours
	}
	l.current = m
	w.turn = l.word.begin()
	if dog := &l.group.watchdog; dog.parked.Load() { // after the store: see watchdog.park
		dog.unpark()
	}
	done := false
	defer func() {
		if !done {
			leads = l.rescue(w, m, s, recover())
		}
	}()
	m.Turn(w, why)
	done = true
	return l.finishTurn(m, s, w.turn)
}

// takeBack gives m, whose slow turn is over, the turn that it missed, with what the
// slow one has left: if one turn after the other is slow, none comes to be settled.
func (l *Loop[M]) takeBack(w *Worker, m M, why Reason) (leads bool) {
	s := m.Seat()
	s.away = false
	if s.left() {
		l.discard(m, s) // it ended in its slow turn, which could not settle it
		return true
	}
	why |= s.missed | s.next&^marks
	s.missed = 0
	s.next &= marks
	return l.turn(w, m, why)
}

// finishTurn lets go of m, and of the loop if it was taken meanwhile.
func (l *Loop[M]) finishTurn(m M, s *Seat, turn uint64) (leads bool) {
	if !l.word.swap(turn) {
		l.post(job[M]{member: m, returned: true})
		return false
	}
	if s.next != 0 {
		l.settle(m, s)
	}
	return true
}

// settle does for m, after its turn, what only the leader may.
func (l *Loop[M]) settle(m M, s *Seat) {
	next := s.next
	if next&markLeft != 0 {
		l.discard(m, s)
		return
	}
	s.next = 0
	if next&markDue != 0 {
		due := m.NextDue()
		l.table.setDue(s.slot, due)
		l.nextDue = min(l.nextDue, due)
	}
	if next&^marks != 0 {
		l.nextRound = append(l.nextRound, job[M]{member: m, why: next &^ marks})
	}
}

// discard frees the place of a member that has left.
func (l *Loop[M]) discard(m M, s *Seat) {
	m.Left()
	l.table.remove(s.slot)
}

// rescue goes on with a turn that has panicked, or called runtime.Goexit (panicked is
// nil then, and this goroutine is about to end: another takes its place).
func (l *Loop[M]) rescue(w *Worker, m M, s *Seat, panicked any) (leads bool) {
	m.Failed(w, panicked)
	if panicked != nil {
		return l.goOn(w, m, s)
	}
	g := l.group
	heir := g.newWorker(w)
	go func() { // ends as any worker
		if l.goOn(heir, m, s) {
			l.lead(heir)
		}
		if g.putBack(heir) {
			heir.serve()
		}
	}()
	return false
}

// goOn is the rest of a turn that has failed.
func (l *Loop[M]) goOn(w *Worker, m M, s *Seat) (leads bool) {
	done := false
	defer func() {
		if !done {
			leads = l.rescue(w, m, s, recover())
		}
	}()
	m.Turn(w, 0)
	done = true
	return l.finishTurn(m, s, w.turn)
}

// take takes the loop out of a turn that was seen under way, for another worker.
func (l *Loop[M]) take(turn uint64) bool {
	l.leader.Load().takenAt.Store(int64(time.Since(started))) // before the swap, which tells the worker to look
	if !l.word.swap(turn) {
		return false
	}
	m := l.current
	m.Seat().away = true
	m.LostLoop()
	l.handovers.Add(1)
	return true
}

// HasLoop says whether the turn under way on w still has its loop. It may be taken at
// any time: then Member.LostLoop is called after that.
func (w *Worker) HasLoop() bool { return w.word.n.Load() == w.turn }
