package load_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/internal/process"
	"github.com/millrace/millrace/server"
)

// TestStepWithoutWindow: what had no measured window has no rate, and not 0.
func TestStepWithoutWindow(t *testing.T) {
	d := newDealer(t.Context(), t, brief(result.Echo, serve(t, "127.0.0.1:0", &server.Server{Handler: &echo{}})))
	if r := d.answer().Result; r.Seconds != 0 || result.Known(r.PerSecond) { // it opened the connections
		t.Errorf("%v a second in %v s", r.PerSecond, r.Seconds)
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

// TestSliceOfUnknownUse: where the machine does not tell what processes use, a slice does
// not say that its client used nothing.
func TestSliceOfUnknownUse(t *testing.T) {
	url := serve(t, "127.0.0.1:0", &server.Server{Handler: &echo{}})
	untold := func(*process.Process) (process.Usage, error) { return process.Usage{}, process.ErrNotSupported }
	var out bytes.Buffer
	err := load.SlicesOn(t.Context(), untold, brief(result.Echo, url), strings.NewReader(`{"measure_ns": 50000000}`), &out)
	if err != nil {
		t.Fatal(err)
	}
	var s load.Slice
	for answers := json.NewDecoder(&out); answers.More(); { // the last is the slice's
		s = load.Slice{}
		if err := answers.Decode(&s); err != nil {
			t.Fatal(err)
		}
	}
	if s.Result.Count == 0 || result.Known(s.Result.Client.Cores) || s.Result.Server != nil || s.Taken != 0 {
		t.Errorf("%d messages, client %+v, server %+v, taken %v", s.Result.Count, s.Result.Client, s.Result.Server, s.Taken)
	}
}

// TestWireOfAStep: what compression made of messages is told of those that the result
// counts, the last step's, and not of all steps; also by several processes.
func TestWireOfAStep(t *testing.T) {
	url := serve(t, "127.0.0.1:0", &server.Server{Handler: &echo{}, Deflate: &server.Deflate{}})
	for _, processes := range []int{1, 2} {
		p := brief(result.Slow, url)
		p.ServerPID, p.MinSize, p.Text, p.Deflate, p.SlowShare, p.Processes = -1, 1000, load.TextJSON, load.DeflateOn, 0.01, processes // none is slow
		r := run(t, p, load.Watch{})
		wantTroubles(t, r)
		if len(r.Steps) != 2 || r.Wire == nil || r.Wire.ReceivedPayload != r.Bytes || r.Bytes == 0 {
			t.Errorf("%d processes: wire %+v, %d bytes, %d steps", processes, r.Wire, r.Bytes, len(r.Steps))
		}
	}
}

// TestWaitingOfAStep: a stall at the end of one step's window says nothing of the step
// whose figures the result has.
func TestWaitingOfAStep(t *testing.T) {
	for name, tt := range map[string]struct {
		from time.Duration // of the stall
		want bool
	}{"the first": {warmup + 900*time.Millisecond, false}, "the last": {2*warmup + 1900*time.Millisecond, true}} {
		t.Run(name, func(t *testing.T) {
			p := result.Plan{
				Scenario: result.Slow, Connections: 4, Loops: 2, SlowShare: 0.01, Rate: 1, Warmup: warmup, Duration: time.Second,
			}
			r := simulate(t, p, world{service: pausing(fixed(soon), tt.from, 200*time.Millisecond)})
			wantTroubles(t, r)
			told := strings.Contains(strings.Join(r.Notes, "\n"), "a message had been under way for")
			if told != tt.want {
				t.Errorf("notes %q; of a stall in the last step: %v", r.Notes, tt.want)
			}
		})
	}
}
