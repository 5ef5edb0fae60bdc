package loop

import (
	"sync/atomic"
	"time"
)

// Tick is a time in tenths of a second on the loop's clock, the grain of all
// deadlines.
type Tick uint32

// Ticks is a duration in the same unit.
type Ticks = Tick

const (
	// TickTime is how long a tick is.
	TickTime = 100 * time.Millisecond
	// NoDue is the deadline of a member that has none.
	NoDue = ^Tick(0)
)

// TicksOf is d in ticks, rounded up.
func TicksOf(d time.Duration) Ticks { return Ticks((d + TickTime - 1) / TickTime) }

// TimeoutTicks is TicksOf for a timeout, which must not be over early: the tick that
// it counts from was rounded down. It is over by two ticks after d.
func TimeoutTicks(d time.Duration) Ticks { return TicksOf(d) + 1 }

// Time is the tick as a duration since the clock's start.
func (t Tick) Time() time.Duration { return time.Duration(t) * TickTime }

// Clock is where the time comes from: monotonic, from an arbitrary start.
type Clock interface{ Now() time.Duration }

// time is a loop's clock.
type ticker struct {
	clock Clock
	ticks atomic.Uint32 // as of the last wait
}

// Now is the clock as of the loop's last wait: right for its leader, and for a
// turn until it has had the time to be slow. It may be called from any goroutine.
func (t *ticker) Now() Tick { return Tick(t.ticks.Load()) }

// RightNow is the clock itself, for goroutines that have not come out of a wait
// just now: the loop may have been asleep for long.
func (t *ticker) RightNow() Tick { return Tick(t.clock.Now() / TickTime) }

func (t *ticker) update() {
	if now := uint32(t.RightNow()); now != t.ticks.Load() {
		t.ticks.Store(now)
	}
}
