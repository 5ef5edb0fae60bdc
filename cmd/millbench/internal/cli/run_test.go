package cli_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
)

func TestStatuses(t *testing.T) {
	troubled := func(r *result.Result) {
		r.Troubles = []result.Trouble{{What: "connect: connection \x1b[refused", Count: 7}}
	}
	for _, c := range []struct {
		name   string
		args   string
		result func(*result.Result)
		err    error
		status int
		stderr []string // lines
	}{
		{"fine", "echo --quiet", nil, nil, 0, nil},
		{"troubles", "echo --quiet", troubled, nil, 1,
			[]string{`millbench echo: "connect: connection \x1b[refused" (7 times)`}},
		{"ended early", "echo --quiet", func(r *result.Result) { r.EndedEarly = "all connections had ended 1.5 s into measuring" }, nil, 1,
			[]string{"millbench echo: ended early: all connections had ended 1.5 s into measuring"}},
		{"nothing measured", "echo --quiet", func(r *result.Result) { r.Count = 0 }, nil, 1,
			[]string{"millbench echo: nothing was measured"}},
		{"no condition holds", "echo --quiet --fail-if p99>5ms --fail-if rate<50", nil, nil, 0, nil},
		{"conditions hold", "echo --quiet --fail-if p99>1ms --fail-if rate<50 --fail-if rate<200", nil, nil, 3,
			[]string{"millbench echo: --fail-if p99>1ms: it is 2 ms", "millbench echo: --fail-if rate<200: it is 100 /s"}},
		{"one holds, troubles", "echo --quiet --fail-if errors>5", troubled, nil, 1,
			[]string{"millbench echo: --fail-if errors>5: it is 7", `millbench echo: "connect: connection \x1b[refused" (7 times)`}},
		{"not measured", "echo --quiet --fail-if cpu>5us --fail-if p99>1ms", nil, nil, 1,
			[]string{`millbench echo: --fail-if: condition "cpu>5us" can not be checked: this run did not measure cpu`,
				"millbench echo: --fail-if p99>1ms: it is 2 ms"}},
		{"a wrong plan", "echo --size 1-2", nil, &bench.PlanError{Field: "Messages.MaxSize", Problem: "2; allowed are 3 to 4"}, 2,
			[]string{`millbench echo: --size: invalid value "1-2": want 3 to 4`, "Run 'millbench echo --help' for its flags and what they take."}},
		{"a plan that can't be", "echo", nil, &bench.PlanError{Field: "Target.CAFile", Problem: "open x: no such file"}, 2,
			[]string{"millbench echo: --ca: open x: no such file", "Run 'millbench echo --help' for its flags and what they take."}},
		{"a wrong plan, no flag", "echo", nil, &bench.PlanError{Field: "Scenario", Problem: "odd"}, 2,
			[]string{"millbench echo: bench: Scenario: odd", "Run 'millbench echo --help' for its flags and what they take."}},
		{"nothing could be run", "wave", nil, errors.New("bench: no poller\nat all"), 1,
			[]string{"millbench wave: bench: no poller", "millbench wave: at all"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage()
			if c.result != nil {
				c.result(s.result)
			}
			s.err = c.err
			s.expect(t, c.status, strings.Fields(c.args))
			want := strings.Join(append(c.stderr, ""), "\n")
			if s.stderr.String() != want || s.stdout.Len() > 0 {
				t.Errorf("stdout %q, stderr\n%s, want\n%s", s.stdout.String(), s.stderr.String(), want)
			}
		})
	}
}

// TestSummary: it goes to stdout, unless JSON is there.
func TestSummary(t *testing.T) {
	s := newStage()
	s.expect(t, 0, []string{"echo"})
	if !strings.Contains(s.stdout.String(), "round trip") || s.stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", s.stdout.String(), s.stderr.String())
	}
	s.expect(t, 0, []string{"echo", "--json", "-"}, "round trip")
	if strings.Contains(s.stdout.String(), "round trip") {
		t.Errorf("with --json -: stdout %q", s.stdout.String())
	}
}

// samples is a run of two phases and two seconds.
func samples(_ context.Context, w bench.Watch) {
	w.Phase("connect")
	w.Sample(result.Sample{At: 0, Seconds: 1, Connections: 500})
	w.Phase("measure")
	w.Sample(result.Sample{At: 1, Seconds: 2, Connections: 1000, Count: 246912, P50: 1230, P99: 4560, RSS: 45 << 20, ServerCores: 0.98})
}

func TestProgress(t *testing.T) {
	const first, second = "1s, 500 open", "3s, 1,000 open, 123,456/s, p50 1.23ms, p99 4.56ms, cores 0.98, rss 45MiB"
	line := func(text string) string { return "\r\x1b[2K\x1b[?7l" + text + "\x1b[?7h" }
	for _, c := range []struct {
		name     string
		terminal bool
		args     []string
		want     string
	}{
		{"plain", false, []string{"echo"}, "connect " + first + "\nmeasure " + second + "\n"},
		{"terminal", true, []string{"echo"}, line("connect") + line("connect "+first) +
			line("measure "+first) + line("measure "+second) + "\r\x1b[2K"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage()
			s.app.Terminal = c.terminal
			s.perform = samples
			s.expect(t, 0, c.args)
			if got := s.stderr.String(); got != c.want {
				t.Errorf("progress %q, want %q", got, c.want)
			}
		})
	}
}

func TestQuiet(t *testing.T) {
	s := newStage()
	s.app.Terminal = true
	s.perform = func(_ context.Context, w bench.Watch) {
		if w.Sample != nil || w.Phase != nil {
			t.Error("the run is watched")
		}
	}
	s.expect(t, 0, []string{"echo", "--quiet", "--report", t.TempDir() + "/r.html"})
	if s.stdout.Len()+s.stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", s.stdout.String(), s.stderr.String())
	}
}

// untilEnded is a run that lasts until it is ended.
func untilEnded(ctx context.Context, _ bench.Watch) { <-ctx.Done() }

// TestInterrupted: a signal ends the run early, and its result is shown. Two of
// them in a moment are one.
func TestInterrupted(t *testing.T) {
	for _, signals := range [][]os.Signal{{syscall.SIGINT}, {syscall.SIGTERM, syscall.SIGTERM}} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage()
			s.signals = make(chan os.Signal) // of the bubble
			s.app.Signals = s.signals
			s.perform = func(ctx context.Context, w bench.Watch) {
				untilEnded(ctx, w)
				time.Sleep(time.Second) // it takes some time to close
			}
			go func() {
				time.Sleep(2 * time.Second)
				for _, sig := range signals {
					s.signals <- sig
					time.Sleep(100 * time.Millisecond)
				}
			}()
			s.expect(t, 1, []string{"echo"}, signals[0].String()+": ending the run early")
			if !strings.Contains(s.stdout.String(), "round trip") {
				t.Errorf("no summary: %q", s.stdout.String())
			}
		})
	}
}

// TestInterruptedTwice: the second signal does not wait for the run, and leaves
// no files.
func TestInterruptedTwice(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.signals = make(chan os.Signal)
		s.app.Signals = s.signals
		release := make(chan struct{})
		s.perform = func(context.Context, bench.Watch) { <-release }
		go func() {
			s.signals <- syscall.SIGINT
			time.Sleep(time.Second)
			s.signals <- syscall.SIGINT
		}()
		s.expect(t, 1, []string{"echo", "--json", folder + "/r.json"},
			"interrupt: ending the run early", "millbench echo: stopped at once by a second signal\n")
		if s.stdout.Len() > 0 {
			t.Errorf("stdout %q", s.stdout.String())
		}
		close(release)
	})
	expectFiles(t, folder)
}

// TestSlices hands the run to who deals it out, and puts what is wrong in terms of flags.
func TestSlices(t *testing.T) {
	s := newStage()
	var plan result.Plan
	var err error
	s.app.Slices = func(_ context.Context, target bench.Target, scenario bench.Scenario) error {
		plan = bench.PlanOf(target, scenario)
		return err
	}
	s.expect(t, 0, strings.Fields("rate --slices --rate 7 --server-pid 12 ws://h/"))
	if plan.Scenario != result.Rate || plan.Rate != 7 || plan.ServerPID != 12 || plan.URL != "ws://h/" || s.runs > 0 {
		t.Errorf("plan %+v, %d runs", plan, s.runs)
	}
	err = &bench.PlanError{Field: "Target.CAFile", Problem: "open x: no such file"}
	s.expect(t, 2, strings.Fields("echo --slices"), "millbench echo: --ca: open x: no such file")
	err = errors.New("bench: an order of a slice: what")
	s.expect(t, 1, strings.Fields("echo --slices"), "millbench echo: bench: an order of a slice: what")
	s.expect(t, 2, strings.Fields("idle --slices"), "idle has no such flag (only echo, rate, churn)")
}
