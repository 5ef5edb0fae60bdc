package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run measured. It is the content of millbench's --json.
type Result struct {
	Plan    Plan      `json:"plan"` // with its defaults filled in
	Machine Machine   `json:"machine"`
	Started time.Time `json:"started"`
	// Seconds is the length of the measured window.
	Seconds float64 `json:"seconds"`

	Opened int `json:"opened"` // connections upgraded, over the whole run
	Failed int `json:"failed"` // connections that were not
	Lost   int `json:"lost"`   // upgraded connections that ended before their time
	Peak   int `json:"peak"`   // most connections open at once

	// Count is how many of Unit were done in the measured window: messages that
	// came back (or, in broadcast, arrived), or connections in storm, churn and wave.
	Count int64  `json:"count"`
	Unit  string `json:"unit"` // "message" or "connection"
	// PerSecond is Count a second.
	PerSecond float64 `json:"per_second"`
	// Bytes of payload received in the measured window.
	Bytes int64 `json:"bytes"`

	// Latency is that of one Unit: a message's round trip (in an open loop from
	// the time it was due), a connection's whole life in churn, the time from
	// connect to upgrade in storm and wave; in broadcast from a message's sending
	// to its arrival at each receiver.
	Latency *Latency `json:"latency"`
	// Service is a message's round trip from its actual sending, in open loops
	// and churn.
	Service *Latency `json:"service,omitempty"`
	// Skew is the time from a message's first receiver to its last, in broadcast.
	Skew *Latency `json:"skew,omitempty"`
	// Connect is the time from connect to upgrade, over the whole run.
	Connect *Latency `json:"connect"`

	Server *ServerUse `json:"server,omitempty"` // nil: not known
	Client ClientUse  `json:"client"`

	Samples []Sample `json:"samples"`         // one a second, over the whole run
	Steps   []Step   `json:"steps,omitempty"` // a sweep's rates, a wave's returns, the phases of slow

	Troubles []Trouble `json:"troubles,omitempty"` // what went wrong: the run failed if there is one
	Notes    []string  `json:"notes,omitempty"`    // what a reader should know, a sentence each
}

// Machine says where a run took place.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	System string `json:"system"` // kernel and its version
	Go     string `json:"go"`
}

// ServerUse is what the server's process used.
type ServerUse struct {
	PID int `json:"pid"`
	// Name is the process's command name.
	Name string `json:"name"`
	// CPU is microseconds of CPU time for each Unit of the measured window.
	CPU float64 `json:"cpu_us"`
	// Cores is how many cores it kept busy.
	Cores float64 `json:"cores"`
	// Before and After are its resident bytes before the first connection and
	// at the end of the measured window, while the connections were open.
	Before int64 `json:"rss_before"`
	After  int64 `json:"rss_after"`
	// PerConnection is the growth of its resident bytes for each connection.
	PerConnection float64 `json:"rss_per_connection"`
}

// ClientUse is what the load generator used, its child processes included.
type ClientUse struct {
	Cores     float64 `json:"cores"`     // busy in the measured window
	Available int     `json:"available"` // it could have used
	Memory    int64   `json:"memory"`    // resident bytes at the end of the measured window
	// Late is by how much sendings of an open loop missed their time because of
	// the client itself.
	Late *Latency `json:"late,omitempty"`
	// Bottleneck is why the client, not the server, bounded the figures; "" if
	// it did not.
	Bottleneck string `json:"bottleneck,omitempty"`
}

// Sample is one second of a run.
type Sample struct {
	At          float64 `json:"at"`          // seconds since the first connect, at the sample's end
	Connections int     `json:"connections"` // open at its end
	Count       int64   `json:"count"`       // units done in it
	P50         float64 `json:"p50_us"`      // of Latency in it
	P99         float64 `json:"p99_us"`
	Max         float64 `json:"max_us"`
	RSS         int64   `json:"rss"`          // the server's resident bytes; 0: not known
	ServerCores float64 `json:"server_cores"` // busy in it
	Measured    bool    `json:"measured"`     // it lies in the measured window
}

// Step is one part of a run of several.
type Step struct {
	Name      string   `json:"name"`
	Offered   float64  `json:"offered,omitempty"` // units a second asked for
	PerSecond float64  `json:"per_second"`        // and done
	Seconds   float64  `json:"seconds"`
	Latency   *Latency `json:"latency"`
}

// Trouble is one kind of failure.
type Trouble struct {
	What  string `json:"what"`  // "connect: connection refused"
	Count int    `json:"count"` // how often
}

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
// microseconds: Quantile(0.99) is the p99, Quantile(1) the longest. It is 0 for
// nil.
func (l *Latency) Quantile(q float64) float64 {
	if l == nil {
		return 0
	}
	return float64(l.Histogram.ValueAtQuantile(q*100)) / 1e3
}

// Mean is in microseconds; 0 for nil.
func (l *Latency) Mean() float64 {
	if l.Count() == 0 {
		return 0
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
	Count     int64   `json:"count"`
	Mean      float64 `json:"mean_us"`
	P50       float64 `json:"p50_us"`
	P90       float64 `json:"p90_us"`
	P99       float64 `json:"p99_us"`
	P999      float64 `json:"p999_us"`
	P9999     float64 `json:"p9999_us"`
	Max       float64 `json:"max_us"`
	Histogram string  `json:"hdr"`
}

// MarshalJSON writes the figures that matter and the whole histogram.
func (l *Latency) MarshalJSON() ([]byte, error) {
	encoded, err := l.Histogram.Encode(hdr.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	return json.Marshal(latencyJSON{
		Count: l.Count(), Mean: l.Mean(),
		P50: l.Quantile(0.5), P90: l.Quantile(0.9), P99: l.Quantile(0.99),
		P999: l.Quantile(0.999), P9999: l.Quantile(0.9999), Max: l.Quantile(1),
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

// decode reads a histogram. The library panics on some of what is none.
func decode(text string) (histogram *hdr.Histogram, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("not an encoded HdrHistogram")
		}
	}()
	return hdr.Decode([]byte(text))
}
