package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/internal/report"
)

// scenario is a subcommand that runs one.
func (a *App) scenario(s scenario, args []string) (status int) {
	c := &config{}
	set := c.flagSet(s)
	values, err := set.Read(args, nil)
	if err != nil {
		return set.Refuse(err, a.Stdout, a.Stderr)
	}
	if c.slices {
		return a.inSlices(s.name, c, set, values)
	}
	files, err := c.openOutputs()
	if err != nil {
		return set.Refuse(err, a.Stdout, a.Stderr)
	}
	defer files.discard()
	r, interrupted, err := a.run(s.name, c)
	if err != nil {
		if _, wrong := errors.AsType[*bench.PlanError](err); wrong && !interrupted {
			return set.Refuse(inFlags(set, values, err), a.Stdout, a.Stderr)
		}
		return set.Fail(err, a.Stderr)
	}
	info, _ := debug.ReadBuildInfo()
	r.Command, r.Version = flags.CommandLine(append([]string{"millbench", s.name}, args...)...), flags.VersionOf(info)
	err = a.show(c, files, r)
	status = a.judge(set, c, r)
	if err != nil {
		return set.Fail(err, a.Stderr)
	}
	if interrupted {
		return flags.Failed
	}
	return status
}

// inSlices loads as it is told to on stdin, until that ends.
func (a *App) inSlices(scenario string, c *config, set *flags.Set, values flags.Values) (status int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-a.Signals
		cancel()
	}()
	err := a.Slices(ctx, c.target, c.scenario(scenario))
	if _, wrong := errors.AsType[*bench.PlanError](err); wrong {
		return set.Refuse(inFlags(set, values, err), a.Stdout, a.Stderr)
	}
	if err != nil {
		return set.Fail(err, a.Stderr)
	}
	return flags.Done
}

// run runs a scenario, with its progress, until it is done or ended by a signal.
func (a *App) run(scenario string, c *config) (r *result.Result, interrupted bool, err error) {
	p := &progress{w: a.Stderr, terminal: a.Terminal && !c.quiet}
	defer p.end()
	var watch bench.Watch
	if !c.quiet {
		watch = p.watch()
	}
	type outcome struct {
		r   *result.Result
		err error
	}
	o, interrupted, err := interruptible(a.Signals, p.say, func(ctx context.Context) outcome {
		r, err := a.Run(ctx, c.target, c.scenario(scenario), watch)
		return outcome{r, err}
	})
	if err != nil {
		return nil, true, err
	}
	return o.r, interrupted, o.err
}

var errStopped = errors.New("stopped at once by a second signal")

// oneSignal is the time within which signals count as one: timeout(1) sends its
// own twice, to the process and to its group.
const oneSignal = 300 * time.Millisecond

// interruptible does something until it is done. The first signal ends its
// context, and say tells; the second gives errStopped, while it goes on.
func interruptible[T any](signals <-chan os.Signal, say func(string), do func(context.Context) T) (result T, interrupted bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var since time.Time // the first signal
	finished := make(chan T, 1)
	go func() { finished <- do(ctx) }()
	for {
		select {
		case result = <-finished:
			return result, interrupted, nil
		case sig := <-signals:
			if interrupted {
				if time.Since(since) < oneSignal {
					continue
				}
				return result, true, errStopped
			}
			interrupted, since = true, time.Now()
			cancel()
			say(fmt.Sprintf("%v: ending the run early; a second one stops it at once", sig))
		}
	}
}

// show writes the summary and the files. JSON for stdout has it for itself.
func (a *App) show(c *config, files *outputs, r *result.Result) error {
	summary := a.Stdout
	var err error
	if c.json == "-" {
		summary = a.Stderr
		err = report.WriteJSON(a.Stdout, r)
	}
	if c.quiet {
		summary = io.Discard
	}
	err = errors.Join(err, report.Summary(summary, r), files.write(r))
	if len(files.written) > 0 {
		fmt.Fprintf(summary, "\nwritten: %s\n", strings.Join(files.written, ", "))
	}
	return err
}

// judge gives the status of a result, and says on stderr what the summary does
// not.
func (a *App) judge(set *flags.Set, c *config, r *result.Result) (status int) {
	say := func(format string, args ...any) { set.Fail(fmt.Errorf(format, args...), a.Stderr) }
	wrong := len(r.Troubles) > 0 || r.EndedEarly != ""
	for _, condition := range c.conditions {
		holds, actual, err := condition.Holds(r)
		if err != nil {
			wrong = true
			say("--fail-if: %s", strings.TrimPrefix(err.Error(), "report: "))
		}
		if holds {
			status = held
			say("--fail-if %v: it is %s", condition, actual)
		}
	}
	if c.quiet {
		for _, t := range r.Troubles {
			say("%q (%d times)", t.What, t.Count) // quoted: it may have a server's words
		}
		if r.EndedEarly != "" {
			say("ended early: %s", r.EndedEarly)
		}
	}
	if r.Count == 0 {
		wrong = true
		say("nothing was measured")
	}
	if wrong {
		return flags.Failed
	}
	return status
}
