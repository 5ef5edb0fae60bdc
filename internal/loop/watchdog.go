package loop

import (
	"sync/atomic"
	"time"
)

// watchdogPeriod is how often the watchdog looks: a turn is slow when two looks
// in a row see it.
const watchdogPeriod = 2 * time.Millisecond

// started is what times of the watchdog count from: deadlines have another clock,
// which a test may move.
var started = time.Now()

// watchdog replaces leaders whose turn takes too long. It is one goroutine a group,
// parked while no loop is in a turn.
type watchdog struct {
	group  *Group
	parked atomic.Bool
	wake   chan struct{}
	done   chan struct{}
	seen   []uint64  // each loop's turn word at the last look
	asked  time.Time // when the busy loops were last asked how late they are
}

func (d *watchdog) start(g *Group) {
	d.group = g
	d.seen = make([]uint64, len(g.loops))
	go d.run() // ends with Group.End
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
	for i, l := range d.group.loops {
		turn := l.base().word.n.Load()
		if under(turn) && turn == d.seen[i] {
			d.group.replace(l, turn)
		}
		moved := under(turn) || turn != d.seen[i]
		d.seen[i] = turn
		busy = busy || moved
		if moved && ask {
			d.asked = now
			l.base().askLag()
		}
	}
	return busy
}

// park sleeps until a turn begins; false means that the group has ended. A leader
// stores its turn word and then loads parked; park stores parked and then loads the
// words: one of the two sees the other.
func (d *watchdog) park() bool {
	d.parked.Store(true)
	for _, l := range d.group.loops {
		if under(l.base().word.n.Load()) {
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
