package load_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
)

// TestPausedServer: a server that pauses for a second delays all that is due in
// it, and the open loop shows that. A closed loop sends nothing meanwhile, and
// nearly hides it (coordinated omission).
func TestPausedServer(t *testing.T) {
	t.Parallel() // it mostly waits
	t.Run("open loop", func(t *testing.T) {
		t.Parallel()
		r := pausedRun(t, result.Rate)
		// In the first half of the pause 250 messages were due.
		if n := slower(r.Latency, 500*time.Millisecond); n < 240 {
			t.Errorf("%d of %d messages took 500 ms, want 250", n, r.Count)
		}
		if p999, most := r.Latency.Quantile(0.999), r.Latency.Quantile(1); p999 < 500e3 || most < 900e3 {
			t.Errorf("p99.9 %.0f us, max %.0f us, want the pause in them", p999, most)
		}
	})
	t.Run("closed loop", func(t *testing.T) {
		t.Parallel()
		r := pausedRun(t, result.Echo)
		// Twice: the machine may have a pause of its own.
		if n := slower(r.Latency, 500*time.Millisecond); n < 1 || n > 2*int64(r.Plan.Connections) {
			t.Errorf("%d of %d messages took 500 ms, want at most one a connection", n, r.Count)
		}
		if p99 := r.Latency.Quantile(0.99); p99 > 500e3 {
			t.Errorf("p99 %.0f us in %d messages: the pause is not hidden", p99, r.Count)
		}
	})
}

// pausedRun stops its server for a second in the middle of the measured window.
func pausedRun(t *testing.T, scenario string) *result.Result {
	t.Helper()
	url, server := startEcho(t)
	p := brief(scenario, url)
	p.Connections, p.Rate, p.Loops, p.Duration, p.ServerPID = 10, 500, 1, 2500*time.Millisecond, -1
	paused := make(chan error, 1)
	pause := func() {
		time.Sleep(500 * time.Millisecond)
		err := server.Signal(syscall.SIGSTOP)
		time.Sleep(time.Second)
		if err == nil {
			err = server.Signal(syscall.SIGCONT)
		}
		paused <- err
	}
	r := run(t, p, load.Watch{Phase: func(name string) {
		if name == "measure" {
			go pause()
		}
	}})
	if err := <-paused; err != nil {
		t.Fatal(err)
	}
	wantTroubles(t, r)
	return r
}
