package cli_test

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/cmd/millbench/internal/cli"
)

// stage is an App with a run that only plays its part.
type stage struct {
	app            cli.App
	stdout, stderr bytes.Buffer
	signals        chan os.Signal
	runs           int
	plan           result.Plan // of the last run

	result  *result.Result
	err     error
	perform func(context.Context, bench.Watch) // what the run does
}

func newStage() *stage {
	s := &stage{result: newResult(), signals: make(chan os.Signal, 2)}
	s.app = cli.App{
		Stdout: &s.stdout, Stderr: &s.stderr, Signals: s.signals,
		Run: func(ctx context.Context, target bench.Target, scenario bench.Scenario, w bench.Watch) (*result.Result, error) {
			s.runs++
			s.plan = bench.PlanOf(target, scenario)
			if s.perform != nil {
				s.perform(ctx, w)
			}
			s.result.Plan = s.plan
			return s.result, s.err
		},
	}
	return s
}

// newResult is that of a run in which all went well, with a p99 of 2 ms.
func newResult() *result.Result {
	r := &result.Result{
		Seconds: 1, Opened: 10, Peak: 10, Count: 100, Unit: "message", PerSecond: 100,
		Latency: result.NewLatency(), Connect: result.NewLatency(),
		Client: result.ClientUse{Cores: 0.5, Available: 2},
	}
	for range 100 {
		r.Latency.Record(2 * time.Millisecond)
	}
	return r
}

// play calls the command and gives its status.
func (s *stage) play(args ...string) (status int) {
	s.stdout.Reset()
	s.stderr.Reset()
	return s.app.Main(args)
}

// expect: the status, and all the words on stderr.
func (s *stage) expect(t *testing.T, status int, args []string, words ...string) {
	t.Helper()
	if got := s.play(args...); got != status {
		t.Errorf("%q: status %d, want %d; stderr %q", args, got, status, s.stderr.String())
	}
	for _, word := range words {
		if !strings.Contains(s.stderr.String(), word) {
			t.Errorf("%q: stderr %q lacks %q", args, s.stderr.String(), word)
		}
	}
}

// hints are the lines that say where to read more.
var hints = regexp.MustCompile(`^Run 'millbench (help|\w+ --help)' for .*\n$`)

// expectMisuse: one line on stderr with all the words, a line that says where to read
// more, nothing on stdout, no run, status 2.
func expectMisuse(t *testing.T, args []string, words ...string) {
	t.Helper()
	s := newStage()
	s.expect(t, 2, args, words...)
	line, hint, _ := strings.Cut(s.stderr.String(), "\n")
	if s.stdout.Len() > 0 || !strings.HasPrefix(line, "millbench") || !hints.MatchString(hint) || s.runs > 0 {
		t.Errorf("%q: %d runs, stdout %q, stderr %q; want one line and a hint on stderr and no run", args, s.runs, s.stdout.String(), s.stderr.String())
	}
}

func TestIsTerminal(t *testing.T) {
	device, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	regular, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	for _, c := range []struct {
		file *os.File
		term string
		want bool
	}{
		{device, "xterm", true}, // harmless
		{device, "dumb", false},
		{device, "", false},
		{regular, "xterm", false},
	} {
		t.Setenv("TERM", c.term)
		if got := cli.IsTerminal(c.file); got != c.want {
			t.Errorf("IsTerminal(%s) with TERM=%s = %v", c.file.Name(), c.term, got)
		}
	}
}
