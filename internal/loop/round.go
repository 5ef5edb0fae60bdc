package loop

import "time"

// Round tells when the last wait returned (Began), and how long the rounds before it took
// (Took): the one before, and those before it whose batch was full. It is the leader's,
// and kept only once KeepRounds was called; a turn has its worker's copy, since another
// may lead by now.
type Round struct{ Began, Took time.Duration }

// KeepRounds has the loops keep their rounds from their next wait on. The first Round may
// seem to have taken all the time before.
func (g *Group) KeepRounds() {
	if !g.rounds.Load() {
		g.rounds.Store(true)
	}
}

// endRound and beginRound stand around a leader's wait. A batch that was full may
// have left events behind: then the time before it counts on.
func (l *Loop[M]) endRound() {
	if !l.group.rounds.Load() {
		return
	}
	took := l.clock.Now() - l.round.Began
	if l.numEvents == len(l.events) {
		took += l.round.Took
	}
	l.round.Took = took
}

func (l *Loop[M]) beginRound(w *Worker) {
	if l.group.rounds.Load() {
		l.round.Began = l.clock.Now()
		w.Round = l.round
	}
}
