package load_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// capacity is what the simulated servers here can do, in messages a second.
const capacity = 250

// sweepPlan is a sweep whose tries take 1.2 s.
func sweepPlan() result.Plan {
	return result.Plan{
		Scenario: result.Sweep, Connections: 20, Loops: 2, Rate: 50,
		Warmup: 200 * time.Millisecond, Duration: time.Second,
	}
}

const tryTime = 1200 * time.Millisecond

// pausing is a service that does nothing for a while, once.
func pausing(s service, from, length time.Duration) service {
	return func(arrived time.Duration) time.Duration {
		if from <= arrived && arrived < from+length {
			arrived = from + length
		}
		return s(arrived)
	}
}

// wantKnee checks that a sweep has found what a server can do: no rate below 95 % of
// it is too much, and none above 110 % held.
func wantKnee(t *testing.T, r *result.Result) {
	t.Helper()
	wantTroubles(t, r)
	k := r.Knee
	if k == nil || k.High == nil {
		t.Fatalf("no knee: %+v, notes %q, bottleneck %q", k, r.Notes, r.Client.Bottleneck)
	}
	if k.Low < 0.95*capacity || *k.High > 1.1*capacity || *k.High > k.Low*(1+r.Plan.SweepPrecision) || k.Bound != "" {
		t.Errorf("the knee is between %.0f and %.0f (%s), want it about %d, to %v", k.Low, *k.High, k.Bound, capacity, r.Plan.SweepPrecision)
	}
	if r.Client.Bottleneck != "" {
		t.Errorf("bottleneck %q", r.Client.Bottleneck)
	}
	wantStepsOf(t, r)
}

// wantStepsOf checks that a sweep's result is what its steps say.
func wantStepsOf(t *testing.T, r *result.Result) {
	t.Helper()
	low, high := map[string]int{}, map[string]int{} // verdicts that count, by rate
	disturbed := 0
	var held result.Step
	for _, s := range r.Steps {
		switch {
		case s.Disturbed != "":
			disturbed++
		case s.Offered == r.Knee.Low:
			low[s.Verdict]++
			held = s
		case r.Knee.High != nil && s.Offered == *r.Knee.High:
			high[s.Verdict]++
		}
	}
	if failed := low[result.OverLimit] + low[result.Behind]; low[result.Held] <= failed {
		t.Errorf("%.0f/s held: %v", r.Knee.Low, low)
	}
	if failed := high[result.OverLimit] + high[result.Behind]; r.Knee.High != nil && (failed < 2 || high[r.Knee.Broke] == 0) {
		t.Errorf("%.0f/s did not hold (%s): %v", *r.Knee.High, r.Knee.Broke, high)
	}
	if disturbed != r.Knee.Disturbed {
		t.Errorf("%d disturbed steps, want %d", disturbed, r.Knee.Disturbed)
	}
	if held.PerSecond != r.PerSecond || held.Seconds != r.Seconds || !held.Latency.Histogram.Equals(r.Latency.Histogram) {
		t.Errorf("%.0f/s in %v s, want those of %+v", r.PerSecond, r.Seconds, held)
	}
}

// TestSweepFindsTheCapacity: ten sweeps of a server with a bad moment, each at
// another time, find about the same, and what it can do.
func TestSweepFindsTheCapacity(t *testing.T) {
	for seed := range uint64(10) {
		if testing.Short() && seed > 0 {
			t.Skip("left to make thorough: more of the same")
		}
		random := rand.New(rand.NewPCG(seed, 0))
		// In the measured part of the second, third or fourth try.
		at := time.Duration(1+random.IntN(3))*tryTime + 300*time.Millisecond + time.Duration(random.Int64N(int64(400*time.Millisecond)))
		p := sweepPlan()
		p.Seed, p.Rate = seed+1, 40+20*random.Float64()
		r := simulate(t, p, world{service: pausing(queue(capacity), at, 400*time.Millisecond)})
		wantKnee(t, r)
		if r.Knee.Noise != 1 || r.Knee.Disturbed != 0 {
			t.Errorf("seed %d: %+v, want one lone failure", seed, r.Knee)
		}
	}
}

// TestSweepFromAbove: a sweep that begins too high goes down first.
func TestSweepFromAbove(t *testing.T) {
	p := sweepPlan()
	p.Rate = 1000
	r := simulate(t, p, world{service: queue(capacity)})
	wantKnee(t, r)
	if r.Steps[0].Verdict == result.Held || r.Knee.Broke != result.OverLimit {
		t.Errorf("the first of %+v held, or %+v", r.Steps, r.Knee)
	}
}

// TestSweepAfterABacklog: a rate that leaves more behind than the server does in
// time does not spoil the next ones.
func TestSweepAfterABacklog(t *testing.T) {
	p := sweepPlan()
	p.SweepFactor = 50
	free := time.Duration(0) // of a queue that forgets whose client has gone
	r := simulate(t, p, world{forget: func() { free = 0 }, service: func(arrived time.Duration) time.Duration {
		free = max(free, arrived) + time.Second/capacity
		return free
	}})
	wantKnee(t, r)
	if r.Opened == p.Connections {
		t.Error("no connection was made anew")
	}
}

// TestSweepUnbounded: where the server was not shown to be the limit, the sweep
// says at least, why, and no knee.
func TestSweepUnbounded(t *testing.T) {
	for name, tt := range map[string]struct {
		change     func(*result.Plan)
		world      world
		low        [2]float64 // bounds of the highest rate that held
		bound      string
		bottleneck string
	}{
		"all rates held": {
			func(p *result.Plan) { p.SweepMax = 175 }, world{service: queue(capacity)}, [2]float64{175, 175},
			"no higher rate was to be tried", "",
		},
		"client too slow": { // each of the two loops sends for 8 ms
			func(*result.Plan) {}, world{service: fixed(soon), client: slowly}, [2]float64{75, 275},
			"the client sent late in 5 failed tries of ", "it sent late at ",
		},
		"client too slow for the first": {
			func(p *result.Plan) { p.Rate = 1000 }, world{service: fixed(soon), client: slowly}, [2]float64{75, 275},
			"the client sent late in 5 failed tries of ", "it sent late at ",
		},
		"client too slow, on a machine that does not tell what it uses": {
			func(p *result.Plan) { p.Rate = 1000 }, world{service: fixed(soon), client: slowly, used: unknownUse}, [2]float64{75, 275},
			"the client sent late in 5 failed tries of ", "it sent late at ",
		},
		"time stolen": { // a fifth of the time, always
			func(*result.Plan) {}, world{service: queue(capacity), stolen: func(now time.Duration) time.Duration { return now / 5 }},
			[2]float64{150, 275}, "the host took time from the machine in 5 failed tries of ", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := sweepPlan()
			tt.change(&p)
			r := simulate(t, p, tt.world)
			wantTroubles(t, r)
			k := r.Knee
			if k == nil || k.High != nil || k.Broke != "" || k.Low < tt.low[0] || k.Low > tt.low[1] || !strings.HasPrefix(k.Bound, tt.bound) {
				t.Fatalf("knee %+v, want at least %v, and %q", k, tt.low, tt.bound)
			}
			if !strings.HasPrefix(r.Client.Bottleneck, tt.bottleneck) || (tt.bottleneck == "") != (r.Client.Bottleneck == "") {
				t.Errorf("bottleneck %q, want %q", r.Client.Bottleneck, tt.bottleneck)
			}
			rate := k.Bound[strings.LastIndex(k.Bound, " ")+1:]
			if tt.bottleneck != "" && !strings.HasPrefix(r.Client.Bottleneck, tt.bottleneck+rate) {
				t.Errorf("bottleneck %q at %s", r.Client.Bottleneck, rate)
			}
			if tt.world.used != nil && strings.Contains(r.Client.Bottleneck, "got") {
				t.Errorf("bottleneck %q, and nobody knows what it got", r.Client.Bottleneck)
			}
			if f, _ := r.Figure("knee"); f.Known {
				t.Errorf("figure %+v, want none", f)
			}
			wantStepsOf(t, r)
		})
	}
}

func unknownUse(time.Duration) (time.Duration, bool) { return 0, false }

// slowly is a way to the network on which the client takes 8 ms to send.
func slowly(n *simnet.Network) poller.Dialer { return slowDialer{n} }

type slowDialer struct{ *simnet.Network }

func (d slowDialer) Write(fd int, b []byte) (int, error) {
	time.Sleep(8 * time.Millisecond)
	return d.Network.Write(fd, b)
}

// TestSweepRepeatsWhatWasStolen: a try that failed while the host took time does
// not count against the server.
func TestSweepRepeatsWhatWasStolen(t *testing.T) {
	const at, length = tryTime + 400*time.Millisecond, 300 * time.Millisecond // in the second try
	r := simulate(t, sweepPlan(), world{
		service: pausing(queue(capacity), at, length),
		stolen:  func(now time.Duration) time.Duration { return min(max(now-at, 0), length) },
	})
	wantKnee(t, r)
	if r.Knee.Disturbed != 1 || r.Knee.Noise != 0 || r.Steps[1].Disturbed != result.BySteal || r.Steps[2].Offered != r.Steps[1].Offered {
		t.Errorf("%+v, steps %+v, want the second repeated", r.Knee, r.Steps[:3])
	}
}

// TestSweepOfTheDying: a server that leaves messages unanswered has not held the rate,
// however low that is, and however soon it answered the others.
func TestSweepOfTheDying(t *testing.T) {
	const never = 10 * time.Hour
	for name, tt := range map[string]struct {
		rate    float64
		warmup  time.Duration
		service func(count int) time.Duration // how long the n-th message takes
		verdict string
	}{
		// 20 are due behind 4 of the warm-up, and 11 come back, in 8 loops.
		"half of a few": {20, 200 * time.Millisecond, func(n int) time.Duration { return after(n, 15, soon, never) }, result.Behind},
		// What comes back in the window was due before it.
		"none of the window's": {100, time.Second, func(n int) time.Duration { return after(n, 100, time.Second, never) }, result.OverLimit},
		// 4 % of 200, which the loops could have under way.
		"a few of many": {200, 200 * time.Millisecond, func(n int) time.Duration { return after(n, 40+192, soon, never) }, result.OverLimit},
	} {
		t.Run(name, func(t *testing.T) {
			p := sweepPlan()
			p.Loops, p.Rate, p.SweepMax, p.Warmup, p.FirstReply = 8, tt.rate, tt.rate, tt.warmup, patience
			count, died := 0, false
			r := simulate(t, p, world{forget: func() { died = true }, service: func(arrived time.Duration) time.Duration {
				if count++; died { // and is back
					return arrived + soon
				}
				return arrived + tt.service(count)
			}})
			if r.Steps[0].Verdict != tt.verdict || r.Knee == nil || r.Knee.Noise != 1 || r.Knee.Low != tt.rate {
				t.Errorf("%s, %d times of %.0f/s; knee %+v, want it %s once",
					r.Steps[0].Verdict, r.Steps[0].Latency.Count(), r.Steps[0].PerSecond, r.Knee, tt.verdict)
			}
		})
	}
}

// after is one thing for the first few, and another for the rest.
func after(n, few int, first, rest time.Duration) time.Duration {
	if n <= few {
		return first
	}
	return rest
}

// TestSweepOfTheHopeless: a server that is too slow at any rate has no knee.
func TestSweepOfTheHopeless(t *testing.T) {
	r := simulate(t, sweepPlan(), world{service: fixed(100 * time.Millisecond)})
	wantTroubles(t, r)
	if r.Knee != nil || len(r.Notes) != 1 || r.Notes[0] != "no rate held, down to 20/s; at a lower rate fewer than 20 messages are due in a try" {
		t.Errorf("knee %+v, notes %q", r.Knee, r.Notes)
	}
	if last := r.Steps[len(r.Steps)-1]; last.Offered != 20 || last.PerSecond != r.PerSecond {
		t.Errorf("%v/s, want that of %+v", r.PerSecond, last)
	}
}

// TestSweepInterrupted: a sweep that is ended early says what it knows by then.
func TestSweepInterrupted(t *testing.T) {
	p := sweepPlan()
	p.Timeout = 3*tryTime + 700*time.Millisecond // in the window of the fourth try
	r := simulate(t, p, world{service: queue(capacity)})
	if len(r.Troubles) != 1 || len(r.Steps) != 4 || r.Steps[3].Verdict != "" {
		t.Errorf("troubles %+v, steps %+v", r.Troubles, r.Steps)
	}
	if k := r.Knee; k == nil || k.Low != r.Steps[2].Offered || k.High != nil || k.Bound != "the run ended before" {
		t.Fatalf("knee %+v", k)
	}
	wantStepsOf(t, r)
}

// TestSweepInterruptedBetween: so does one that ends while it connects anew for the
// next try.
func TestSweepInterruptedBetween(t *testing.T) {
	p := sweepPlan()
	p.Timeout = 9 * time.Second // the second try waits for 5 s in vain
	r := simulate(t, p, world{
		service: func(arrived time.Duration) time.Duration {
			if arrived > tryTime+100*time.Millisecond { // in the warm-up of the second
				return time.Hour
			}
			return arrived + soon
		},
		frozen: func(now time.Duration) time.Duration {
			if now > 7*time.Second {
				return time.Hour
			}
			return now
		},
	})
	if len(r.Steps) != 2 || r.EndedEarly == "" {
		t.Errorf("steps %+v, ended early %q", r.Steps, r.EndedEarly)
	}
	if k := r.Knee; k == nil || k.Low != r.Steps[0].Offered || k.High != nil || k.Bound != "the run ended before" {
		t.Errorf("knee %+v, want one that says why it is open", k)
	}
}

// TestSweepIsBounded: a server of which each rate may be too much does not keep a sweep
// at it for ever.
func TestSweepIsBounded(t *testing.T) {
	p := sweepPlan()
	p.Rate, p.SweepPrecision, p.Duration, p.Warmup, p.SweepFactor = 100, 0.001, 200*time.Millisecond, -1, 1.01
	r := simulate(t, p, world{service: queue(capacity)})
	wantTroubles(t, r)
	if len(r.Steps) != 100 || r.Knee == nil || r.Knee.Bound != "all of 100 tries were used up" {
		t.Errorf("%d steps, knee %+v", len(r.Steps), r.Knee)
	}
}
