package load_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// known is a run against a service whose times can be computed.
type known struct {
	name    string
	plan    result.Plan
	service func() service
	truth   []time.Duration // of each message in the window, in any order; for few, a sample in the right shares
	rate    float64         // messages a second that come back
}

// open is an open loop, measured for two periods of the stalls.
func open(rate float64) result.Plan {
	return result.Plan{
		Scenario: result.Rate, Connections: 100, Loops: 2, Rate: rate, Warmup: warmup, Duration: 2 * period,
	}
}

// closed is a closed loop.
func closed(connections int) result.Plan {
	return result.Plan{Scenario: result.Echo, Connections: connections, Loops: 2, Warmup: warmup, Duration: 2 * period}
}

const (
	warmup = 500300 * time.Microsecond // nothing happens just when the window begins or ends: which came first were chance
	soon   = time.Millisecond
	late   = 20 * time.Millisecond
	stall  = 200 * time.Millisecond
	period = 2 * time.Second
)

// each gives the truth of an open loop: what a message takes that is due so long
// after the load's begin, for all that are due in the window.
func each(p result.Plan, takes func(due time.Duration) time.Duration) (truth []time.Duration) {
	gap := time.Duration(float64(time.Second) / p.Rate)
	for due := p.Warmup; due < p.Warmup+p.Duration; due += gap {
		truth = append(truth, takes(due))
	}
	return truth
}

// shares gives n times d, and so on.
func shares(parts map[time.Duration]int) (truth []time.Duration) {
	for d, n := range parts {
		truth = append(truth, slices.Repeat([]time.Duration{d}, n)...)
	}
	return truth
}

func knownRuns() []known {
	stalls := func() service { return stalling(soon, stall, period) }
	two := func() service { return bimodal(soon, late, 100) }
	return []known{
		{"fixed, closed", closed(2), func() service { return fixed(soon) }, shares(map[time.Duration]int{soon: 1}), 2000},
		{"fixed, open", open(1000), func() service { return fixed(soon) }, shares(map[time.Duration]int{soon: 1}), 1000},
		// A closed loop waits for the late ones: 2 connections in (99*1 + 20) / 100 ms.
		{"bimodal, closed", closed(2), two, shares(map[time.Duration]int{soon: 99, late: 1}), 2 / 0.00119},
		{"bimodal, open", open(1000), two, shares(map[time.Duration]int{soon: 99, late: 1}), 1000},
		// What is due in a stall waits for its end: the closed loop has one message of each
		// connection there, which it sent just before, and knows of no others.
		{"stalls, closed", closed(2), stalls, shares(map[time.Duration]int{soon: 1800, stall + soon/2: 1}), 1800},
		// The open loop has all that was due, as users would: coordinated omission would
		// hide it.
		{"stalls, open", open(1000), stalls, each(open(1000), func(due time.Duration) time.Duration {
			if into := (due + soon) % period; into < stall {
				return stall - into + soon
			}
			return soon
		}), 1000},
		{"capacity, closed", closed(10), func() service { return queue(1000) }, shares(map[time.Duration]int{10 * time.Millisecond: 1}), 1000},
		{"capacity, half of it", open(500), func() service { return queue(1000) }, shares(map[time.Duration]int{soon: 1}), 500},
		// The queue grows from the begin on, also before the window: what is due after T is
		// done after 1.5 T, and took the half of T.
		{"capacity, more than that", open(1500), func() service { return queue(1000) }, each(open(1500), func(due time.Duration) time.Duration {
			return due/2 + soon
		}), 1000},
	}
}

// TestKnownLatency measures services whose times are known, on a clock without
// noise: the figures have to be right to 1 %.
func TestKnownLatency(t *testing.T) {
	for _, k := range knownRuns() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			wantKnown(t, k, simulate(t, k.plan, world{service: k.service()}))
		})
	}
}

// wantKnown holds a run's figures to the truth.
func wantKnown(t *testing.T, k known, r *result.Result) {
	t.Helper()
	wantTroubles(t, r)
	slices.Sort(k.truth)
	for _, q := range []float64{0.5, 0.999, 1} {
		want := k.truth[max(int(math.Ceil(q*float64(len(k.truth)))), 1)-1]
		within(t, quantileName(q), r.Latency.Quantile(q), float64(want)/1e3)
	}
	within(t, "rate", r.PerSecond, k.rate)
	within(t, "seconds", r.Seconds, k.plan.Duration.Seconds())
	if k.plan.Scenario == result.Rate {
		wantDue(t, "latency", r.Latency, k.plan.Rate, r.Seconds, 1)
		if late := r.Client.Late.Quantile(1); late > 0.001 {
			t.Errorf("sent up to %v us late, on a clock that waits", late)
		}
	}
}

// TestKnownFrozen: a server that does not even read for a while has the messages pile
// up at the client, whose windows are full. They count from when they were due, not
// from when they could be sent.
func TestKnownFrozen(t *testing.T) {
	p := open(1000)
	p.Connections = 20
	truth := each(p, func(due time.Duration) time.Duration {
		switch into := (due + soon) % period; {
		case into < soon: // read before, answered after
			return stall - into + soon
		case into < stall+soon:
			return stall - into + 2*soon
		}
		return soon
	})
	k := known{plan: p, truth: truth, rate: p.Rate}
	r := simulate(t, p, world{service: fixed(soon), window: 200, frozen: func(now time.Duration) time.Duration {
		if begin := now.Truncate(period); now < begin+stall {
			return begin + stall
		}
		return now
	}})
	wantKnown(t, k, r)
	if service, latency := r.Service.Mean(), r.Latency.Mean(); service > 0.7*latency {
		t.Errorf("the service's mean is %v us, of %v in all: the windows were never full", service, latency)
	}
}

func quantileName(q float64) string {
	return map[float64]string{0.5: "p50", 0.999: "p99.9", 1: "max"}[q]
}

// within holds a figure to 1 % of what it has to be.
func within(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.01*want {
		t.Errorf("%s is %.6g, want %.6g to 1 %%", what, got, want)
	}
}

// TestSimulatedRunsAreAlike: the clock moves only when all wait, so that two runs
// give the same times.
func TestSimulatedRunsAreAlike(t *testing.T) {
	measured := func() *result.Result {
		return simulate(t, open(1000), world{service: stalling(soon, stall, period)})
	}
	a, b := measured(), measured()
	if a.Count != b.Count || !a.Latency.Histogram.Equals(b.Latency.Histogram) || !a.Service.Histogram.Equals(b.Service.Histogram) {
		t.Errorf("%d messages, mean %v us, and %d, mean %v us", a.Count, a.Latency.Mean(), b.Count, b.Latency.Mean())
	}
}

// slower counts the times from d on.
func slower(l *result.Latency, d time.Duration) (n int64) {
	if l == nil {
		return 0
	}
	for _, bar := range l.Histogram.Distribution() {
		if bar.From >= int64(d) {
			n += bar.Count
		}
	}
	return n
}
