package server

import (
	"sync/atomic"
	"time"
)

// pace is the rate of a token bucket, which is itself one number: the time at
// which it will be full again (the generic cell rate algorithm, ITU-T I.371).
// What is taken moves that time on; it may lie ahead by depth. The zero value
// has no limit.
type pace struct {
	rate  int64         // tokens a second
	depth time.Duration // the time in which an empty bucket fills up
}

// maxPace keeps rate and burst, and what is computed with them, in range.
const maxPace = 1 << 33

// newPace is rate tokens a second, burst of them at once; without a burst a
// second's worth.
func newPace(rate, burst int64) pace {
	if rate <= 0 {
		return pace{}
	}
	if burst <= 0 {
		burst = rate
	}
	rate = min(rate, maxPace)
	nanos := min(burst, maxPace) * int64(time.Second)
	return pace{rate: rate, depth: time.Duration((nanos + rate - 1) / rate)}
}

func (p pace) limited() bool { return p.rate > 0 }

// take takes n tokens from a bucket and gives the bucket's new state, or says
// that it does not hold so many. A full bucket fills on from since, which is now
// unless the tokens may have been asked for earlier.
func (p pace) take(full, since, now time.Duration, n int) (next time.Duration, ok bool) {
	next = max(full, since) + p.cost(n)
	if next-now > p.depth {
		return full, false
	}
	return next, true
}

// takeUpTo takes n tokens, or all there are if those are less.
func (p pace) takeUpTo(full, since, now time.Duration, n int) (next time.Duration, taken int) {
	full = max(full, since)
	if left := p.depth - (full - now); left < p.cost(n) {
		n = int(int64(left) * p.rate / int64(time.Second))
	}
	return full + p.cost(n), n
}

func (p pace) cost(n int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / p.rate)
}

// sharedBucket is a bucket that many goroutines take from.
type sharedBucket struct{ full atomic.Int64 }

// take takes a token, unless there is none.
func (b *sharedBucket) take(p pace, now time.Duration) bool {
	for {
		full := b.full.Load()
		next, ok := p.take(time.Duration(full), now, now, 1)
		if !ok {
			return false
		}
		if b.full.CompareAndSwap(full, int64(next)) {
			return true
		}
	}
}
