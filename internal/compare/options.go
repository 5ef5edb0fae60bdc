package compare

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millrace/millrace/internal/flags"
)

const (
	// usualWidth is that of verdicts if no other is asked for.
	usualWidth = 0.05
	// mostRepetitions bounds them: beyond it, intervals hardly get narrower.
	mostRepetitions = 200
)

// options are what can be asked for.
type options struct {
	servers     []server
	scenarios   []scenario
	repetitions int
	warmup      time.Duration
	duration    time.Duration
	slice       time.Duration
	until       float64 // width of verdicts; 0: so many repetitions and no more
	atMost      time.Duration
	mostStolen  float64
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

// check judges the options together, and completes them.
func (o *options) check(flags.Values) error {
	if o.generator == wsloadName && (o.duration%time.Second != 0 || o.warmup%time.Second != 0) {
		return fmt.Errorf("--duration and --warmup: %v and %v, but wsload takes whole seconds", o.duration, o.warmup)
	}
	if o.generator == wsloadName {
		o.scenarios = slices.DeleteFunc(slices.Clone(o.scenarios), func(sc scenario) bool { return sc.wsload == nil })
		if len(o.scenarios) == 0 {
			return errors.New("--scenarios: wsload has none of them")
		}
	}
	if o.runLimit == 0 {
		o.runLimit = o.startLimit + o.warmup + o.duration + 90*time.Second
	}
	return nil
}

// flags are what the command can be asked for.
func (o *options) flags() *flags.Set {
	above0 := func(to *time.Duration) flags.Setter { return flags.Duration(to, 1, flags.Unbounded) }
	usualServers := strings.ReplaceAll(namesOf(usual()), " ", "")
	return &flags.Set{Command: "millbench compare", About: about, Notes: notes(), Check: o.check, Groups: []flags.Group{
		{Title: "What to compare", Options: []flags.Option{
			flags.New("servers", "LIST", "servers, separated by commas; ratios are to the first", usualServers, pick(&o.servers, parseServers)),
			flags.New("scenarios", "LIST", "scenarios, separated by commas, or all; all,-NAME is all but one", "all", pick(&o.scenarios, parseScenarios)),
			flags.New("load", "NAME", "what makes the load: millbench, or wsload, in C by another hand (Linux, needs cc)", millbenchName,
				flags.Name(&o.generator, slices.Sorted(maps.Keys(generators)))),
			flags.New("bars", "", "hold millrace against the bars it has to reach, where the servers for that are compared", "", flags.Bool(&o.bars)),
		}},
		{Title: "Runs", Options: []flags.Option{
			flags.New("reps", "N", "repetitions, each with servers started anew; 6 is the least that gives 95 % confidence,\n"+
				"and 9 with --until, which looks at it several times", "7",
				flags.Whole(&o.repetitions, 1, mostRepetitions)),
			flags.New("until", "WIDTH", "repeat on, after --reps, until each ratio is told to be better, worse or equal within this\n"+
				"width, as 5%; none is no further, and verdicts within 5%", "", percentOrNone(&o.until)),
			flags.New("at-most", "TIME", "then ends each scenario, or after half of it if all is not nearly enough, and says how\n"+
				"much longer it would need", "10m", above0(&o.atMost)),
			flags.New("duration", "TIME", "measured of each server in a repetition", "2s", above0(&o.duration)),
			flags.New("slice", "TIME", "of it in a turn, where servers take turns within a repetition", "500ms", above0(&o.slice)),
			flags.New("warmup", "TIME", "loaded before that", "500ms", above0(&o.warmup)),
			flags.New("most-stolen", "SHARE", "slices are thrown away in which the host took more of a CPU, or the client was kept\n"+
				"from running for more", "5%", percent(&o.mostStolen)),
			flags.New("start-limit", "TIME", "within which a server must listen", "10s", above0(&o.startLimit)),
			flags.New("timeout", "TIME", "after which a run, or a turn, is given up; 0 is what it should take and 90s", "0", flags.Duration(&o.runLimit, 0, flags.Unbounded)),
			flags.New("server-cpus", "CPUS", "of the servers, as taskset -c takes them, or all", "0", cpus(&o.serverCPUs)),
			flags.New("client-cpus", "CPUS", "of the client, in the same way", "1", cpus(&o.clientCPUs)),
		}},
		{Title: "Output", Options: []flags.Option{
			flags.New("json", "FILE", "write all figures of all runs; - is stdout, and then the tables go to stderr", "", flags.Text(&o.json)),
			flags.New("report", "FILE", "write an HTML page with charts", "", flags.Text(&o.report)),
			flags.New("pictures", "DIR", "write each chart to this folder as .svg", "", flags.Text(&o.pictures)),
			flags.New("markdown", "FILE", "write the tables, with the pictures of --pictures. What stands in the file from the line\n"+
				"<!-- From this line on a comparison changes nothing. --> on stays", "", flags.Text(&o.markdown)),
		}},
	}}
}

// pick is what parse makes of a list.
func pick[T any](to *[]T, parse func(string) ([]T, error)) flags.Setter {
	return func(text string) (err error) {
		*to, err = parse(text)
		return err
	}
}

// percent is a share above 0, as "5%" or "0.5 %".
func percent(to *float64) flags.Setter {
	return func(text string) error {
		number, ok := strings.CutSuffix(text, "%")
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if !ok || err != nil || !(n > 0 && n <= 100) {
			return errors.New("a share in percent, as 5%")
		}
		*to = n / 100
		return nil
	}
}

// percentOrNone is percent, or 0 for "none".
func percentOrNone(to *float64) flags.Setter {
	return func(text string) error {
		if text == "none" {
			*to = 0
			return nil
		}
		return percent(to)(text)
	}
}

// cpus are some, or "all", which is "".
func cpus(to *string) flags.Setter {
	return func(text string) error {
		if *to = text; text == "all" {
			*to = ""
		}
		return nil
	}
}

const about = `Starts servers, each pinned to its CPUs, loads them with millbench or wsload pinned to
others, and prints the medians of their figures and the ratios to the first server,
with 95 % confidence intervals and what they say: better, worse or equal, or how much
longer it would need to tell. The servers take turns: slice by slice where the load
can be made so, or else run by run. Servers given by name are built from the checkout
of millrace that this runs in; your own are NAME=COMMAND, or NAME/PATH=COMMAND for
another path of the URL than /, where COMMAND is one program with arguments as sh
reads them, in which LISTEN stands for the host:port to listen on and PORT for the
port. A server that has the flags --broadcast, with event streams, --cert FILE --key FILE,
--deflate and --takeover has FLAGS in its command where they go: then it takes part in the
scenarios that need them, too.

  millbench compare --servers 'millrace,mine/ws=./server -addr LISTEN'`

const statuses = `
Exit status:
  0  all runs are good
  1  some are not, nothing could be compared, or a figure is known of no server
  2  wrong flags: nothing was run
`

// notes are the servers and the scenarios, and the exit statuses.
func notes() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Servers (%s is millrace, where one message in 20,000 sleeps 50 ms in its handler):\n  %s\n\nScenarios:\n", napping, knownNames())
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range scenarios {
		fmt.Fprintf(t, "  %s\t%s\n", s.name, s.title)
	}
	_ = t.Flush() // into memory
	return b.String() + statuses
}
