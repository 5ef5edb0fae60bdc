package rate_test

import (
	"math"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/rate"
)

func TestTake(t *testing.T) {
	tests := []struct {
		name             string
		perSecond, burst int64
		at               []time.Duration // when a token is asked for
		want             []bool
	}{
		{"a burst at once, then none", 10, 3, []time.Duration{0, 0, 0, 0}, []bool{true, true, true, false}},
		{"at the rate for ever", 10, 1, times(5, 100*time.Millisecond), []bool{true, true, true, true, true}},
		{"a bit faster than the rate", 10, 1, times(3, 99*time.Millisecond), []bool{true, false, true}},
		{"without a burst, a second's worth", 2, 0, []time.Duration{0, 0, 0}, []bool{true, true, false}},
		{"what a pause saves is bounded by the burst", 10, 2, []time.Duration{0, time.Hour, time.Hour, time.Hour}, []bool{true, true, true, false}},
		{"a refused token costs nothing", 10, 1, []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond}, []bool{true, false, true}},
		{"huge figures", math.MaxInt64, math.MaxInt64, []time.Duration{0, 0}, []bool{true, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			limit, full := rate.New(test.perSecond, test.burst), time.Duration(0)
			for i, now := range test.at {
				var ok bool
				if full, ok = limit.Take(full, now, now, 1); ok != test.want[i] {
					t.Errorf("token %d, at %v: %v, want %v", i, now, ok, test.want[i])
				}
			}
		})
	}
}

// TestCharge: what is taken beyond what there is has to come first.
func TestCharge(t *testing.T) {
	limit := rate.New(10, 2)
	full := limit.Charge(0, time.Second, 5) // three too many, at 100 ms each
	for at, want := range map[time.Duration]bool{time.Second: false, 1399 * time.Millisecond: false, 1400 * time.Millisecond: true} {
		if _, ok := limit.Take(full, at, at, 1); ok != want {
			t.Errorf("at %v: %v", at, ok)
		}
	}
	if later := limit.Charge(full, time.Hour, 1); later != time.Hour+100*time.Millisecond {
		t.Errorf("it was full again, and will be at %v", later)
	}
}

func times(n int, every time.Duration) (all []time.Duration) {
	for i := range n {
		all = append(all, time.Duration(i)*every)
	}
	return all
}

func TestLimited(t *testing.T) {
	var none rate.Limit
	for _, unlimited := range []rate.Limit{none, rate.New(0, 5), rate.New(-1, 5)} {
		if unlimited.Limited() {
			t.Errorf("%+v has a limit", unlimited)
		}
	}
	if !rate.New(1, 0).Limited() {
		t.Error("1 a second is no limit")
	}
}

// TestSince: who has had no chance to be served asks for what came meanwhile too.
func TestSince(t *testing.T) {
	limit := rate.New(10, 1)
	full, _ := limit.Take(0, 0, 0, 1)
	now := time.Second
	for i := range 10 {
		var ok bool
		if full, ok = limit.Take(full, 0, now, 1); !ok {
			t.Fatalf("token %d of a second in which nobody was served is refused", i)
		}
	}
	if _, ok := limit.Take(full, 0, now, 1); ok {
		t.Error("there is one token more than the time has brought")
	}
}

func TestTakeUpTo(t *testing.T) {
	limit := rate.New(1000, 100)
	full, taken := limit.TakeUpTo(0, 0, 0, 60)
	if taken != 60 {
		t.Fatalf("%d tokens of a full bucket, want 60", taken)
	}
	if full, taken = limit.TakeUpTo(full, 0, 0, 60); taken != 40 {
		t.Fatalf("%d of the 40 tokens that were left", taken)
	}
	if _, taken = limit.TakeUpTo(full, 0, 0, 60); taken != 0 {
		t.Fatalf("%d tokens of an empty bucket", taken)
	}
	if _, taken = limit.TakeUpTo(full, 10*time.Millisecond, 10*time.Millisecond, 60); taken != 10 {
		t.Errorf("%d tokens after the time of 10", taken)
	}
}

// TestBucket has many goroutines take from one bucket: as many get a token as there
// are.
func TestBucket(t *testing.T) {
	const burst, takers = 1000, 8
	var (
		bucket rate.Bucket
		got    atomic.Int64
		all    sync.WaitGroup
	)
	limit := rate.New(1, burst)
	for range takers {
		all.Go(func() {
			for range burst {
				if bucket.Take(limit, time.Hour) {
					got.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got.Load() != burst {
		t.Errorf("%d tokens of a burst of %d", got.Load(), burst)
	}
}

// FuzzTake compares with a bucket that is counted in exact fractions.
func FuzzTake(f *testing.F) {
	f.Add(int64(10), int64(3), []byte{0, 1, 200, 3, 0, 0})
	f.Add(int64(1), int64(0), []byte{255, 1, 255, 1})
	f.Add(int64(1e9), int64(1e9), []byte{0, 9, 1, 9})
	f.Fuzz(func(t *testing.T, perSecond, burst int64, steps []byte) {
		perSecond, burst = perSecond%1e6, burst%1e6
		if perSecond <= 0 || burst < 0 || len(steps) > 1000 {
			return
		}
		limit := rate.New(perSecond, burst)
		if burst == 0 {
			burst = perSecond
		}
		second := big.NewRat(int64(time.Second), 1)
		tokens, slack := big.NewRat(burst, 1), big.NewRat(perSecond, int64(time.Second)) // what a nanosecond brings
		full, now := time.Duration(0), time.Duration(0)
		for i := 0; i+1 < len(steps); i += 2 {
			passed := time.Duration(steps[i]) * time.Millisecond
			now += passed
			tokens.Add(tokens, new(big.Rat).Quo(big.NewRat(int64(passed)*perSecond, 1), second))
			if most := big.NewRat(burst, 1); tokens.Cmp(most) > 0 {
				tokens = most
			}
			n := int64(steps[i+1])
			next, ok := limit.Take(full, now, now, int(n))
			after := new(big.Rat).Sub(tokens, big.NewRat(n, 1))
			rounding := new(big.Rat).Mul(slack, big.NewRat(int64(i+4), 1))
			if ok && after.Cmp(new(big.Rat).Neg(rounding)) < 0 || !ok && after.Cmp(rounding) > 0 {
				t.Fatalf("step %d: %d of %s tokens: %v", i, n, tokens.FloatString(9), ok)
			}
			if full = next; ok {
				tokens = after
			}
		}
	})
}
