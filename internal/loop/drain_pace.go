package loop

import (
	"math/rand/v2"
	"time"
)

// pace is a loop's share of a drain: which member gets its turn to end in when. It
// is the leader's.
//
// The window is cut into as many steps as there were members, and one gets its turn
// in each, at a random moment: the rate is exact, and no two servers, nor two loops
// of one, keep time together. The cursor jumps through the table rather than walks,
// so that members that came together do not go together.
type pace struct {
	start  time.Duration // on the clock
	step   time.Duration // 0: all at once
	next   time.Duration // when the next one is due
	taken  int           // members so far
	cursor int           // places of the table looked at so far
	chunks int           // of the table, when it began: what came later gets no turn
	seed   uint64
}

// drainsPerRound bounds the members taken in one go, so that the loop serves the
// others meanwhile.
const drainsPerRound = 512

func newPace(chunks, used int, window, now time.Duration) *pace {
	p := &pace{start: now, chunks: chunks, seed: rand.Uint64()}
	if used > 0 {
		p.step = window / time.Duration(used)
	}
	p.setNext()
	return p
}

// setNext sets the moment of the next one within its step.
func (p *pace) setNext() {
	random := (uint64(p.taken)*0x9e3779b97f4a7c15 ^ p.seed) * 0xbf58476d1ce4e5b9
	within := time.Duration(float64(p.step) * float64(random>>11) / (1 << 53))
	p.next = p.start + p.step*time.Duration(p.taken) + within
}

// place is the next place in the table to be looked at: each once in all, chunk by
// chunk, and in each chunk far from the last. ok is false behind the last one.
func (p *pace) place() (chunk, i int, ok bool) {
	const jump = 1021 // prime to chunkSlots, or places would be left out
	if p.cursor >= p.chunks*chunkSlots {
		return 0, 0, false
	}
	chunk, i = p.cursor%p.chunks, p.cursor/p.chunks*jump%chunkSlots
	p.cursor++
	return chunk, i, true
}

// drainSome gives the members whose time has come a turn to end in.
func (l *Loop[M]) drainSome() {
	now := l.clock.Now()
	for range drainsPerRound {
		if l.pace.next > now {
			return
		}
		m, ok := l.nextToDrain()
		if !ok {
			l.pace = nil
			return
		}
		m.Drains()
		l.jobs = append(l.jobs, job[M]{member: m, why: Draining})
	}
}

func (l *Loop[M]) nextToDrain() (m M, ok bool) {
	var nobody M
	for {
		chunk, i, ok := l.pace.place()
		if !ok {
			return nobody, false
		}
		if m := l.table.chunks[chunk].members[i]; m != nobody {
			l.pace.taken++
			l.pace.setNext()
			return m, true
		}
	}
}
