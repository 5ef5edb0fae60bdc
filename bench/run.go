package bench

import (
	"context"
	"errors"
	"io"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
)

// Watch follows a run while it lasts. Its functions may be nil; they are called
// one at a time, from goroutines of the run, and should return soon.
type Watch struct {
	// Sample is called about once a second, with the samples of it joined to one.
	Sample func(result.Sample)
	// Phase is called when the run begins something else: "connect", "warm up",
	// "measure", "close".
	Phase func(name string)
}

// Run loads a server. It blocks until that is done, Client.Timeout is over or ctx
// is, or until the server has ended or does not answer; then the result has what was
// measured until then, and EndedEarly says why. What goes wrong with
// connections is in its Troubles. An error says that nothing was run: it is a
// *PlanError if a field is at fault.
//
// Runs may go on at the same time, and then disturb each other.
func Run(ctx context.Context, target Target, scenario Scenario) (*result.Result, error) {
	return RunWatched(ctx, target, scenario, Watch{})
}

// RunWatched is Run, followed by watch.
func RunWatched(ctx context.Context, target Target, scenario Scenario, watch Watch) (*result.Result, error) {
	if scenario == nil {
		return nil, errNoScenario
	}
	p := PlanOf(target, scenario)
	r, err := load.Run(ctx, p, load.Watch(watch))
	return r, inPaths(p.Scenario, err)
}

// inPaths names the field of a plan that is at fault by its path.
func inPaths(scenario string, err error) error {
	if wrong, ok := errors.AsType[*load.PlanError](err); ok {
		return &PlanError{Field: fieldOf(scenario, wrong.Field), Problem: wrong.Problem}
	}
	return err
}

// Slices opens the connections of a scenario, and loads the server only while it is
// told to, so that several servers can take turns of less than a second. It is what
// millbench compare measures with: Echo, Rate and Churn can be loaded so. In and out
// have a line of JSON each time: {"settle_ns": N, "measure_ns": N} asks for a slice
// that is loaded for the sum of both and measured in the second; then nothing is under
// way any more. {"result": ...} is its answer, with a result.Result. The first answer,
// which nothing asks for, says that the connections are open.
//
// It blocks until in ends or ctx is over, and then closes the connections at once. A
// read of in that waits then waits on, in a goroutine of its own. An error says that
// nothing was run, as Run's, or that what was asked made no sense.
func Slices(ctx context.Context, target Target, scenario Scenario, in io.Reader, out io.Writer) error {
	if scenario == nil {
		return errNoScenario
	}
	p := PlanOf(target, scenario)
	return inPaths(p.Scenario, load.Slices(ctx, p, in, out))
}

var errNoScenario = &PlanError{Field: "Scenario", Problem: "nil; want one such as Echo{}"}

// PlanOf gives what a target and a scenario say in the one record that
// Result.Plan is, without the defaults.
func PlanOf(target Target, scenario Scenario) result.Plan {
	p := scenario.record()
	target.addTo(&p)
	return p
}

// RunChild does a child's share of a run, if this process is a child: Run starts
// the same program again if Client.Processes asks for that. So main calls it
// before all else, and nothing may be written to the standard output before:
//
//	if isChild, exitCode := bench.RunChild(); isChild {
//		os.Exit(exitCode)
//	}
//
// In other processes it does nothing.
func RunChild() (isChild bool, exitCode int) { return load.RunChild() }

// PlanError says what is wrong with what Run was asked for.
type PlanError struct {
	// Field is the field's path: "Target.URL", or below the scenario, such as
	// "Connections.Count", "Duration" or "PerSecond".
	Field   string
	Problem string // what is wrong, and what is allowed
}

func (e *PlanError) Error() string { return "bench: " + e.Field + ": " + e.Problem }

// fields are the paths of a record's fields that have another name here. One with a
// scenario before it is for that alone.
var fields = map[string]string{
	"URL": "Target.URL", "CAFile": "Target.CAFile", "Insecure": "Target.Insecure", "Origin": "Target.Origin",
	"Subprotocol": "Target.Subprotocol", "Header": "Target.Header", "Deflate": "Target.Deflate", "ServerPID": "Target.PID",

	"Connections": "Connections.Count", "ConnectRate": "Connections.Rate", "Handshakes": "Connections.Handshakes",
	"ConnectTimeout": "Connections.Timeout", "Sources": "Connections.Sources",
	"MinSize": "Messages.MinSize", "MaxSize": "Messages.MaxSize", "Binary": "Messages.Binary", "Text": "Messages.Text", "Resume": "Target.Resume", "Seed": "Messages.Seed",
	"Loops": "Client.Loops", "Processes": "Client.Processes", "Poller": "Client.Poller", "FirstReply": "Client.FirstReply", "Timeout": "Client.Timeout",

	"Rate": "PerSecond", "sweep.Rate": "From", "SweepFactor": "Factor", "SweepLimit": "Limit", "SweepMax": "To", "SweepPrecision": "Precision",
	"broadcast.RampLimit": "Limit", "broadcast.RampStep": "Step",
	"Messages": "Each", "Waves": "Times", "SlowShare": "Share", "SlowRate": "ReadRate",
}

// fieldOf gives the path of a record's field in a scenario.
func fieldOf(scenario, recorded string) string {
	for _, name := range []string{scenario + "." + recorded, recorded} {
		if path, ok := fields[name]; ok {
			return path
		}
	}
	return recorded // it is called the same
}
