package load_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/ws"
)

// timed answers on sockets when a service says. No answer is early, and it may be
// late by what the machine is. So what these tests hold figures to has one side: it
// is true on a machine that stalls, too.
type timed struct {
	began time.Time

	mu      sync.Mutex
	service service
}

// serveTimed starts a server of a service, until the test ends.
func serveTimed(t *testing.T, s service) (url string) {
	srv := &timed{began: time.Now(), service: s}
	return scripted(t, srv.serve)
}

// answered is when a message that has just come is to be answered.
func (s *timed) answered() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began.Add(s.service(time.Since(s.began)))
}

// serve reads a connection; another goroutine answers, in order.
func (s *timed) serve(p *peer) {
	if !p.upgrade() {
		return
	}
	type due struct {
		at    time.Time
		frame []byte
	}
	answers := make(chan due, 100_000)
	var writer sync.WaitGroup
	writer.Go(func() {
		for a := range answers {
			time.Sleep(time.Until(a.at))
			p.send(a.frame)
		}
	})
	for {
		op, payload, ok := p.next()
		if !ok {
			break
		}
		if op == ws.Close {
			answers <- due{time.Now(), ws.AppendFrame(nil, op, payload)}
			break
		}
		answers <- due{s.answered(), ws.AppendFrame(nil, op, payload)}
	}
	close(answers)
	writer.Wait()
}

// socketPlan is a short load of 1,000 messages a second where it is an open one.
func socketPlan(scenario, url string) result.Plan {
	return result.Plan{
		Scenario: scenario, URL: url, Connections: 20, Loops: 2, Rate: 1000,
		Warmup: 200 * time.Millisecond, Duration: 1500 * time.Millisecond, ServerPID: -1,
	}
}

// atLeast holds a time, in microseconds, to a lower bound, but for what a histogram
// rounds.
func atLeast(t *testing.T, what string, got float64, want time.Duration) {
	t.Helper()
	if us := float64(want) / 1e3; got < 0.998*us {
		t.Errorf("%s is %.0f us, want at least %.0f", what, got, us)
	}
}

// TestTimedFixed: no message takes less than it does at the server.
func TestTimedFixed(t *testing.T) {
	for _, scenario := range []string{result.Echo, result.Rate} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel() // it mostly waits
			r := run(t, socketPlan(scenario, serveTimed(t, fixed(5*time.Millisecond))), load.Watch{})
			wantTroubles(t, r)
			if n := slower(r.Latency, 5*time.Millisecond*998/1000); n != r.Latency.Count() {
				t.Errorf("%d of %d messages took less than 5 ms", r.Latency.Count()-n, r.Latency.Count())
			}
			if scenario == result.Rate {
				wantDue(t, "latency", r.Latency, 1000, r.Seconds, 1)
				return
			}
			wantAllTimed(t, r)
			if most := float64(r.Plan.Connections)/0.005*r.Seconds + float64(r.Plan.Connections); float64(r.Count) > most {
				t.Errorf("%d messages, want at most %.0f: one each 5 ms on a connection", r.Count, most)
			}
		})
	}
}

// TestTimedBimodal: of messages of which each is slow by a chance of 5 %, about as
// many are measured to be, 5 standard deviations less at least.
func TestTimedBimodal(t *testing.T) {
	t.Parallel()
	const share = 0.05
	random := rand.New(rand.NewPCG(1, 2)) // under the server's lock
	p := socketPlan(result.Rate, serveTimed(t, func(arrived time.Duration) time.Duration {
		if random.Float64() < share {
			return arrived + late
		}
		return arrived + soon
	}))
	p.Connections = 100 // a slow message is over before the next on its connection
	r := run(t, p, load.Watch{})
	wantTroubles(t, r)
	wantDue(t, "latency", r.Latency, 1000, r.Seconds, 1)
	n := float64(r.Latency.Count())
	if got, want := slower(r.Latency, late*998/1000), n*share-5*math.Sqrt(n*share*(1-share)); float64(got) < want {
		t.Errorf("%d of %.0f messages were slow, want %.0f at least", got, n, want)
	}
	atLeast(t, "p50", r.Latency.Quantile(0.5), soon)
	atLeast(t, "p99.9", r.Latency.Quantile(0.999), late)
}

// TestTimedStalls: each message that is due in a stall of 200 ms waits for its end.
// In the first half of each those wait 100 ms: 100 a stall, of which the window has
// two as a whole.
func TestTimedStalls(t *testing.T) {
	t.Parallel()
	r := run(t, socketPlan(result.Rate, serveTimed(t, stalling(soon, stall, 500*time.Millisecond))), load.Watch{})
	wantTroubles(t, r)
	wantDue(t, "latency", r.Latency, 1000, r.Seconds, 1)
	if got := slower(r.Latency, stall/2); got < 2*100-4 {
		t.Errorf("%d messages took %v, want 200", got, stall/2)
	}
	atLeast(t, "p99", r.Latency.Quantile(0.99), stall*9/10)
}

// TestTimedCapacity: a server that can do 500 a second is not measured to do more,
// and an open loop of twice that shows the queue.
func TestTimedCapacity(t *testing.T) {
	t.Run("closed loop", func(t *testing.T) {
		t.Parallel()
		r := run(t, socketPlan(result.Echo, serveTimed(t, queue(500))), load.Watch{})
		wantTroubles(t, r)
		// What is in flight may be answered before the window and come in it.
		if most := 500*r.Seconds + float64(r.Plan.Connections) + 1; float64(r.Count) > most {
			t.Errorf("%d messages in %v s, want at most %.0f", r.Count, r.Seconds, most)
		}
	})
	t.Run("open loop", func(t *testing.T) {
		t.Parallel()
		r := run(t, socketPlan(result.Rate, serveTimed(t, queue(500))), load.Watch{})
		wantTroubles(t, r)
		wantDue(t, "latency", r.Latency, 1000, r.Seconds, 1)
		// What is due T after the load's begin is done after 2 T. Who comes first of those
		// that are due about the same time is chance, so the mean, and with some room.
		middle := r.Plan.Warmup + r.Plan.Duration/2
		atLeast(t, "the mean", r.Latency.Mean(), middle*9/10)
	})
}

// TestTimedSweep: a sweep finds no knee above what a server can do. A rate that is
// too high by a fifteenth has a p99 of 50 ms at the end of a try; a lower one may
// fail on a machine that stalls.
func TestTimedSweep(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: it takes seconds")
	}
	t.Parallel()
	const most = 1000
	p := socketPlan(result.Sweep, serveTimed(t, queue(most)))
	p.Rate, p.Duration, p.Timeout = 500, 600*time.Millisecond, 5*patience
	r := run(t, p, load.Watch{})
	wantTroubles(t, r)
	t.Logf("knee %+v, notes %q", r.Knee, r.Notes)
	if r.Knee == nil {
		t.Skip("no rate held on this machine")
	}
	wantStepsOf(t, r)
	if r.Knee.Low > 1.15*most {
		t.Errorf("%.0f/s held, of a server that does %d", r.Knee.Low, most)
	}
}
