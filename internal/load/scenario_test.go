package load_test

import (
	"math"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// brief is a short run with a little of everything.
func brief(scenario, url string) result.Plan {
	p := result.Plan{
		Scenario: scenario, URL: url, Connections: 20, Loops: 2, Rate: 2000,
		Warmup: 100 * time.Millisecond, Duration: 300 * time.Millisecond,
	}
	if testing.Short() {
		p.Warmup, p.Duration = p.Warmup/4, p.Duration/2
	}
	return p
}

// TestScenarios runs each scenario, some also on the engines that are not the
// default, and checks what all have in common and what is its own.
func TestScenarios(t *testing.T) {
	leavesNothing(t)
	own := map[string]func(*testing.T, *result.Result, *echo){
		result.Echo:      wantEcho,
		result.Rate:      wantRate,
		result.Sweep:     wantSweep,
		result.Idle:      wantIdle,
		result.Storm:     wantStorm,
		result.Churn:     wantChurn,
		result.Wave:      wantWave,
		result.Slow:      wantSlow,
		result.Broadcast: wantBroadcast,
		result.Receive:   wantReceive,
	}
	for i, engine := range poller.Engines() {
		scenarios := result.Scenarios()
		if i > 0 {
			scenarios = []string{result.Echo, result.Churn}
		}
		for _, scenario := range scenarios {
			t.Run(engine+"/"+scenario, func(t *testing.T) {
				t.Parallel()
				e := &echo{}
				srv := &server.Server{Handler: e}
				switch scenario {
				case result.Broadcast:
					srv.Handler = &publisher{conns: map[*server.Conn]struct{}{}}
				case result.Receive:
					srv.Handler = newTicker(t)
				}
				p := brief(scenario, serve(t, "127.0.0.1:0", srv))
				p.Poller = engine
				if scenario == result.Sweep {
					p.SweepLimit = time.Minute // it shall end by what comes back
					p.Duration = 100 * time.Millisecond
					p.SweepFactor, p.SweepPrecision, p.SweepMax, p.Timeout = 4, 1, 128_000, 3*patience
				}
				r := run(t, p, load.Watch{})
				wantSane(t, r)
				own[scenario](t, r, e)
			})
		}
	}
}

// wantSane checks what holds for every run in which all went well.
func wantSane(t *testing.T, r *result.Result) {
	t.Helper()
	wantTroubles(t, r)
	if r.Failed != 0 || r.Lost != 0 {
		t.Errorf("%d failed, %d lost, want none", r.Failed, r.Lost)
	}
	if r.Peak != r.Plan.Connections || r.Opened < r.Peak || r.Connect.Count() != int64(r.Opened) {
		t.Errorf("%d opened, %d connect times, at most %d at once; want %d at once", r.Opened, r.Connect.Count(), r.Peak, r.Plan.Connections)
	}
	if r.Count <= 0 || r.Seconds <= 0 || r.Latency.Count() == 0 {
		t.Fatalf("%d done in %v s, %d times; want some", r.Count, r.Seconds, r.Latency.Count())
	}
	if perSecond := float64(r.Count) / r.Seconds; math.Abs(r.PerSecond-perSecond) > perSecond/1e6 {
		t.Errorf("%v a second, want %v", r.PerSecond, perSecond)
	}
	p50, p99, most := r.Latency.Quantile(0.5), r.Latency.Quantile(0.99), r.Latency.Quantile(1)
	burst := r.Plan.Scenario == result.Receive // its gaps are none where several messages came at once
	if p50 <= 0 && !burst || p99 < p50 || most < p99 || r.Latency.Mean() <= 0 || r.Latency.Mean() > most {
		t.Errorf("p50 %v, p99 %v, max %v, mean %v us, want them in order", p50, p99, most, r.Latency.Mean())
	}
	if r.Client.Available < 1 || r.Machine.Go == "" || r.Started.IsZero() {
		t.Errorf("client %+v, machine %+v, started %v", r.Client, r.Machine, r.Started)
	}
	if r.Server != nil && (r.Server.CPU <= 0 || r.Server.PID <= 0) {
		t.Errorf("server %+v, want its CPU time", r.Server)
	}
}

// wantMessages checks the unit, and the bytes of messages of one size.
func wantMessages(t *testing.T, r *result.Result) {
	t.Helper()
	if want := r.Count * int64(r.Plan.MinSize); r.Unit != "message" || r.Bytes != want {
		t.Errorf("%d %ss, %d bytes, want %d bytes", r.Count, r.Unit, r.Bytes, want)
	}
}

// wantDeliveries is wantMessages for a broadcast.
func wantDeliveries(t *testing.T, r *result.Result) {
	t.Helper()
	if want := r.Count * int64(r.Plan.MinSize); r.Unit != "delivery" || r.Bytes != want {
		t.Errorf("%d %ss, %d bytes, want %d bytes", r.Count, r.Unit, r.Bytes, want)
	}
}

// wantAllTimed checks that each unit has its time in the histogram.
func wantAllTimed(t *testing.T, r *result.Result) {
	t.Helper()
	if r.Latency.Count() != r.Count {
		t.Errorf("%d times of %d %ss", r.Latency.Count(), r.Count, r.Unit)
	}
}

// wantDue checks that exactly what was due in some seconds was timed: a message
// more or less for each of the two loops, as the window cuts, at each receiver.
func wantDue(t *testing.T, what string, l *result.Latency, rate, seconds, receivers float64) {
	t.Helper()
	if got, want := float64(l.Count()), rate*seconds*receivers; math.Abs(got-want) > 3*receivers {
		t.Errorf("%s: %.0f times, want %.1f", what, got, want)
	}
}

// wantClosed checks that the server saw all connections close.
func wantClosed(t *testing.T, r *result.Result, e *echo) {
	t.Helper()
	eventually(t, "all closed at the server", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.opened == r.Opened && e.closed == e.opened
	})
}

func wantEcho(t *testing.T, r *result.Result, e *echo) {
	wantMessages(t, r)
	wantAllTimed(t, r)
	wantClosed(t, r, e)
	if r.Seconds < r.Plan.Duration.Seconds() || r.Service != nil || r.Skew != nil || len(r.Steps) != 0 {
		t.Errorf("%v s, service %v, skew %v, steps %v", r.Seconds, r.Service, r.Skew, r.Steps)
	}
}

func wantRate(t *testing.T, r *result.Result, e *echo) {
	wantMessages(t, r)
	wantClosed(t, r, e)
	wantDue(t, "latency", r.Latency, 2000, r.Seconds, 1)
	wantDue(t, "service", r.Service, 2000, r.Seconds, 1)
	if r.Client.Late.Count() == 0 {
		t.Error("nothing on how late messages were sent")
	}
	for _, q := range []float64{0.5, 0.99, 1} {
		if r.Service.Quantile(q) > r.Latency.Quantile(q) {
			t.Errorf("service %v above latency %v at %v", r.Service.Quantile(q), r.Latency.Quantile(q), q)
		}
	}
}

// wantSweep checks that each try is measured as it should, whatever this machine made
// of it. What the search finds is tested on a simulated network.
func wantSweep(t *testing.T, r *result.Result, e *echo) {
	wantMessages(t, r)
	wantClosed(t, r, e)
	for _, s := range r.Steps {
		if s.Seconds < r.Plan.Duration.Seconds() || s.Verdict == "" || s.Verdict == result.Held && s.Disturbed != "" {
			t.Errorf("step %+v", s)
		}
		if s.Verdict == result.Held {
			wantDue(t, s.Name, s.Latency, s.Offered, s.Seconds, 1)
		}
	}
	if first := r.Steps[0].Offered; first != r.Plan.Rate {
		t.Errorf("the first rate is %v", first)
	}
	if r.Knee == nil { // a very bad moment
		t.Skipf("no rate held on this machine: %+v", r.Steps)
	}
	wantStepsOf(t, r)
}

func wantIdle(t *testing.T, r *result.Result, e *echo) {
	wantMessages(t, r)
	wantAllTimed(t, r)
	wantClosed(t, r, e)
	if r.Count != 20 {
		t.Errorf("%d messages, want one a connection", r.Count)
	}
}

func wantStorm(t *testing.T, r *result.Result, e *echo) {
	wantAllTimed(t, r)
	wantClosed(t, r, e)
	if r.Count != 20 || r.Unit != "connection" || r.Opened != 20 || len(e.opcodes) != 0 {
		t.Errorf("%d %ss of %d, messages %v", r.Count, r.Unit, r.Opened, e.opcodes)
	}
}

func wantChurn(t *testing.T, r *result.Result, e *echo) {
	wantAllTimed(t, r)
	wantClosed(t, r, e)
	if r.Unit != "connection" || int64(r.Opened) < r.Count || r.Service.Count() == 0 {
		t.Errorf("%d %ss of %d opened, %d messages timed", r.Count, r.Unit, r.Opened, r.Service.Count())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.opcodes[ws.Text] != r.Opened {
		t.Errorf("%d messages on %d connections, want one on each", e.opcodes[ws.Text], r.Opened)
	}
}

func wantWave(t *testing.T, r *result.Result, e *echo) {
	wantAllTimed(t, r)
	wantClosed(t, r, e)
	if r.Count != 3*20 || r.Opened != 4*20 || r.Unit != "connection" || len(r.Steps) != 3 {
		t.Errorf("%d %ss came back in %d waves, %d opened in all", r.Count, r.Unit, len(r.Steps), r.Opened)
	}
	for _, s := range r.Steps {
		if s.Latency.Count() != 20 || s.Seconds <= 0 {
			t.Errorf("%s: %d came back in %v s", s.Name, s.Latency.Count(), s.Seconds)
		}
	}
}

func wantSlow(t *testing.T, r *result.Result, e *echo) {
	wantMessages(t, r)
	wantAllTimed(t, r)
	wantClosed(t, r, e)
	if len(r.Steps) != 2 || r.Steps[0].Name != "none slow" || r.Steps[1].Name != "2 slow" {
		t.Fatalf("steps %+v", r.Steps)
	}
	if r.Steps[0].Latency.Count() == 0 || r.Steps[1].Latency.Count() != r.Count || r.Steps[1].Seconds != r.Seconds {
		t.Errorf("%d in %v s, want those of the second of %+v", r.Count, r.Seconds, r.Steps)
	}
	if slow := float64(e.opcodes[ws.Text]) - float64(r.Steps[0].Latency.Count()+r.Count); slow < 2000*r.Seconds {
		t.Errorf("the server saw %.0f messages more, want those of the slow connections too", slow)
	}
}

func wantBroadcast(t *testing.T, r *result.Result, _ *echo) {
	wantDeliveries(t, r)
	wantDue(t, "latency", r.Latency, 2000, r.Seconds, 20)
	wantNear(t, "skews", float64(r.Skew.Count()), float64(r.Publication.Published)) // whose window is not that of all loops
	if r.Skew.Quantile(1) > r.Latency.Quantile(1) {
		t.Errorf("skew up to %v us, latency up to %v us", r.Skew.Quantile(1), r.Latency.Quantile(1))
	}
}

func wantReceive(t *testing.T, r *result.Result, _ *echo) {
	if r.Unit != "message" || r.Bytes != 4*r.Count || r.Latency.Count() > r.Count {
		t.Errorf("%d %ss, %d bytes, %d gaps", r.Count, r.Unit, r.Bytes, r.Latency.Count())
	}
}
