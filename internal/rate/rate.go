// Package rate limits how much happens in a second, by token buckets.
//
//	limit := rate.New(100, 20) // 100 a second, at most 20 at once
//	var bucket rate.Bucket     // full
//	if !limit.Limited() || bucket.Take(limit, now) {
//		// go ahead
//	}
//
// [Limit] is shared by all buckets of its kind. [Bucket] may be used by many goroutines;
// a caller with a lock of its own keeps the bucket as a plain time and calls [Limit.Take].
// Times come from any clock that does not go back.
package rate

// A bucket is one number: the time at which it will be full again (the generic cell
// rate algorithm, ITU-T I.371). Taking a token moves that time on. It may lie ahead by
// as much as an empty bucket needs to fill up.

import (
	"sync/atomic"
	"time"
)

// Limit is the size of a bucket and how fast it fills. The zero value has no limit.
type Limit struct {
	perSecond int64         // tokens
	depth     time.Duration // the time in which an empty bucket fills up
}

// maxTokens keeps rate and burst, and what is computed with them, in range.
const maxTokens = 1 << 33

// New returns a limit of perSecond tokens a second and burst at once; a burst of 0 or
// less is a second's worth. A rate of 0 or less is no limit.
func New(perSecond, burst int64) Limit {
	if perSecond <= 0 {
		return Limit{}
	}
	if burst <= 0 {
		burst = perSecond
	}
	perSecond = min(perSecond, maxTokens)
	nanos := min(burst, maxTokens) * int64(time.Second)
	return Limit{perSecond: perSecond, depth: time.Duration((nanos + perSecond - 1) / perSecond)}
}

// Limited reports whether there is a limit. Without one nothing else may be called.
func (l Limit) Limited() bool { return l.perSecond > 0 }

// Take takes n tokens from the bucket that will be full at the time full, and returns
// when it will be full then. If it does not hold n, ok is false and the bucket is
// unchanged. A full bucket counts from since, which is now unless the tokens may have
// been asked for earlier.
func (l Limit) Take(full, since, now time.Duration, n int) (next time.Duration, ok bool) {
	next = max(full, since) + l.cost(n)
	if next-now > l.depth {
		return full, false
	}
	return next, true
}

// TakeUpTo takes n tokens, or as many as there are.
func (l Limit) TakeUpTo(full, since, now time.Duration, n int) (next time.Duration, taken int) {
	full = max(full, since)
	if left := l.depth - (full - now); left < l.cost(n) {
		n = int(int64(left) * l.perSecond / int64(time.Second))
	}
	return full + l.cost(n), n
}

// Charge takes n tokens also if the bucket does not hold them. Until it has made up for that Take takes none.
func (l Limit) Charge(full, now time.Duration, n int) (next time.Duration) {
	return max(full, now) + l.cost(n)
}

func (l Limit) cost(n int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / l.perSecond)
}

// Bucket is safe for concurrent use. Its zero value is full.
type Bucket struct{ full atomic.Int64 }

// Take takes one token and reports whether there was one.
func (b *Bucket) Take(l Limit, now time.Duration) bool {
	for {
		full := b.full.Load()
		next, ok := l.Take(time.Duration(full), now, now, 1)
		if !ok {
			return false
		}
		if b.full.CompareAndSwap(full, int64(next)) {
			return true
		}
	}
}
