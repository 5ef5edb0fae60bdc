package loop

import (
	"bytes"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a group goes about it. All fields are to be set.
type Config struct {
	Clock      Clock        // of all deadlines
	Log        *slog.Logger // it must not block
	Batch      int          // how many events a wait gives at most
	MaxWorkers int          // at least one more than there are loops
	// NewWorker makes a worker, with a HostData. from is nil, or the worker whose turn the
	// new one goes on with, after a runtime.Goexit.
	NewWorker func(from *Worker) *Worker
}

// Group is the loops of a server, the workers that lead them, those held by slow
// turns, and those on standby.
type Group struct {
	config   Config
	loops    []led
	watchdog watchdog
	rounds   atomic.Bool // Worker.Round is wanted

	mu         sync.Mutex
	standby    []*Worker
	workers    int  // all of them
	coming     int  // of them, to a loop that is to be theirs
	ended      bool // nobody is on standby any more
	lastReport time.Time
}

// led is a Loop, whatever its members are.
type led interface {
	base() *core
	lead(w *Worker)
	take(turn uint64) bool
}

func (c *core) base() *core { return c }

// Worker is a goroutine that leads a loop, or waits on standby to lead one.
type Worker struct {
	HostData any   // what it needs for turns: the host's; best what the Worker is embedded in
	Since    Tick  // in a turn because of Expired: when the member came into the loop
	Round    Round // of the loop, since the worker leads it

	group   *Group
	loops   chan led     // the loop to lead next
	word    *word        // of the loop that it leads
	turn    uint64       // the turn word of the turn under way
	told    uint64       // the last turn of which Overdue has told
	takenAt atomic.Int64 // when the watchdog last took a loop from it, as a time since started
}

// Workers are a group's workers as they stand.
type Workers struct {
	Leading int // a loop
	Standby int
	Held    int // by a slow turn, the loop handed over
}

// keepStandby is how many idle workers are kept, besides one a loop; they cost a
// stack and their desk each.
const keepStandby = 4

// NewGroup makes a group, for the loops that Loop.Init adds to it.
func NewGroup(c Config) *Group {
	g := &Group{config: c}
	g.watchdog.wake = make(chan struct{}, 1)
	g.watchdog.done = make(chan struct{})
	return g
}

func (g *Group) add(l led) { g.loops = append(g.loops, l) }

// Start gives each loop to its first worker; the bound has room for one a loop.
func (g *Group) Start() {
	for _, l := range g.loops {
		g.takeWorker().loops <- l
		g.arrived()
	}
	g.watchdog.start(g)
}

// End lets the group's goroutines go. All loops must have ended, and nothing may
// wait for a turn.
func (g *Group) End() {
	g.mu.Lock()
	for _, w := range g.standby {
		close(w.loops)
		g.workers--
	}
	g.standby = nil
	g.ended = true
	g.mu.Unlock()
	close(g.watchdog.done)
}

// Done is closed by End.
func (g *Group) Done() <-chan struct{} { return g.watchdog.done }

// takeWorker is a standby worker, or a new one within the bound; else nil. It counts as
// coming until it has its loop, or is put back.
func (g *Group) takeWorker() *Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.standby); n > 0 {
		w := g.standby[n-1]
		g.standby = g.standby[:n-1]
		g.coming++
		return w
	}
	if g.workers >= g.config.MaxWorkers {
		return nil
	}
	g.workers++
	g.coming++
	w := g.newWorker(nil)
	go w.serve() // ends when putBack says so, or with End
	return w
}

// newWorker makes a worker, which goes on with the turn of another one if from is not
// nil.
func (g *Group) newWorker(from *Worker) *Worker {
	w := g.config.NewWorker(from)
	w.group, w.loops = g, make(chan led, 1)
	if from != nil {
		w.word, w.turn, w.Since, w.Round = from.word, from.turn, from.Since, from.Round
	}
	return w
}

// serve leads loops until there is no more use for the worker.
func (w *Worker) serve() {
	for l := range w.loops {
		l.lead(w)
		if !w.group.putBack(w) {
			return
		}
	}
}

// putBack puts a worker on standby; false means that there are enough and it
// should end.
func (g *Group) putBack(w *Worker) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.putBackLocked(w)
}

func (g *Group) putBackLocked(w *Worker) bool {
	if len(g.standby) >= len(g.loops)+keepStandby || g.ended {
		g.workers--
		return false
	}
	g.standby = append(g.standby, w)
	return true
}

// replace hands the loop of a slow turn to another worker. Without one the loop
// waits for its turn: that is the back-pressure, and it is reported.
func (g *Group) replace(l led, turn uint64) {
	w := g.takeWorker()
	if w == nil {
		l.base().waits.Add(1)
		l.base().still.Store(turn)
		g.reportShortage()
		return
	}
	if l.take(turn) {
		g.arrived() // before it leads: who is held by then is seen
		w.loops <- l
		return
	}
	g.mu.Lock()
	g.coming--
	back := g.putBackLocked(w)
	g.mu.Unlock()
	if !back {
		close(w.loops)
	}
}

// arrived ends the way of a worker that takeWorker gave, and that has its loop now.
func (g *Group) arrived() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.coming--
}

// reportPeriod is the least time between two reports of a shortage.
const reportPeriod = 10 * time.Second

// reportShortage logs, once a period, that all workers are held by slow turns, with
// the stack of one.
func (g *Group) reportShortage() {
	g.mu.Lock()
	now := time.Now()
	due := now.Sub(g.lastReport) >= reportPeriod
	if due {
		g.lastReport = now
	}
	g.mu.Unlock()
	if due {
		g.config.Log.Warn("all workers held by slow handlers",
			"workers", g.config.MaxWorkers, "stack", slowStack())
	}
}

// slowStack is the stack of a goroutine that is in a turn.
func slowStack() string {
	all := make([]byte, 256<<10)
	all = all[:runtime.Stack(all, true)]
	for stack := range bytes.SplitSeq(all, []byte("\n\n")) {
		for _, name := range []string{"turn", "goOn"} {
			if bytes.Contains(stack, []byte("internal/loop.(*Loop[...])."+name+"(")) {
				return string(stack)
			}
		}
	}
	return "none found in the first 256 KiB of stacks"
}

// Workers are the workers as they stand. Those that neither lead nor stand by nor come to
// a loop are held.
func (g *Group) Workers() Workers {
	running := 0
	for _, l := range g.loops {
		if !l.base().IsOver() {
			running++
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	leading := min(running, g.workers)
	return Workers{Leading: leading, Standby: len(g.standby), Held: max(g.workers-leading-len(g.standby)-g.coming, 0)}
}

// Overdue is for a turn that has lost its loop: for how long it has been under way,
// and whether this is the first time that it asks.
func (w *Worker) Overdue() (took time.Duration, first bool) {
	if w.told == w.turn {
		return 0, false
	}
	w.told = w.turn
	return time.Since(started) - time.Duration(w.takenAt.Load()) + watchdogPeriod, true
}

// Stats are a loop's counts.
type Stats struct {
	Handovers uint64    // of the loop, from a slow turn
	Waits     uint64    // times it could not be handed over: all workers were held
	Lag       Histogram // how long the loop, while busy, takes to see what is posted to it
}

// AddTo adds the loop's counts to a sum. It may be called from any goroutine.
func (c *core) AddTo(sum *Stats) {
	sum.Handovers += c.handovers.Load()
	sum.Waits += c.waits.Load()
	c.lag.addTo(&sum.Lag)
}
