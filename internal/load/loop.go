package load

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/poller"
)

// readBuffer is how much one read takes.
const readBuffer = 256 << 10

// loop is one event loop with its share of the connections. All of it belongs to
// the goroutine of run; others ask through do.
type loop struct {
	*shared
	poller   poller.Poller
	conns    []conn
	events   []poller.Event
	visits   []int // slots to read again, after the others
	spare    []int // the list before, to be filled anew
	in       []byte
	out      []byte // frames being gathered
	inflated []byte // a message that came compressed
	owed     int    // messages to send when what was read is eaten
	random   *rand.ChaCha8
	now      time.Duration
	waited   time.Duration // for events, in all

	behaviour behaviour
	checking  checking
	connects  connects
	meter     meter
	toldWrong bool // of the first wrong echo

	quitting bool // run returns once nothing more is asked

	mu    sync.Mutex
	asked []func()
	ended bool // run does nothing any more
}

// shared is what all loops of a run have in common. Nothing of it changes but what is
// atomic, or safe from all loops.
type shared struct {
	host
	open atomic.Int32 // connections of this process
	// refusalTold: one connection tells, or will, what the server says instead of an
	// upgrade.
	refusalTold atomic.Bool

	plan    *plan
	target  *target
	content *content
	sources *sources
	zero    time.Duration // of the engine's clock, on the clock of all processes; 0: there is one process
	slicing bool          // the load is made in slices: see Slices
}

func newLoop(s *shared, first, connections int, seed [32]byte) (*loop, error) {
	p, err := s.engine.NewPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{
		shared:    s,
		poller:    p,
		conns:     make([]conn, connections),
		events:    make([]poller.Event, 1024),
		in:        make([]byte, readBuffer),
		random:    rand.NewChaCha8(seed),
		behaviour: quiet{},
		meter:     newMeter(),
	}
	for i := range l.conns {
		l.conns[i].number = uint32(first + i)
	}
	return l, nil
}

// run works until stop is asked for.
func (l *loop) run() {
	for l.runAsked() {
		l.now = l.engine.Now()
		next := l.behaviour.due(l, l.now)
		next = min(next, l.connects.due(l))
		before := l.engine.Now()
		n, err := l.poller.Wait(l.events, l.patience(next, before))
		if err != nil {
			l.meter.trouble("wait for events: %v", err)
			l.quitting = true
		}
		l.now = l.engine.Now()
		l.waited += l.now - before
		visits := l.visits
		l.visits = l.spare[:0]
		for _, e := range l.events[:n] {
			l.event(e)
		}
		for _, slot := range visits {
			c := &l.conns[slot]
			c.again = false
			if c.state >= upgrading {
				l.readable(c, slot, true)
			}
		}
		l.spare = visits
	}
}

// patience is how long to wait for events when something is due at next.
func (l *loop) patience(next, now time.Duration) time.Duration {
	switch left := next - now; {
	case len(l.visits) > 0:
		return 0
	case next == never:
		return -1
	case left < l.spin:
		runtime.Gosched() // others of this process may wait for the core
		return 0
	default:
		return left - l.spin
	}
}

func (l *loop) event(e poller.Event) {
	slot := int(uint32(e.Token))
	c := &l.conns[slot]
	if c.generation != uint32(e.Token>>32) || c.state == absent {
		return
	}
	if c.state == connecting {
		l.connected(c)
		// An answer before the request may be there already, and has no edge
		// of its own then.
	}
	if e.Ready&poller.Writable != 0 && len(c.unsent) > 0 {
		l.flush(c)
	}
	hangup := e.Ready&poller.Hangup != 0
	switch {
	case c.state == securing:
		l.feed(c)
	case c.slow && c.state == open:
		if hangup {
			l.peerGone(c) // behind what it did not read
		}
	case e.Ready&poller.Readable != 0 && c.state >= upgrading:
		l.readable(c, slot, hangup)
	}
}

// do has f run in the loop's goroutine, between two waits, and waits for it.
// After the loop's end it runs f itself, so that nothing measured is lost.
func (l *loop) do(f func()) {
	done := make(chan struct{})
	l.mu.Lock()
	if l.ended {
		defer l.mu.Unlock()
		f()
		return
	}
	l.asked = append(l.asked, func() { f(); close(done) })
	l.mu.Unlock()
	l.poller.Wake()
	<-done
}

// post is do without waiting. What comes after the loop's end is forgotten.
func (l *loop) post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.asked = append(l.asked, f)
		l.poller.Wake()
	}
}

// runAsked does what others asked for, and says whether the loop goes on.
func (l *loop) runAsked() (goOn bool) {
	for {
		l.mu.Lock()
		asked := l.asked
		l.asked = nil
		l.ended = l.quitting && len(asked) == 0
		l.mu.Unlock()
		if len(asked) == 0 {
			return !l.quitting
		}
		for _, f := range asked {
			f()
		}
	}
}

// stop closes all connections at once and ends the loop.
func (l *loop) stop() {
	l.do(func() {
		for i := range l.conns {
			if c := &l.conns[i]; c.state != absent {
				_ = l.poller.CloseFD(int(c.fd)) // nothing hangs on it any more
				c.wire.cut()
				c.deflate.free()
				c.state, c.wire, c.deflate, c.stream = absent, nil, nil, nil
			}
		}
		l.quitting = true
	})
}
