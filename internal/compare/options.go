package compare

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
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
	var servers, names string
	flags := o.flags(&servers, &names)
	flags.SetOutput(io.Discard) // the caller prints the error
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: only flags are allowed", flags.Arg(0))
	}
	var err error
	if o.servers, err = parseServers(servers); err != nil {
		return nil, fmt.Errorf("--servers: %w", err)
	}
	if o.scenarios, err = parseScenarios(names); err != nil {
		return nil, fmt.Errorf("--scenarios: %w", err)
	}
	switch {
	case o.repetitions < 1:
		return nil, errors.New("--reps: want at least 1")
	case o.duration <= 0 || o.warmup <= 0 || o.startLimit <= 0:
		return nil, errors.New("--duration, --warmup and --start-limit: want a time above 0, like 2s")
	case o.runLimit < 0:
		return nil, errors.New("--timeout: want 0 or a time above it, like 2m")
	}
	if err := o.checkGenerator(); err != nil {
		return nil, err
	}
	if o.runLimit == 0 {
		o.runLimit = o.startLimit + o.warmup + o.duration + 90*time.Second
	}
	return o, nil
}

// checkGenerator sees that what makes the load is known, and can do what is asked.
func (o *options) checkGenerator() error {
	if _, known := generators[o.generator]; !known {
		return fmt.Errorf("--load: no generator %q: there are %s", o.generator, strings.Join(slices.Sorted(maps.Keys(generators)), ", "))
	}
	if o.generator == wsloadName && (o.duration%time.Second != 0 || o.warmup%time.Second != 0) {
		return fmt.Errorf("--duration and --warmup: %v and %v, but wsload takes whole seconds", o.duration, o.warmup)
	}
	return nil
}

func (o *options) flags(servers, names *string) *flag.FlagSet {
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.StringVar(servers, "servers", strings.ReplaceAll(namesOf(usual()), " ", ""), "`LIST` of servers, separated by commas; ratios are to the first")
	f.StringVar(names, "scenarios", "", "`LIST` of scenarios, separated by commas (default all)")
	f.IntVar(&o.repetitions, "reps", 7, "repetitions `N`; 6 is the least that gives 95 % confidence")
	f.DurationVar(&o.duration, "duration", 2*time.Second, "`TIME` measured in each run")
	f.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "`TIME` loaded before that")
	f.DurationVar(&o.startLimit, "start-limit", 10*time.Second, "`TIME` within which a server must listen")
	f.DurationVar(&o.runLimit, "timeout", 0, "`TIME` after which a run is given up; 0: what it should take and 90s")
	f.StringVar(&o.serverCPUs, "server-cpus", "0", "`CPUS` of the servers, as taskset -c; empty: all")
	f.StringVar(&o.clientCPUs, "client-cpus", "1", "`CPUS` of the client")
	f.StringVar(&o.generator, "load", millbenchName, "`NAME` of what makes the load: millbench, or wsload, in C by another hand (Linux, needs cc)")
	f.StringVar(&o.json, "json", "", "write all figures of all runs to `FILE`; -: to stdout, the tables to stderr")
	f.StringVar(&o.report, "report", "", "write an HTML page with charts to `FILE`")
	f.StringVar(&o.pictures, "pictures", "", "write each chart to a folder `DIR` as .svg")
	f.StringVar(&o.markdown, "markdown", "", "write the tables to `FILE`, with the pictures of --pictures")
	f.BoolVar(&o.bars, "bars", false, "hold millrace against the bars it has to reach, where the servers for that are compared")
	return f
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
	var o options
	flags := o.flags(new(string), new(string))
	fmt.Fprint(w, helpHead)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	flags.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.Name != "servers" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(t, "  --%s\t%s\n", strings.TrimSpace(f.Name+" "+value), usage)
	})
	fmt.Fprintf(t, "\nServers (default all but %s: millrace, where one message in 20,000 sleeps 50 ms in its handler):\n  %s\n\nScenarios:\n",
		napping, knownNames())
	for _, s := range scenarios {
		fmt.Fprintf(t, "  %s\t%s\n", s.name, s.title)
	}
}
