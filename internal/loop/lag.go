package loop

import (
	"sync/atomic"
	"time"
)

// # Loop lag
//
// How late a loop is shows in how long it takes to look at its inbox: what is in
// its batch goes first. While a loop is busy, the watchdog asks it every
// probePeriod, by a time in probe and a wake-up, and the leader notes how old that
// is when it looks. A loop that is late by several periods has missed probes: they
// are counted as if they had been asked, so that one long stall weighs as much as it
// took. An idle loop is never woken for it.

// probePeriod is how often a busy loop is asked.
const probePeriod = 100 * time.Millisecond

// maxMissed bounds what one late answer counts for.
const maxMissed = 600

// LagBounds are the upper bounds of a Histogram's buckets but the last, which
// has none.
var LagBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Histogram are durations in buckets.
type Histogram struct {
	Counts [len(LagBounds) + 1]uint64 // up to each of LagBounds, and beyond
	Sum    time.Duration
}

// lagCounts is a Histogram that the leader fills and anyone reads.
type lagCounts struct {
	counts [len(LagBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (n *lagCounts) addTo(h *Histogram) {
	for i := range n.counts {
		h.Counts[i] += n.counts[i].Load()
	}
	h.Sum += time.Duration(n.sum.Load())
}

// note counts a lag, and those of the probes that were not sent meanwhile.
func (n *lagCounts) note(lag time.Duration) {
	for range maxMissed {
		n.sum.Add(int64(lag))
		n.counts[bucketOf(lag)].Add(1)
		if lag -= probePeriod; lag <= 0 {
			return
		}
	}
}

func bucketOf(lag time.Duration) int {
	for i, bound := range LagBounds {
		if lag <= bound {
			return i
		}
	}
	return len(LagBounds)
}

// askLag sends the loop a probe, unless one is under way. The watchdog calls it.
func (c *core) askLag() {
	now := int64(c.clock.Now()) + 1 // 0 is none
	if c.probe.CompareAndSwap(0, now) {
		c.poll.Wake()
	}
}

// answerLag notes how long a probe has waited. The leader calls it when it has
// looked into the inbox.
func (c *core) answerLag() {
	asked := c.probe.Load()
	if asked == 0 {
		return
	}
	c.probe.Store(0)
	c.lag.note(max(c.clock.Now()-time.Duration(asked-1), 0))
}
