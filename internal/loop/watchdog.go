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

// run looks once in a period while there are turns. A turn that wakes it after a longer
// pause is looked at at once: if it is over already, as nearly all are, no period begins, and a
// loop with a turn now and then costs one wake-up for each, not three.
func (d *watchdog) run() {
	period := time.NewTimer(watchdogPeriod)
	defer period.Stop()
	var woken time.Time
	rare := true // there was a pause before it was woken
	for {
		if moved, inTurn := d.look(); !moved || rare && !inTurn {
			if !d.park() {
				return
			}
			now := time.Now()
			rare, woken = now.Sub(woken) > watchdogPeriod, now
			if rare {
				continue
			}
		}
		period.Reset(watchdogPeriod)
		select {
		case <-period.C:
		case <-d.done:
			return
		}
	}
}

// look takes the loops whose turn is slow, and asks those that have moved since the last
// look how late they are. It says whether any has, and whether any is in a turn.
func (d *watchdog) look() (moved, inTurn bool) {
	now := time.Now()
	ask := now.Sub(d.asked) >= probePeriod
	for i, l := range d.group.loops {
		turn := l.base().word.n.Load()
		if under(turn) && turn == d.seen[i] {
			d.group.replace(l, turn)
		}
		inTurn = inTurn || under(turn)
		if under(turn) || turn != d.seen[i] {
			moved = true
			if ask {
				d.asked = now
				l.base().askLag()
			}
		}
		d.seen[i] = turn
	}
	return moved, inTurn
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
