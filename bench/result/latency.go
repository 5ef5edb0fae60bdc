package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a distribution of times.
type Latency struct {
	Histogram *hdr.Histogram // of nanoseconds
}

// maxLatency is the longest time a histogram can tell; longer ones count as it.
const maxLatency = 10 * time.Minute

// NewLatency is an empty distribution: 1 ns to 10 minutes, 3 significant digits,
// 260 KB.
func NewLatency() *Latency {
	return &Latency{Histogram: hdr.New(1, int64(maxLatency), 3)}
}

// Record adds one time.
func (l *Latency) Record(d time.Duration) {
	// Within bounds it cannot fail.
	_ = l.Histogram.RecordValue(int64(min(max(d, 0), maxLatency)))
}

// Count is how many times were recorded; 0 for nil.
func (l *Latency) Count() int64 {
	if l == nil {
		return 0
	}
	return l.Histogram.TotalCount()
}

// Quantile gives the time that a share q of all times does not exceed, in
// microseconds: Quantile(0.99) is the p99, Quantile(1) the longest. It is NaN if there
// are no times, as for nil.
func (l *Latency) Quantile(q float64) float64 {
	if l.Count() == 0 {
		return Unknown()
	}
	return float64(l.Histogram.ValueAtQuantile(q*100)) / 1e3
}

// Mean is in microseconds; NaN if there are no times, as for nil.
func (l *Latency) Mean() float64 {
	if l.Count() == 0 {
		return Unknown()
	}
	return l.Histogram.Mean() / 1e3
}

// Merge adds all times of another distribution, which may be nil.
func (l *Latency) Merge(other *Latency) {
	if other != nil {
		l.Histogram.Merge(other.Histogram)
	}
}

// latencyJSON is how a Latency is written: figures to read, and the histogram
// itself as HdrHistogram encodes it (V2, compressed, base64).
type latencyJSON struct {
	Count     int64    `json:"count"`
	Mean      *float64 `json:"mean_us"` // null, as what follows, if there are no times
	P50       *float64 `json:"p50_us"`
	P90       *float64 `json:"p90_us"`
	P99       *float64 `json:"p99_us"`
	P999      *float64 `json:"p999_us"`
	P9999     *float64 `json:"p9999_us"`
	Max       *float64 `json:"max_us"`
	Histogram string   `json:"hdr"`
}

// MarshalJSON writes the figures that matter and the whole histogram.
func (l *Latency) MarshalJSON() ([]byte, error) {
	encoded, err := l.Histogram.Encode(hdr.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	at := func(q float64) *float64 { return figureOrNull(l.Quantile(q)) }
	return json.Marshal(latencyJSON{
		Count: l.Count(), Mean: figureOrNull(l.Mean()),
		P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), P9999: at(0.9999), Max: at(1),
		Histogram: string(encoded),
	})
}

// UnmarshalJSON reads the histogram back.
func (l *Latency) UnmarshalJSON(text []byte) error {
	var read latencyJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	histogram, err := decode(read.Histogram)
	if err != nil {
		return fmt.Errorf("bench: a latency's histogram: %w", err)
	}
	l.Histogram = histogram
	return nil
}

// maxTimes is how many times a histogram from a file may hold: the library computes
// quantiles in float64, and panics where that rounds.
const maxTimes = 1 << 51

// decode reads a histogram. The library panics on some of what is none, and takes counts
// that can not be.
func decode(text string) (histogram *hdr.Histogram, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("not an encoded HdrHistogram")
		}
	}()
	if histogram, err = hdr.Decode([]byte(text)); err != nil {
		return nil, err
	}
	var all int64
	for _, count := range histogram.Export().Counts {
		if count < 0 || count > maxTimes-all {
			return nil, errors.New("an encoded HdrHistogram with counts that can not be")
		}
		all += count
	}
	return histogram, nil
}
