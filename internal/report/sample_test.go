package report_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/millrace/millrace/bench/result"
)

var scenarios = result.Scenarios()

// latency makes a distribution of n times around a median, with a long tail.
func latency(n int, median time.Duration) *result.Latency {
	l := result.NewLatency()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for range n {
		l.Record(time.Duration(float64(median) * math.Exp(random.NormFloat64()*0.35) * (1 + 0.02*random.ExpFloat64())))
	}
	l.Record(30 * median)
	return l
}

// sample makes up what a run of a scenario would give: 12 s, of which the last 10
// are measured.
func sample(scenario string) *result.Result {
	r := &result.Result{
		Plan: result.Plan{
			Scenario: scenario, URL: "ws://127.0.0.1:8080/echo", Connections: 1000, MinSize: 64, MaxSize: 64,
			InFlight: 1, Warmup: 2 * time.Second, Duration: 10 * time.Second, Seed: 1, Loops: 2, Handshakes: 256,
		},
		Machine: result.Machine{CPU: "Intel(R) Xeon(R) Processor @ 2.90GHz", Cores: 2, System: "Linux 6.1.0", Go: "go1.26.1"},
		Started: time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC),
		Seconds: 10, Opened: 1000, Peak: 1000, Count: 1_024_690, Unit: "message", PerSecond: 102_469,
		Bytes:   65_580_160,
		Latency: latency(5000, 812*time.Microsecond),
		Connect: latency(1000, 3*time.Millisecond),
		Server: &result.ServerUse{PID: 4242, Name: "millrace", CPU: 4.31, Cores: 0.44, Before: 12 << 20,
			After: 13 << 20, PerConnection: 187.4},
		Client: result.ClientUse{Cores: 0.8, Available: 2, Memory: 43 << 20},
	}
	random := rand.New(rand.NewPCG(2, 3))
	for i := range 12 {
		r.Samples = append(r.Samples, result.Sample{
			At: float64(i), Seconds: 1, Connections: min(1000, 450*(i+1)), Measured: i >= 2,
			Count: int64(102_469 * (0.95 + 0.1*random.Float64())), P50: 800 + 40*random.Float64(),
			P99: 1900 + 500*random.Float64(), Max: 4000 * (1 + random.ExpFloat64()),
			RSS: 12<<20 + int64(min(i, 3))<<18, ServerCores: 0.42 + 0.04*random.Float64(),
		})
	}
	shape(r)
	return r
}

// shape gives a result what only its scenario has.
func shape(r *result.Result) {
	switch r.Plan.Scenario {
	case result.Rate:
		r.Plan.Rate = 20_000
		r.Service = latency(5000, 300*time.Microsecond)
		r.Client.Late = latency(5000, 20*time.Microsecond)
	case result.Broadcast:
		r.Unit, r.Plan.Rate, r.Plan.Publishers, r.Plan.InFlight = "delivery", 100, 1, 0
		r.Last, r.Skew = latency(1000, 2*time.Millisecond), latency(1000, 1500*time.Microsecond)
		r.Client.Late = latency(1000, 20*time.Microsecond)
		r.Publication = &result.Publication{Published: 1000, PerSecond: 100, Own: true}
	case result.Sweep:
		r.Plan.Rate, r.Plan.SweepFactor, r.Plan.SweepLimit, r.Plan.SweepPrecision = 5000, 1.5, 50*time.Millisecond, 0.5
		r.Service = latency(5000, 300*time.Microsecond)
		for i, rate := 0, 5000.0; i < 9; i, rate = i+1, rate*1.5 {
			done, median := min(rate, 93_000), time.Duration(float64(200*time.Microsecond)/max(0.004, 1-rate/96_000))
			verdict := result.Held
			if done < 0.95*rate {
				verdict = result.Behind
			}
			r.Steps = append(r.Steps, result.Step{Name: fmt.Sprintf("rate %d", i+1), Offered: rate, PerSecond: done,
				Seconds: 10, Latency: latency(2000, median), Verdict: verdict})
		}
		r.Knee = &result.Knee{Low: r.Steps[7].Offered, High: &r.Steps[8].Offered, Broke: result.Behind}
	case result.Idle:
		r.Count, r.PerSecond, r.Bytes = 1000, 0, 64_000
	case result.Storm:
		r.Unit, r.Bytes, r.Count, r.PerSecond, r.Latency = "connection", 0, 1000, 8333, r.Connect
	case result.Churn:
		r.Unit, r.Plan.Messages, r.Plan.Reset = "connection", 1, true
		r.Service = latency(5000, 300*time.Microsecond)
		r.Handshakes = &result.Handshakes{Count: 1_024_690, PerSecond: 102_469, All: 1_200_000, Resumed: 1_100_000}
	case result.Wave:
		r.Unit, r.Plan.Waves, r.Bytes, r.Count, r.Latency = "connection", 3, 0, 3000, r.Connect
		for i := range 3 {
			r.Steps = append(r.Steps, result.Step{Name: fmt.Sprintf("wave %d", i+1), PerSecond: 7250, Seconds: 0.138,
				Latency: latency(1000, 4*time.Millisecond)})
		}
	case result.Slow:
		r.Plan.SlowShare = 0.1
		for i, name := range []string{"without the slow", "with the slow"} {
			r.Steps = append(r.Steps, result.Step{Name: name, PerSecond: 100_000, Seconds: 5,
				Latency: latency(2000, time.Duration(800+40*i)*time.Microsecond)})
		}
	}
}
