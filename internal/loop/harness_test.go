package loop_test

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// toy is a member that does what its test says. What is not atomic in it is its
// turns': the race detector tells if two of them run at once.
type toy struct {
	seat loop.Seat
	home *house

	// Set before it enters, nil: nothing. Called in turns, and by the leader.
	turn    func(t *toy, w *loop.Worker, why loop.Reason)
	beside  func(why loop.Reason) loop.Reason
	nextDue func() loop.Tick

	turns     int
	reasons   []loop.Reason
	failures  []any
	overtaken atomic.Int32
	drained   bool // the leader's
	left      atomic.Bool
}

func (t *toy) Seat() *loop.Seat { return &t.seat }

func (t *toy) Turn(w *loop.Worker, why loop.Reason) {
	t.turns++
	t.reasons = append(t.reasons, why)
	switch {
	case t.turn != nil:
		t.turn(t, w, why)
	case why&(loop.Draining|loop.Stopped) != 0:
		t.seat.Leave()
	}
}

func (t *toy) Failed(_ *loop.Worker, panicked any) { t.failures = append(t.failures, panicked) }

func (t *toy) LostLoop() { t.overtaken.Add(1) }

func (t *toy) MissedWhileAway(why loop.Reason) loop.Reason {
	if t.beside == nil {
		return 0
	}
	return t.beside(why)
}

func (t *toy) Drains() { t.drained = true }

func (t *toy) NextDue() loop.Tick {
	if t.nextDue == nil {
		return loop.NoDue
	}
	return t.nextDue()
}

func (t *toy) Left() {
	if h := t.home; h.Find(h.Token(&t.seat)) != t {
		h.home.t.Error("a member that leaves has lost its token already")
	}
	t.left.Store(true)
	t.home.leaving = append(t.home.leaving, t)
}

// home is a group of loops.
type home struct {
	t       testing.TB
	net     *simnet.Network
	group   *loop.Group
	loops   []*house
	running sync.WaitGroup
	workers atomic.Int32 // made in all
	closing sync.Once
}

// house is one of its loops, and its host. What is not atomic in it is the leader's:
// here the race detector tells if there are two.
type house struct {
	loop.Loop[*toy]
	home    *home
	poll    poller.Poller
	rounds  int
	stops   []loop.Reason
	leaving []*toy
}

func (h *house) Round() { h.rounds++ }

func (h *house) Stopping(why loop.Reason) { h.stops = append(h.stops, why) }

func (h *house) Ended() { h.home.running.Done() }

// open starts a group with so many loops. It is stopped, and must end, with the test.
func open(t testing.TB, loops, workers int, config simnet.Config) *home {
	t.Helper()
	h := &home{t: t, net: simnet.New(config)}
	h.group = loop.NewGroup(loop.Config{
		Clock: h.net, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Batch: 16, MaxWorkers: workers,
		NewWorker: func(*loop.Worker) *loop.Worker {
			h.workers.Add(1)
			return &loop.Worker{}
		},
	})
	for range loops {
		p, err := h.net.NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		l := &house{home: h, poll: p}
		l.Init(h.group, l, p)
		h.loops = append(h.loops, l)
	}
	h.running.Add(loops)
	h.group.Start()
	t.Cleanup(h.close)
	return h
}

// close stops all loops and waits for their end.
func (h *home) close() { h.closing.Do(h.end) }

func (h *home) end() {
	for _, l := range h.loops {
		l.RequestStop(loop.Stopped, 0)
	}
	ended := make(chan struct{})
	go func() {
		h.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		h.group.End()
		<-h.group.Done()
	case <-time.After(10 * time.Second):
		h.t.Error("the loops do not end")
	}
}

// do has the leader call f, and waits for it.
func (h *house) do(f func()) {
	h.home.t.Helper()
	done := make(chan struct{})
	posted := h.PostTask(loop.TaskFunc(func() (again bool) {
		f()
		close(done)
		return false
	}))
	if !posted {
		h.home.t.Fatal("the loop has ended")
	}
	<-done
}

// enter gives each toy a place in the loop.
func (h *house) enter(toys ...*toy) (tokens []poller.Token) {
	h.do(func() {
		for _, t := range toys {
			t.home = h
			tokens = append(tokens, h.Enter(t))
		}
	})
	return tokens
}

// idle waits until all loops wait.
func (h *home) idle() {
	h.t.Helper()
	if !h.net.WaitIdle(10 * time.Second) {
		h.t.Fatal("the loops do not come to rest")
	}
}

// eventually waits until what is said holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("not in ten seconds: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
