package result

import (
	"encoding/json"
	"math"
)

// Sample is one interval of a run: 0.1 s, or less where a measured window begins or
// ends. In a run of more than two minutes neighbours are joined, so that a result
// has 1,200 of them at most.
type Sample struct {
	At      float64 `json:"at"`      // its begin, in seconds since the first connect
	Seconds float64 `json:"seconds"` // its length
	// Connections are those open at its end.
	Connections int   `json:"connections"`
	Count       int64 `json:"count"` // units done in it
	// P50, P99 and Max are of the times of those units, in microseconds, to 2 %; NaN
	// (null in JSON) if there were none. Of joined samples they are the highest.
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	Max float64 `json:"max_us"`
	// Heat is the number of those times by how long they are: HeatBucket gives a time's
	// bucket, HeatFrom where a bucket begins. Buckets without a time are left out, and
	// there are at most HeatBuckets.
	Heat map[int]int64 `json:"heat,omitempty"`
	// RSS is the server's resident bytes at its end, of joined samples the most; 0 (null
	// in JSON): not known.
	RSS int64 `json:"rss"`
	// ServerCores is how many cores the server kept busy in it; NaN (null in JSON): not
	// known.
	ServerCores float64 `json:"server_cores"`
	// Measured: it lies in the measured window, of joined samples one of them.
	Measured bool `json:"measured"`
}

// HeatBuckets is how many buckets there are: ten for each power of ten from 1 us on,
// to beyond the longest time that is told apart.
const HeatBuckets = 90

// HeatBucket is the number of the bucket of a time in microseconds, from 0 to
// HeatBuckets-1: bucket b holds those from 10^(b/10) us up to 10^((b+1)/10) us, the
// first one all shorter times too, the last one all longer ones.
func HeatBucket(us float64) int {
	if !(us > 1) {
		return 0
	}
	return int(math.Floor(min(10*math.Log10(us)+1e-9, HeatBuckets-1)))
}

// HeatFrom is where a bucket begins, in microseconds.
func HeatFrom(bucket int) float64 { return math.Pow(10, float64(bucket)/10) }

// Join gives one sample for s and the one that follows it.
func (s Sample) Join(next Sample) Sample {
	joined := Sample{
		At: s.At, Seconds: s.Seconds + next.Seconds,
		Connections: next.Connections, Count: s.Count + next.Count,
		P50: higher(s.P50, next.P50), P99: higher(s.P99, next.P99), Max: higher(s.Max, next.Max),
		RSS: max(s.RSS, next.RSS), Measured: s.Measured || next.Measured,
	}
	for _, heat := range []map[int]int64{s.Heat, next.Heat} {
		for bucket, count := range heat {
			if joined.Heat == nil {
				joined.Heat = make(map[int]int64, len(heat))
			}
			joined.Heat[bucket] += count
		}
	}
	switch {
	case math.IsNaN(s.ServerCores):
		joined.ServerCores = next.ServerCores
	case math.IsNaN(next.ServerCores) || joined.Seconds <= 0:
		joined.ServerCores = s.ServerCores
	default:
		joined.ServerCores = (s.ServerCores*s.Seconds + next.ServerCores*next.Seconds) / joined.Seconds
	}
	return joined
}

// higher is the higher of two figures that may not be known.
func higher(a, b float64) float64 {
	if math.IsNaN(a) || b > a {
		return b
	}
	return a
}

// sampleJSON is a Sample whose unknown figures are null. The outer fields hide those
// of the same name in the inner struct.
type sampleJSON struct {
	plainSample
	P50         *float64 `json:"p50_us"`
	P99         *float64 `json:"p99_us"`
	Max         *float64 `json:"max_us"`
	RSS         *int64   `json:"rss"`
	ServerCores *float64 `json:"server_cores"`
}

type plainSample Sample

// MarshalJSON writes null for what is not known.
func (s Sample) MarshalJSON() ([]byte, error) {
	return json.Marshal(sampleJSON{
		plainSample(s), figureOrNull(s.P50), figureOrNull(s.P99), figureOrNull(s.Max), bytesOrNull(s.RSS), figureOrNull(s.ServerCores),
	})
}

// UnmarshalJSON takes null, and what is not there, for not known.
func (s *Sample) UnmarshalJSON(text []byte) error {
	var read sampleJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*s = Sample(read.plainSample)
	s.P50, s.P99, s.Max = orNaN(read.P50), orNaN(read.P99), orNaN(read.Max)
	s.RSS, s.ServerCores = orNone(read.RSS), orNaN(read.ServerCores)
	return nil
}
