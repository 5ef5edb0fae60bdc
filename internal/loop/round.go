package loop

import "time"

// Round is what a loop does between two waits, and how long it did so before that
// without having asked for all that was ready. It is the leader's, and kept only
// if Config.Rounds says so; a turn has its worker's copy, since another may lead by
// now.
type Round struct{ Began, Took time.Duration }

// endRound and beginRound stand around a leader's wait. A batch that was full may
// have left events behind: then the time before it counts on.
func (l *Loop[M]) endRound() {
	if !l.group.config.Rounds {
		return
	}
	took := l.clock.Now() - l.round.Began
	if l.numEvents == len(l.events) {
		took += l.round.Took
	}
	l.round.Took = took
}

func (l *Loop[M]) beginRound(w *Worker) {
	if l.group.config.Rounds {
		l.round.Began = l.clock.Now()
		w.Round = l.round
	}
}
