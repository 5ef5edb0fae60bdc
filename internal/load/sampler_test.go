package load_test

import (
	"math"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/internal/process"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// TestSamplesAreJoined: a long run keeps a bounded number of samples, and nothing of
// what they say is lost: no unit, no second and not the one stall.
func TestSamplesAreJoined(t *testing.T) {
	for _, n := range []int{1, load.MaxSamples, load.MaxSamples + 1, 3*load.MaxSamples + 7, 40_000} {
		var all []result.Sample
		for i := range n {
			s := load.SampleOf(time.Millisecond, 2*time.Millisecond)
			s.At, s.Seconds, s.Count, s.ServerCores = float64(i)/10, 0.1, 2, 0.5
			if i == n/3 {
				s.Max, s.RSS = 1e6, 7<<20
			}
			all = append(all, s)
		}
		kept := load.KeepSamples(all)
		if len(kept) > load.MaxSamples || len(kept) < min(n, load.MaxSamples/2) {
			t.Errorf("%d of %d samples are kept", len(kept), n)
		}
		whole := kept[0]
		for _, s := range kept[1:] {
			if math.Abs(s.At-whole.At-whole.Seconds) > 1e-6 {
				t.Fatalf("of %d: a sample at %v s follows one that ends at %v s", n, s.At, whole.At+whole.Seconds)
			}
			whole = whole.Join(s)
		}
		heat := int64(0)
		for _, count := range whole.Heat {
			heat += count
		}
		if whole.Count != int64(2*n) || heat != whole.Count || math.Abs(whole.Seconds-float64(n)/10) > 1e-6 ||
			whole.Max != 1e6 || whole.RSS != 7<<20 || math.Abs(whole.ServerCores-0.5) > 1e-6 {
			t.Errorf("%d samples of 0.1 s and 2 units are %+v", n, whole)
		}
	}
}

// TestSampleQuantiles: a sample's times are right to 2 %, the longest exactly.
func TestSampleQuantiles(t *testing.T) {
	var times []time.Duration
	for i := range 1000 {
		times = append(times, time.Duration(i+1)*3*time.Microsecond)
	}
	s := load.SampleOf(times...)
	for _, tt := range []struct{ got, want, off float64 }{{s.P50, 1500, 0.02}, {s.P99, 2970, 0.02}, {s.Max, 3000, 0}} {
		if math.Abs(tt.got-tt.want) > tt.want*tt.off {
			t.Errorf("%v us, want %v", tt.got, tt.want)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 65, 127, 128, time.Millisecond, time.Second, 600 * time.Second, time.Hour} {
		s := load.SampleOf(d, d)
		want := float64(min(max(d, 0), 1<<40-1)) / 1e3
		if math.Abs(s.P50-want) > 0.02*want || s.P99 != s.P50 || s.Heat[result.HeatBucket(s.P50)] != 2 {
			t.Errorf("%v: %+v", d, s)
		}
	}
	if s := load.SampleOf(); !math.IsNaN(s.P50) || !math.IsNaN(s.Max) || s.Heat != nil {
		t.Errorf("of no times: %+v", s)
	}
}

// TestSamplesOfABusyClient: the client's loop is busy for a while, and who takes a
// sample waits for it. That sample ends after the wait, and the server's cores, which it
// keeps busy as evenly as ever, are those of the same time.
func TestSamplesOfABusyClient(t *testing.T) {
	if _, err := process.Self(); err != nil {
		t.Skip(err)
	}
	const from, length = 720 * time.Millisecond, 250 * time.Millisecond // within a sample, to within another
	p := open(1000)
	p.Loops, p.Duration = 1, time.Second
	r := simulate(t, p, world{
		service: fixed(soon),
		client:  func(n *simnet.Network) poller.Dialer { return &busyDialer{n, from, length} },
		used:    func(now time.Duration) (time.Duration, bool) { return now / 2, true },
	})
	wantTroubles(t, r)
	for _, s := range r.Samples {
		if end := time.Duration((s.At + s.Seconds) * 1e9); end > from+time.Millisecond && end < from+length {
			t.Errorf("a sample ends at %v, when the loop is busy", end)
		}
		if math.Abs(s.ServerCores-0.5) > 1e-6 {
			t.Errorf("the server keeps %v cores busy at %v s, want 0.5", s.ServerCores, s.At)
		}
	}
}

// busyDialer is a way to the network on which the client once takes long to send.
type busyDialer struct {
	*simnet.Network
	from, length time.Duration
}

func (d *busyDialer) Write(fd int, b []byte) (int, error) {
	if d.Now() > d.from && d.length > 0 {
		time.Sleep(d.length)
		d.length = 0
	}
	return d.Network.Write(fd, b)
}
