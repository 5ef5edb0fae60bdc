package loop_test

import (
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// TestSeatIsSmall: idle members are what there is most of.
func TestSeatIsSmall(t *testing.T) {
	if size := reflect.TypeFor[loop.Seat]().Size(); size != 8 {
		t.Errorf("a Seat has %d bytes, want 8", size)
	}
}

// TestEvents: a descriptor's events give its member turns, with what is ready; events
// of members that have left give none.
func TestEvents(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{StaleEvents: true})
	l := h.loops[0]
	ln, err := h.net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := h.net.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fd, _, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	m := &toy{home: l, turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
		if why&loop.Hangup != 0 || why&loop.Stopped != 0 {
			m.seat.Leave()
		}
	}}
	l.do(func() {
		if err := l.poll.Add(fd, l.Enter(m)); err != nil {
			t.Error(err)
		}
	})
	if _, err := client.TryWrite([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	h.idle()
	l.do(func() {
		if m.turns == 0 || !slices.ContainsFunc(m.reasons, func(r loop.Reason) bool { return r&loop.Readable != 0 }) {
			t.Errorf("turns because of %b, want one to read", m.reasons)
		}
	})
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	h.idle()
	if !m.left.Load() {
		t.Errorf("turns because of %b, want one to hang up", m.reasons)
	}
	turns := m.turns
	l.Post(m, loop.Readable)
	l.do(func() {
		if m.turns != turns {
			t.Error("a turn after the last one")
		}
	})
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRounds: who asks for another turn gets it after all others; waking is once at a
// time, other posts are not.
func TestRounds(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	var order []string
	named := func(name string, again int) *toy {
		return &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
			if why&loop.Stopped != 0 {
				m.seat.Leave()
				return
			}
			order = append(order, name)
			if again--; again >= 0 {
				m.seat.Again(loop.Readable)
			}
			if (m.seat.AsksAgain() == loop.Readable) != (again >= 0) {
				t.Errorf("asks again for %b", m.seat.AsksAgain())
			}
		}}
	}
	a, b := named("a", 2), named("b", 0)
	l.enter(a, b)
	l.do(func() { // so that all of it is in the inbox at once
		l.Post(a, loop.Woken)
		l.Post(a, loop.Woken)
		l.Post(b, loop.Readable)
		l.Post(b, loop.Readable)
	})
	h.idle()
	l.do(func() {
		if want := []string{"a", "b", "b", "a", "a"}; !slices.Equal(order, want) {
			t.Errorf("turns of %v, want %v", order, want)
		}
	})
	order = nil
	l.do(func() {
		l.NextRound(a, loop.Readable)
		l.ThisRound(b, loop.Readable)
	})
	h.idle()
	l.do(func() {
		if want := []string{"b", "a"}; !slices.Equal(order, want) {
			t.Errorf("turns of %v, want %v", order, want)
		}
	})
}

// TestDeadlines: a member gets a turn when its deadline is over, not before; it is
// asked for the next one only when it said so; many that are over together leave room
// for others.
func TestDeadlines(t *testing.T) {
	h := open(t, 1, 1, simnet.Config{}) // one worker: on a busy machine a second one would take the loop over, and turns come twice
	l := h.loops[0]
	due := loop.Tick(20)
	m := &toy{nextDue: func() loop.Tick { return due }}
	m.turn = func(m *toy, w *loop.Worker, why loop.Reason) {
		switch {
		case why&loop.Stopped != 0:
			m.seat.Leave()
		case why&loop.Expired != 0:
			if w.Since != l.Since(&m.seat) {
				t.Errorf("since %d, want %d", w.Since, l.Since(&m.seat))
			}
			due = l.RightNow() + 5
			m.seat.DueChanged()
		}
	}
	l.enter(m)
	l.do(func() { l.SetDue(m, 10) })
	advance := func(ticks int, turns int) {
		t.Helper()
		h.idle()
		h.net.Advance(time.Duration(ticks) * loop.TickTime)
		h.idle()
		l.do(func() {
			if m.turns != turns {
				t.Errorf("%d turns, want %d", m.turns, turns)
			}
		})
	}
	advance(9, 0)
	advance(1, 1)
	l.do(func() {
		if got := l.Due(&m.seat); got != 15 {
			t.Errorf("due at %d, want 15", got)
		}
	})
	advance(4, 1)
	advance(1, 2)
	advance(5, 3)

	crowd := make([]*toy, 5000)
	for i := range crowd {
		crowd[i] = &toy{}
	}
	l.enter(crowd...)
	var before, after int
	l.do(func() {
		before = l.rounds
		for _, c := range crowd {
			l.SetDue(c, l.Now()+1)
		}
	})
	h.idle()
	h.net.Advance(loop.TickTime)
	h.idle()
	l.do(func() {
		after = l.rounds
		if slices.ContainsFunc(crowd, func(c *toy) bool { return c.turns != 1 }) {
			t.Error("one had no turn, or several")
		}
	})
	if after-before < 3 {
		t.Errorf("%d deadlines in %d rounds", len(crowd), after-before)
	}
}

// TestTokens: a place is used again under another token, and old ones find nobody.
func TestTokens(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	a, b := &toy{home: l}, &toy{home: l}
	first := l.enter(a)[0]
	l.do(func() {
		slot := a.seat.Slot()
		if l.Find(first) != a {
			t.Error("a is not found")
		}
		if l.Token(a.Seat()) != first {
			t.Error("a has another token than it was given")
		}
		l.Withdraw(a)
		second := l.Enter(b)
		if b.seat.Slot() != slot || second == first {
			t.Errorf("slot %d after %d, token %x after %x", b.seat.Slot(), slot, second, first)
		}
		if l.Find(first) != nil || l.Find(second) != b || l.Find(1<<40) != nil {
			t.Error("a token finds whom it must not")
		}
	})
}

// TestEach walks through a table of several chunks, in pieces, and sees everybody
// once.
func TestEach(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	toys := make([]*toy, 5000)
	for i := range toys {
		toys[i] = &toy{}
	}
	tokens := l.enter(toys...)
	seen := map[*toy]poller.Token{}
	l.do(func() {
		for next, more := 0, true; more; {
			next, more = l.Each(next, 300, func(m *toy, _ loop.Tick, token poller.Token) { seen[m] = token })
		}
	})
	for i, m := range toys {
		if seen[m] != tokens[i] {
			t.Fatalf("number %d: token %x, want %x", i, seen[m], tokens[i])
		}
	}
}

// listener is a source that counts how often it was to look.
type listener struct{ looks int }

func (s *listener) Ready() { s.looks++ }

// TestSources: a source looks when its descriptor is ready, and when a pause is over.
func TestSources(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	ln, err := h.net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &listener{}
	l.do(func() {
		if err := l.Watch(ln.FD(), s); err != nil {
			t.Error(err)
		}
	})
	looks := func(want int) {
		t.Helper()
		h.idle()
		l.do(func() {
			if s.looks != want {
				t.Errorf("looked %d times, want %d", s.looks, want)
			}
		})
	}
	looks(0)
	if _, err := h.net.Dial(ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	looks(1)
	l.do(func() { l.Retry(s, l.Now()+3) })
	h.idle()
	h.net.Advance(2 * loop.TickTime)
	looks(1)
	h.net.Advance(loop.TickTime)
	looks(2)
	h.net.Advance(time.Hour)
	looks(2)
	l.do(func() {
		if err := l.Unwatch(ln.FD(), s); err != nil {
			t.Error(err)
		}
	})
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDrain: in the window each member is told and gets its turn to drain in, one
// after another and not in the order of their places; the loop ends with the last.
func TestDrain(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	toys := make([]*toy, 100)
	for i := range toys {
		toys[i] = &toy{}
	}
	l.enter(toys...)
	drained := func() (n int) {
		h.idle()
		for _, m := range toys {
			if m.left.Load() {
				n++
			}
		}
		return n
	}
	l.RequestStop(loop.Draining, 10*time.Second)
	if n := drained(); n > 1 {
		t.Errorf("%d have left at once", n)
	}
	l.do(func() {
		if l.StopSeen() != loop.Draining || !slices.Equal(l.stops, []loop.Reason{loop.Draining}) {
			t.Errorf("stops %b, seen %b", l.stops, l.StopSeen())
		}
	})
	for second := 1; second <= 10; second++ {
		for range 100 {
			h.net.Advance(10 * time.Millisecond)
			h.idle()
		}
		if n, want := drained(), second*10; n < want-1 || n > want+1 {
			t.Errorf("%d have left after %d s, want %d", n, second, want)
		}
	}
	h.running.Wait() // nobody has told it to stop
	if slices.IsSortedFunc(l.leaving, func(a, b *toy) int { return int(a.seat.Slot()) - int(b.seat.Slot()) }) {
		t.Error("they leave in the order of their places")
	}
	if slices.ContainsFunc(toys, func(m *toy) bool { return !m.drained }) {
		t.Error("one was not told")
	}
}

// TestStop: each member gets a turn to end in, also one in a slow turn, which keeps
// the loop; after the end nothing is taken.
func TestStop(t *testing.T) {
	h := open(t, 1, 4, simnet.Config{})
	l := h.loops[0]
	goOn := make(chan struct{})
	slow := &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
		if why&loop.Stopped != 0 {
			m.seat.Leave()
		}
		if why&loop.Woken != 0 {
			<-goOn
		}
	}}
	quick := &toy{}
	l.enter(slow, quick)
	l.Post(slow, loop.Woken)
	eventually(t, "the loop is taken", func() bool { return slow.overtaken.Load() == 1 })
	l.RequestStop(loop.Stopped, 0)
	eventually(t, "the quick one has left", quick.left.Load)
	if slow.left.Load() {
		t.Error("the slow one has left in the midst of its turn")
	}
	close(goOn)
	h.close()
	if !slow.left.Load() {
		t.Error("the slow one has not left")
	}
	if l.Post(quick, loop.Woken) || l.PostTask(loop.TaskFunc(func() bool { return false })) {
		t.Error("a loop that has ended takes what is posted")
	}
}

// TestHold: a loop that is held ends only when it is released, and does until then what
// is posted to it.
func TestHold(t *testing.T) {
	h := open(t, 2, 4, simnet.Config{})
	l, other := h.loops[0], h.loops[1]
	for range 2 {
		if !l.Hold() {
			t.Fatal("a loop that runs can not be held")
		}
	}
	for _, l := range h.loops {
		l.RequestStop(loop.Draining, 0)
	}
	eventually(t, "the other one ends", other.IsOver)
	l.Release()
	l.do(func() {})
	if l.IsOver() {
		t.Error("it has ended, and is held")
	}
	l.Release()
	eventually(t, "it ends", l.IsOver)
	if l.Hold() {
		t.Error("a loop that has ended can be held")
	}
}

// TestTaskAgain: a task that asks for it is done once a round.
func TestTaskAgain(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	var rounds []int
	done := make(chan struct{})
	l.PostTask(loop.TaskFunc(func() (again bool) {
		rounds = append(rounds, l.rounds)
		if len(rounds) == 3 {
			close(done)
			return false
		}
		return true
	}))
	<-done
	if rounds[1] != rounds[0]+1 || rounds[2] != rounds[0]+2 {
		t.Errorf("done in rounds %v", rounds)
	}
}

// TestLag: a busy loop is asked how late it is, and a long stall counts for all the
// probes that it has missed.
func TestLag(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{RealClock: true})
	l := h.loops[0]
	m := &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
		if why&loop.Stopped != 0 {
			m.seat.Leave()
		}
	}}
	l.enter(m)
	eventually(t, "it was asked", func() bool {
		l.Post(m, loop.Woken)
		var stats loop.Stats
		l.AddTo(&stats)
		n := uint64(0)
		for _, c := range stats.Lag.Counts {
			n += c
		}
		return n >= 2 && stats.Lag.Sum > 0
	})
}

// TestTurnAllocatesNothing: to be posted, woken and given a turn costs no memory.
func TestTurnAllocatesNothing(t *testing.T) {
	h := open(t, 1, 2, simnet.Config{})
	l := h.loops[0]
	took := make(chan struct{})
	m := &toy{turn: func(m *toy, _ *loop.Worker, why loop.Reason) {
		m.reasons = m.reasons[:0]
		if why&loop.Stopped != 0 {
			m.seat.Leave()
			return
		}
		m.seat.DueChanged()
		took <- struct{}{}
	}}
	l.enter(m)
	if n := testing.AllocsPerRun(1000, func() {
		l.Post(m, loop.Woken)
		<-took
	}); n >= 1 {
		t.Errorf("%v allocations a turn", n)
	}
}

// BenchmarkTurn is what a loop adds to a turn: a job, the hand-over's word, two calls.
func BenchmarkTurn(b *testing.B) {
	h := open(b, 1, 2, simnet.Config{})
	l := h.loops[0]
	done := make(chan struct{})
	left := b.N
	m := &toy{}
	m.turn = func(m *toy, _ *loop.Worker, why loop.Reason) {
		m.reasons = m.reasons[:0]
		switch {
		case why&loop.Stopped != 0:
			m.seat.Leave()
		case left > 0:
			left--
			m.seat.Again(loop.Readable)
		case left == 0:
			left--
			close(done)
		}
	}
	l.enter(m)
	b.ReportAllocs()
	b.ResetTimer()
	l.Post(m, loop.Woken)
	<-done
	b.StopTimer()
	h.close()
}

// TestLongTaskYields: other goroutines run between the parts of a long task, when all of Go's
// processors are loops'.
func TestLongTaskYields(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	h := open(t, 1, 2, simnet.Config{})
	defer h.close()
	parts, ran, over := 0, make(chan struct{}), make(chan struct{})
	h.loops[0].PostTask(loop.TaskFunc(func() (again bool) {
		if parts++; parts == 1 {
			go close(ran)
		}
		select {
		case <-ran:
			close(over)
			return false
		default:
			return true
		}
	}))
	<-over
	if parts > 100 { // some thousand, until Go's runtime takes the processor away
		t.Errorf("another goroutine waited for %d parts of a task", parts)
	}
}
