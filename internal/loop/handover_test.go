package loop_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller/simnet"
)

// TestHeldIsTaken: who is counted as held has lost its loop.
func TestHeldIsTaken(t *testing.T) {
	h := open(t, 1, 4, simnet.Config{})
	l := h.loops[0]
	turns := make(chan bool)
	slow := &toy{turn: func(m *toy, w *loop.Worker, why loop.Reason) {
		if why&loop.Stopped != 0 {
			m.seat.Leave()
		}
		if why&loop.Woken == 0 {
			return
		}
		for h.group.Workers().Held == 0 {
		}
		turns <- !w.HasLoop()
	}}
	l.enter(slow)
	for range 200 {
		l.Post(slow, loop.Woken)
		if !<-turns {
			t.Fatal("a worker is counted as held, and leads its loop")
		}
		eventually(t, "the turn is over", func() bool { return h.group.Workers().Held == 0 })
	}
}

// TestSlowTurn: a loop goes on without a member whose turn is slow. The member is
// told, misses nothing, and has its next turn when the slow one is over.
func TestSlowTurn(t *testing.T) {
	h := open(t, 1, 4, simnet.Config{})
	l := h.loops[0]
	goOn, slowed := make(chan struct{}), make(chan bool, 1)
	slow := &toy{beside: func(why loop.Reason) loop.Reason {
		if why&loop.Writable != 0 {
			return loop.Flushed
		}
		return 0
	}}
	slow.turn = func(m *toy, w *loop.Worker, why loop.Reason) {
		if m.turns == 1 {
			<-goOn
			m.seat.Again(loop.Hangup)
			_, first := w.Overdue()
			slowed <- !w.HasLoop() && first
		}
		if why&loop.Stopped != 0 {
			m.seat.Leave()
		}
	}
	quick := &toy{}
	l.enter(slow, quick)
	l.Post(slow, loop.Woken)
	eventually(t, "the loop is taken", func() bool { return slow.overtaken.Load() == 1 })
	l.Post(quick, loop.Woken)
	l.Post(slow, loop.Readable)
	l.Post(slow, loop.Writable)
	l.do(func() {
		if quick.turns != 1 || !slow.seat.Away() || quick.seat.Away() {
			t.Errorf("%d turns of the quick one, away: %v and %v", quick.turns, slow.seat.Away(), quick.seat.Away())
		}
	})
	if got := h.group.Workers(); got.Leading != 1 || got.Held != 1 {
		t.Errorf("%+v, want one that leads and one held", got)
	}
	close(goOn)
	if !<-slowed {
		t.Error("the slow turn was not told that it has lost its loop")
	}
	eventually(t, "the slow one is back", func() (back bool) {
		l.do(func() { back = !slow.seat.Away() })
		return back
	})
	want := []loop.Reason{loop.Woken, loop.Readable | loop.Writable | loop.Flushed | loop.Hangup}
	l.do(func() {
		if !slices.Equal(slow.reasons, want) {
			t.Errorf("turns because of %b, want %b", slow.reasons, want)
		}
	})
	var stats loop.Stats
	if l.AddTo(&stats); stats.Handovers != 1 {
		t.Errorf("%+v, want one hand-over", stats)
	}
}

// TestHandoverStress has turns end and loops be taken at the same moment, over and
// over, with few and many workers. The race detector, and the counts without locks,
// tell if a loop ever had two leaders or a member two turns at once.
func TestHandoverStress(t *testing.T) {
	for _, workers := range []int{4, 256} {
		h := open(t, 3, workers, simnet.Config{RealClock: true})
		const members, asks = 30, 60
		var all [][]*toy
		for _, l := range h.loops {
			toys := make([]*toy, members)
			for i := range toys {
				toys[i] = &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
					dawdle()
					switch {
					case why&loop.Stopped != 0:
						m.seat.Leave()
					case rand.IntN(4) == 0:
						m.seat.Again(loop.Readable)
					}
				}}
			}
			l.enter(toys...)
			all = append(all, toys)
		}
		leaders := make([]int, len(h.loops)) // each its loop's leader's
		for range asks {
			for i, l := range h.loops {
				l.PostTask(loop.TaskFunc(func() bool { leaders[i]++; return false }))
				for _, m := range all[i] {
					l.Post(m, loop.Woken)
				}
			}
			time.Sleep(time.Millisecond)
		}
		var stats loop.Stats
		for i, l := range h.loops {
			l.AddTo(&stats)
			l.do(func() {
				if leaders[i] != asks {
					t.Errorf("%d tasks, want %d", leaders[i], asks)
				}
			})
		}
		h.close()
		for _, m := range slices.Concat(all...) {
			if !m.left.Load() || m.turns == 0 {
				t.Fatalf("left: %v, after %d turns", m.left.Load(), m.turns)
			}
		}
		if stats.Handovers == 0 {
			t.Error("no loop was taken")
		}
		t.Logf("%d workers: %+v", workers, stats.Handovers)
	}
}

// dawdle takes no time mostly, and else between 0 and 6 ms, asleep or at work.
func dawdle() {
	switch rand.IntN(60) {
	case 0:
		time.Sleep(time.Duration(rand.IntN(6000)) * time.Microsecond)
	case 1:
		for end := time.Now().Add(time.Duration(rand.IntN(4500)) * time.Microsecond); time.Now().Before(end); {
		}
	}
}

// TestParkedWatchdog lets the watchdog fall asleep, and then needs it: turns begin
// just when it parks.
func TestParkedWatchdog(t *testing.T) {
	h := open(t, 2, 16, simnet.Config{})
	goOn := make(chan struct{})
	var toys []*toy
	for _, l := range h.loops {
		m := &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
			if why&loop.Stopped != 0 {
				m.seat.Leave()
			}
			if why&loop.Woken != 0 {
				<-goOn
			}
		}}
		l.enter(m)
		toys = append(toys, m)
	}
	for i := range 60 {
		m, l := toys[i%2], h.loops[i%2]
		before := m.overtaken.Load()
		time.Sleep(time.Duration(3000+rand.IntN(4000)) * time.Microsecond)
		l.Post(m, loop.Woken)
		eventually(t, "the watchdog sees the slow turn", func() bool { return m.overtaken.Load() > before })
		goOn <- struct{}{}
		eventually(t, "it is back", func() (back bool) {
			l.do(func() { back = !m.seat.Away() })
			return back
		})
	}
}

// TestNoWorkerLeft: with all workers held a loop waits for its turn, which is
// counted; then it goes on.
func TestNoWorkerLeft(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	goOn := make(chan struct{})
	hold := func(m *toy, _ *loop.Worker, why loop.Reason) {
		if why&loop.Woken != 0 {
			<-goOn
		}
		if why&loop.Stopped != 0 {
			m.seat.Leave()
		}
	}
	a, b, c := &toy{turn: hold}, &toy{turn: hold}, &toy{}
	l.enter(a, b, c)
	l.Post(a, loop.Woken)
	l.Post(b, loop.Woken)
	l.Post(c, loop.Woken)
	var stats loop.Stats
	eventually(t, "the loop waits", func() bool {
		stats = loop.Stats{}
		l.AddTo(&stats)
		return stats.Waits > 0
	})
	if stats.Handovers != 1 || h.workers.Load() != 2 {
		t.Errorf("%d hand-overs with %d workers", stats.Handovers, h.workers.Load())
	}
	close(goOn)
	eventually(t, "all have had their turns", func() (all bool) {
		l.do(func() { all = c.turns == 1 && !a.seat.Away() && !b.seat.Away() })
		return all
	})
}

// TestFailedTurns: a panic, and runtime.Goexit, end the turn and nothing else, in
// quick turns and in slow ones. The member has another turn at once.
func TestFailedTurns(t *testing.T) {
	for _, slow := range []bool{false, true} {
		for _, exit := range []bool{false, true} {
			h := open(t, 1, 8, simnet.Config{})
			l := h.loops[0]
			var other *toy
			m := &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
				switch {
				case why&loop.Stopped != 0:
					m.seat.Leave()
				case why == 0: // the one that follows
				case slow:
					for m.overtaken.Load() == 0 {
						time.Sleep(time.Millisecond)
					}
					fallthrough
				case exit:
					if exit {
						runtime.Goexit()
					}
					panic("a toy broke")
				default:
					panic("a toy broke")
				}
			}}
			other = &toy{}
			l.enter(m, other)
			l.Post(m, loop.Woken)
			eventually(t, "the turn that follows", func() (back bool) {
				l.do(func() { back = !m.seat.Away() && m.turns >= 2 })
				return back
			})
			l.do(func() {
				if len(m.failures) != 1 || (m.failures[0] == nil) != exit || m.reasons[1] != 0 {
					t.Errorf("slow %v, exit %v: failures %v, turns because of %b", slow, exit, m.failures, m.reasons)
				}
			})
			l.Post(other, loop.Woken)
			l.do(func() {
				if other.turns != 1 {
					t.Errorf("the loop does not go on: %d turns", other.turns)
				}
			})
			h.close()
		}
	}
}

// TestWorkersEnd: what a burst of slow turns has brought into being ends, but for a
// few on standby, which end with the group.
func TestWorkersEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	h := open(t, 1, 64, simnet.Config{})
	l := h.loops[0]
	goOn := make(chan struct{})
	var began atomic.Int32
	toys := make([]*toy, 20)
	for i := range toys {
		toys[i] = &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
			if why&loop.Woken != 0 {
				began.Add(1)
				<-goOn
			}
			if why&loop.Stopped != 0 {
				m.seat.Leave()
			}
		}}
	}
	l.enter(toys...)
	for _, m := range toys {
		l.Post(m, loop.Woken)
	}
	eventually(t, "all are held", func() bool { return began.Load() == 20 && h.group.Workers().Held == 20 })
	close(goOn)
	eventually(t, "few are left", func() bool { w := h.group.Workers(); return w.Held == 0 && w.Standby <= 5 })
	h.close()
	eventually(t, "no worker is left", func() bool { return h.group.Workers() == loop.Workers{} })
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}
