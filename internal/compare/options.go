package compare

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millrace/millrace/internal/flags"
)

// options are what can be asked for.
type options struct {
	servers     []server
	scenarios   []scenario
	repetitions int
	warmup      time.Duration
	duration    time.Duration
	startLimit  time.Duration
	runLimit    time.Duration
	serverCPUs  string
	clientCPUs  string
	json        string
	report      string
	pictures    string
	markdown    string
	bars        bool
	generator   string
}

// readOptions reads the flags. An error is one line; it is flag.ErrHelp when help
// was asked for.
func readOptions(args []string) (*options, error) {
	o := &options{}
	var servers, scenarios string
	if _, err := o.flags(&servers, &scenarios).Read(args, nil); err != nil {
		return nil, err
	}
	var err error
	if o.servers, err = parseServers(servers); err != nil {
		return nil, fmt.Errorf("--servers: %w", err)
	}
	if o.scenarios, err = parseScenarios(scenarios); err != nil {
		return nil, fmt.Errorf("--scenarios: %w", err)
	}
	if err := o.checkGenerator(); err != nil {
		return nil, err
	}
	if o.runLimit == 0 {
		o.runLimit = o.startLimit + o.warmup + o.duration + 90*time.Second
	}
	return o, nil
}

// checkGenerator sees that what makes the load can do what is asked.
func (o *options) checkGenerator() error {
	if o.generator == wsloadName && (o.duration%time.Second != 0 || o.warmup%time.Second != 0) {
		return fmt.Errorf("--duration and --warmup: %v and %v, but wsload takes whole seconds", o.duration, o.warmup)
	}
	return nil
}

func (o *options) flags(servers, scenarios *string) *flags.Set {
	above0 := func(to *time.Duration) flags.Setter { return flags.Duration(to, 1, flags.Unbounded) }
	file := func(name, help string, to *string) flags.Option {
		return flags.Option{Name: name, Value: "FILE", Help: help, Set: flags.Text(to)}
	}
	return &flags.Set{Command: "millbench compare", Options: []flags.Option{
		{Name: "servers", Value: "LIST", Help: "servers, separated by commas; ratios are to the first", Default: strings.ReplaceAll(namesOf(usual()), " ", ""),
			Set: flags.Text(servers)},
		{Name: "scenarios", Value: "LIST", Help: "scenarios, separated by commas; by default all", Set: flags.Text(scenarios)},
		{Name: "load", Value: "NAME", Help: "what makes the load: millbench, or wsload, in C by another hand (Linux, needs cc)", Default: millbenchName,
			Set: flags.Name(&o.generator, slices.Sorted(maps.Keys(generators)))},
		{Name: "bars", Help: "hold millrace against the bars it has to reach, where the servers for that are compared", Set: flags.Bool(&o.bars)},
		{Name: "reps", Value: "N", Help: "repetitions; 6 is the least that gives 95 % confidence", Default: "7", Set: flags.Whole(&o.repetitions, 1, math.MaxInt)},
		{Name: "duration", Value: "TIME", Help: "measured in each run", Default: "2s", Set: above0(&o.duration)},
		{Name: "warmup", Value: "TIME", Help: "loaded before that", Default: "500ms", Set: above0(&o.warmup)},
		{Name: "start-limit", Value: "TIME", Help: "within which a server must listen", Default: "10s", Set: above0(&o.startLimit)},
		{Name: "timeout", Value: "TIME", Help: "after which a run is given up; 0: what it should take and 90s", Default: "0",
			Set: flags.Duration(&o.runLimit, 0, flags.Unbounded)},
		{Name: "server-cpus", Value: "CPUS", Help: "of the servers, as taskset -c; empty: all", Default: "0", Set: flags.Text(&o.serverCPUs)},
		{Name: "client-cpus", Value: "CPUS", Help: "of the client", Default: "1", Set: flags.Text(&o.clientCPUs)},
		file("json", "write all figures of all runs; -: to stdout, the tables to stderr", &o.json),
		file("report", "write an HTML page with charts", &o.report),
		{Name: "pictures", Value: "DIR", Help: "write each chart to this folder as .svg", Set: flags.Text(&o.pictures)},
		file("markdown", "write the tables, with the pictures of --pictures", &o.markdown),
	}}
}

const helpHead = `Usage: millbench compare [flags]

Starts echo servers one after another, each pinned to its CPUs, loads them with
millbench or wsload pinned to others, and prints the medians of their figures and the median
ratios to the first server, with 95 % confidence intervals. The servers take turns
within each repetition. Servers given by name are built from the checkout of
millrace that this runs in; your own are NAME=COMMAND, or NAME/PATH=COMMAND for
another path of the URL than /, where COMMAND is one program with arguments as sh
reads them, in which LISTEN stands for the host:port to listen on and PORT for the
port:

  millbench compare --servers 'millrace,mine/ws=./server -addr LISTEN'

Exit status: 0 all runs are good, 1 some are not or nothing could be compared,
2 wrong flags.

Flags:
`

// printHelp lists the flags, the servers and the scenarios.
func printHelp(w io.Writer) {
	fmt.Fprint(w, helpHead)
	set := new(options).flags(new(string), new(string))
	for _, o := range set.Options {
		set.Print(w, o, "")
	}
	fmt.Fprint(w, "\n", flags.TimeHelp)
	fmt.Fprintf(w, "\nServers (%s is millrace, where one message in 20,000 sleeps 50 ms in its handler):\n  %s\n\nScenarios:\n", napping, knownNames())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for _, s := range scenarios {
		fmt.Fprintf(t, "  %s\t%s\n", s.name, s.title)
	}
}
