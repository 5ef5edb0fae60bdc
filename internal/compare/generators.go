package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/internal/report"
	"github.com/millrace/millrace/internal/wsload"
)

// generators are the programs that can make the load, by their names: millbench
// itself, and one that shares no code with it.
var generators = map[string]func(ctx context.Context, self, out string) (generator, error){
	millbenchName: func(_ context.Context, self, _ string) (generator, error) { return millbench{self}, nil },
	wsloadName: func(ctx context.Context, _, out string) (generator, error) {
		program, err := wsload.Build(ctx, out)
		return wsloader{program}, err
	},
}

const (
	millbenchName = "millbench"
	wsloadName    = "wsload"
)

// generator makes a load and measures it.
type generator interface {
	// command loads a server as a scenario says.
	command(sc scenario, t target, warmup, duration time.Duration) []string
	// slices loads a server in slices, as package load's Slices is told to; nil: it can
	// not.
	slices(sc scenario, t target) []string
	// load is what a reader types behind the generator's name for this.
	load(sc scenario) string
	// read reads what the command wrote to its stdout. The error is why the run
	// does not count; it is errNoResult where there is nothing to read.
	read(stdout []byte) (*measured, error)
}

// target is the server to load.
type target struct {
	host, port, path string
	pid              int
}

func (t target) address() string { return net.JoinHostPort(t.host, t.port) }

func (t target) url(sc scenario) string { return sc.scheme() + "://" + t.address() + t.path }

// measured is what one run measured.
type measured struct {
	machine    result.Machine
	figures    map[string]float64 // by result.Figure's names
	bottleneck string             // why the client bounded them; "": it did not
}

// errNoResult: the generator's end and stderr say more.
var errNoResult = errors.New("no result")

// errNothing: the server got no turn, or does not answer.
var errNothing = errors.New("nothing came back")

// scheme is that of its URL.
func (sc *scenario) scheme() string {
	if slices.Contains(sc.needs, speaksTLS) {
		return "wss"
	}
	return "ws"
}

// millbench is this program.
type millbench struct{ program string }

func (m millbench) load(sc scenario) string { return strings.Join(sc.load, " ") }

func (m millbench) command(sc scenario, t target, warmup, duration time.Duration) []string {
	argv := append([]string{m.program}, sc.load...)
	return append(argv, "--warmup", warmup.String(), "--duration", duration.String(), "--json", "-", t.url(sc))
}

func (m millbench) slices(sc scenario, t target) []string {
	if !load.Sliceable(sc.load[0]) {
		return nil
	}
	return append(append([]string{m.program}, sc.load...), "--slices", "--server-pid", strconv.Itoa(t.pid), t.url(sc))
}

func (m millbench) read(stdout []byte) (*measured, error) {
	r, err := report.ReadJSON(bytes.NewReader(stdout))
	if err != nil {
		return nil, errNoResult
	}
	if err := flaw(r); err != nil {
		return nil, err
	}
	return figuresOf(r), nil
}

// figuresOf gives what a result tells.
func figuresOf(r *result.Result) *measured {
	all := &measured{machine: r.Machine, figures: map[string]float64{}, bottleneck: r.Client.Bottleneck}
	for _, f := range r.Figures() {
		if f.Known {
			all.figures[f.Name] = f.Value
		}
	}
	return all
}

// flaw tells why a result does not count; nil: it does.
func flaw(r *result.Result) error {
	if err := trouble(r); err != nil {
		return err
	}
	if r.Count == 0 {
		return errNothing
	}
	return nil
}

// trouble tells what went wrong; nil: nothing did.
func trouble(r *result.Result) error {
	var troubles []string
	for _, t := range r.Troubles {
		troubles = append(troubles, fmt.Sprintf("%s (%d times)", t.What, t.Count))
	}
	switch {
	case len(troubles) > 0:
		return errors.New(strings.Join(troubles, "; "))
	case r.Failed+r.Lost > 0:
		return fmt.Errorf("%d connections failed, %d were lost", r.Failed, r.Lost)
	}
	return nil
}

// wsloader is wsload. Its times are whole seconds.
type wsloader struct{ program string }

func (w wsloader) load(sc scenario) string { return strings.Join(sc.wsload, " ") }

// slices: it takes whole seconds.
func (w wsloader) slices(scenario, target) []string { return nil }

func (w wsloader) command(sc scenario, t target, warmup, duration time.Duration) []string {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	argv := append([]string{w.program}, sc.wsload...)
	return append(argv, "-w", seconds(warmup), "-t", seconds(duration), "-a", t.host, "-p", t.port, "-u", t.path, "-P", strconv.Itoa(t.pid))
}

func (w wsloader) read(stdout []byte) (*measured, error) {
	if len(stdout) == 0 {
		return nil, errNoResult
	}
	f, err := wsload.Parse(stdout)
	if err != nil {
		return nil, err
	}
	all := &measured{
		machine: load.ThisMachine(),
		figures: map[string]float64{"errors": 0},
	}
	for name, value := range map[string]float64{
		"rate": f.PerSecond, "p50": f.P50, "p99": f.P99, "p99.9": f.P999, "max": f.Max,
		"cpu": f.CPU, "server-cores": f.Cores, "rss": f.Memory,
	} {
		if value > 0 { // it prints 0 for what it did not measure
			all.figures[name] = value
		}
	}
	return all, nil
}
