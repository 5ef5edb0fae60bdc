package load

import (
	"math"
	"math/bits"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// tally counts the times of one sample, to 2 %. It is small enough to be copied ten
// times a second while its loop waits, which a result.Latency is not.
type tally struct {
	counts [tallyBuckets]uint32
	total  int64
	most   time.Duration
}

// A time below 64 ns has a bucket of its own; from there on each doubling has 32.
const (
	tallyHalf    = 32
	tallyBits    = 6 // of a bucket's number within two doublings
	tallyBuckets = (40-tallyBits)*tallyHalf + 2*tallyHalf
	tallyLongest = time.Duration(1<<40 - 1) // 18 minutes
)

func (t *tally) record(d time.Duration) {
	v := uint64(min(max(d, 0), tallyLongest))
	exponent := max(bits.Len64(v)-tallyBits, 0)
	t.counts[exponent*tallyHalf+int(v>>exponent)]++
	t.total++
	t.most = max(t.most, d)
}

// middle is the middle of a bucket, in nanoseconds.
func (t *tally) middle(bucket int) float64 {
	if bucket < 2*tallyHalf {
		return float64(bucket)
	}
	exponent := bucket/tallyHalf - 1
	least, width := (bucket%tallyHalf+tallyHalf)<<exponent, 1<<exponent
	return min(float64(least)+float64(width)/2, float64(t.most))
}

func (t *tally) add(other *tally) {
	for i, n := range other.counts {
		t.counts[i] += n
	}
	t.total += other.total
	t.most = max(t.most, other.most)
}

// quantile is in microseconds; NaN if there is no time.
func (t *tally) quantile(q float64) float64 {
	rank, seen := int64(math.Ceil(q*float64(t.total))), int64(0)
	for i, n := range t.counts {
		if seen += int64(n); n > 0 && seen >= rank {
			return t.middle(i) / 1e3
		}
	}
	return result.Unknown()
}

// describe puts the times into a sample.
func (t *tally) describe(s *result.Sample) {
	s.P50, s.P99, s.Max, s.Heat = t.quantile(0.5), t.quantile(0.99), result.Unknown(), nil
	if t.total > 0 {
		s.Max, s.Heat = float64(t.most)/1e3, map[int]int64{}
	}
	for i, n := range t.counts {
		if n > 0 {
			s.Heat[result.HeatBucket(t.middle(i)/1e3)] += int64(n)
		}
	}
}

// sparse is a tally as it is sent.
type sparse struct {
	Counts map[int]uint32 `json:"counts"` // by bucket
	Most   time.Duration  `json:"most"`
}

func (t *tally) sparse() sparse {
	s := sparse{Counts: map[int]uint32{}, Most: t.most}
	for i, n := range t.counts {
		if n > 0 {
			s.Counts[i] = n
		}
	}
	return s
}

// addSparse adds what another process sent, which may be anything.
func (t *tally) addSparse(s sparse) {
	for i, n := range s.Counts {
		if i >= 0 && i < len(t.counts) {
			t.counts[i] += n
			t.total += int64(n)
		}
	}
	t.most = max(t.most, s.Most)
}
