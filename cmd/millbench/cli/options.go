package cli

import (
	"strings"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
	"github.com/millrace/millrace/poller"
)

// config is all that can be set from outside.
type config struct {
	target bench.Target
	load   bench.Load // of any scenario

	// What scenarios have of their own.
	echo      bench.Echo
	rate      bench.Rate
	sweep     bench.Sweep
	churn     bench.Churn
	wave      bench.Wave
	slow      bench.Slow
	broadcast bench.Broadcast

	json       string
	histogram  string
	page       string
	conditions []report.Condition
	quiet      bool
}

// scenario gives what is to be run.
func (c *config) scenario(name string) bench.Scenario {
	for _, own := range []*bench.Load{
		&c.echo.Load, &c.rate.Load, &c.sweep.Load, &c.churn.Load, &c.wave.Load, &c.slow.Load, &c.broadcast.Load,
	} {
		*own = c.load
	}
	return map[string]bench.Scenario{
		result.Echo: c.echo, result.Rate: c.rate, result.Sweep: c.sweep, result.Churn: c.churn, result.Wave: c.wave,
		result.Slow: c.slow, result.Broadcast: c.broadcast, result.Idle: bench.Idle{Load: c.load}, result.Storm: bench.Storm{Load: c.load},
	}[name]
}

// option is one flag.
type option struct {
	name      string
	value     string // what stands for the value in the help; "": the flag has none
	help      string
	byDefault string
	set       setter   // once for the default, then for each time the flag is given
	fields    string   // of result.Plan that it sets, separated by spaces
	only      []string // the scenarios that have it; nil: all
}

// section is a part of the help.
type section struct {
	title   string
	options []option
}

const defaultURL = "ws://127.0.0.1:9001/"

// sections are all options, in the order of the help. A flag that means something
// else in other scenarios is there once for each meaning.
func (c *config) sections() []section {
	return []section{
		{"Load", append(c.loadOptions(), c.special()...)},
		{"Connections", c.connections()},
		{"Request", c.request()},
		{"Client and server", c.machine()},
		{"Output", c.output()},
	}
}

func (c *config) loadOptions() []option {
	l := &c.load
	rate := func(to *float64, what, field, only string) option {
		return option{"rate", "N", what, "1000", decimal(to), field, []string{only}}
	}
	inFlight := func(to *int, only string) option {
		return option{"in-flight", "N", "messages of a connection that are under way at once", "1", whole(to, 1), "InFlight", []string{only}}
	}
	span := func(what string, only ...string) option {
		return option{"duration", "TIME", what, "5s", duration(&l.Duration, 1), "Duration", only}
	}
	return []option{
		{"connections", "N", "connections to hold at once (also -c N)", "100", whole(&l.Connections.Count, 1), "Connections.Count", nil},
		{"size", "SIZE", "bytes of payload of a message, or MIN-MAX: each message has a size between them", "64",
			sizes(&l.Messages.MinSize, &l.Messages.MaxSize), "Messages.MinSize Messages.MaxSize", nil},
		{"binary", "", "binary messages instead of text", "", yes(&l.Messages.Binary), "Messages.Binary", nil},
		inFlight(&c.echo.InFlight, result.Echo),
		inFlight(&c.slow.InFlight, result.Slow),
		rate(&c.rate.PerSecond, "messages a second over all connections", "PerSecond", result.Rate),
		rate(&c.sweep.From, "the first rate: messages a second over all connections", "From", result.Sweep),
		rate(&c.slow.PerSecond, "messages a second that all slow connections send together", "PerSecond", result.Slow),
		rate(&c.broadcast.PerSecond, "messages published a second", "PerSecond", result.Broadcast),
		span("how long to measure", result.Echo, result.Rate, result.Churn, result.Slow, result.Broadcast),
		span("how long to measure each rate", result.Sweep),
		span("how long the connections stay idle", result.Idle),
		span("how long the connections stay before they drop", result.Wave),
		span("without effect: it ends when all connections are open", result.Storm),
		{"warmup", "TIME", "load before measuring; idle, storm and wave have none", "1s", warmup(&l.Warmup), "Warmup", nil},
	}
}

// special are the options of single scenarios.
func (c *config) special() []option {
	churn, wave := []string{result.Churn}, []string{result.Wave}
	sweep, slow := []string{result.Sweep}, []string{result.Slow}
	reset := func(to *bool, only []string) option {
		return option{"reset", "", "end connections with a reset instead of a close handshake", "", yes(to), "Reset", only}
	}
	return []option{
		{"messages", "N", "messages of each connection, one after another", "1", messages(&c.churn.Each), "Each", churn},
		reset(&c.churn.Reset, churn),
		reset(&c.wave.Reset, wave),
		{"waves", "N", "how often all drop and come back", "3", whole(&c.wave.Times, 1), "Times", wave},
		{"slow-share", "PART", "part of the connections that is slow, above 0 and below 1", "0.1", decimal(&c.slow.Share), "Share", slow},
		{"slow-rate", "SIZE", "what a slow connection reads in a second; 0 is nothing", "0", bytesOrNone(&c.slow.ReadRate), "ReadRate", slow},
		{"sweep-factor", "N", "by how much each rate exceeds the one before", "1.5", decimal(&c.sweep.Factor), "Factor", sweep},
		{"sweep-limit", "TIME", "p99 beyond which the server has fallen behind", "50ms", duration(&c.sweep.Limit, 1), "Limit", sweep},
	}
}

func (c *config) connections() []option {
	to := &c.load.Connections
	return []option{
		{"connect-rate", "N", "new connections a second at most; 0 is as fast as allowed", "0", decimalOrNone(&to.Rate), "Connections.Rate", nil},
		{"handshakes", "N", "connections that may be opening at once", "256", whole(&to.Handshakes, 1), "Connections.Handshakes", nil},
		{"connect-timeout", "TIME", "longest time from connect to the upgrade", "10s", duration(&to.Timeout, 1), "Connections.Timeout", nil},
		{"sources", "ADDRESSES", "addresses to connect from, separated by commas (repeatable), each until it has no\n" +
			"port left; by default the system's choice, to a server on 127.0.0.0/8 all of 127.0.0.1 on", "", addresses(&to.Sources), "Connections.Sources", nil},
	}
}

func (c *config) request() []option {
	to := &c.target
	return []option{
		{"url", "URL", "the server's, as ws://HOST[:PORT]/PATH, or wss:// with TLS; it may also stand without --url", defaultURL, text(&to.URL), "Target.URL", nil},
		{"ca", "FILE", "certificates in PEM to trust in wss; by default the system's", "", text(&to.CAFile), "Target.CAFile", nil},
		{"insecure", "", "trust any certificate in wss", "", yes(&to.Insecure), "Target.Insecure", nil},
		{"header", "LINE", "another line \"Name: value\" of the request (repeatable)", "", more(&to.Header), "Target.Header", nil},
		{"origin", "ORIGIN", "the request's Origin", "", text(&to.Origin), "Target.Origin", nil},
		{"deflate", "HOW", "compress messages: off, on (each by itself) or takeover (with those before it in mind, both ways)", bench.DeflateOff,
			name(&to.Deflate, []string{bench.DeflateOff, bench.DeflateOn, bench.DeflateTakeover}), "Target.Deflate", nil},
		{"subprotocol", "NAME", "the subprotocol to ask for", "", text(&to.Subprotocol), "Target.Subprotocol", nil},
	}
}

func (c *config) machine() []option {
	to := &c.load.Client
	engines := poller.Engines()
	return []option{
		{"loops", "N", "event loops that share the load; 0 is one for each processor, or every other one in an open loop", "0", whole(&to.Loops, 0), "Client.Loops", nil},
		{"processes", "N", "child processes that share the load; 0 and 1 are none", "0", whole(&to.Processes, 0), "Client.Processes", nil},
		{"poller", "ENGINE", "how the kernel is asked for events: " + strings.Join(engines, " or "),
			append(engines, "")[0], name(&to.Poller, engines), "Client.Poller", nil},
		{"server-pid", "PID", "the server's process on this machine, for its CPU time and memory: its number, none, or\n" +
			"auto: whoever listens on the URL's port", "auto", serverPID(&c.target.PID), "Target.PID", nil},
		{"seed", "N", "makes the payloads", "1", seed(&c.load.Messages.Seed), "Messages.Seed", nil},
		{"timeout", "TIME", "ends the run, whatever its state; by default what it should take, and a minute", "",
			duration(&to.Timeout, 1), "Client.Timeout", nil},
	}
}

func (c *config) output() []option {
	return []option{
		{"json", "FILE", "write the result as JSON; - is stdout, and then the summary goes to stderr", "", text(&c.json), "", nil},
		{"hgrm", "FILE", "write the latencies as HdrHistogram does; service times and skew, where there are such,\n" +
			"go to files beside it with -service and -skew in their names", "", file(&c.histogram), "", nil},
		{"report", "FILE", "write an HTML page with charts", "", file(&c.page), "", nil},
		{"fail-if", "CONDITION", "exit with 3 if it holds of the result, as 'p99>5ms' (repeatable): a figure, one of\n" +
			"> >= < <=, and a number with its unit. Figures:\n" + figures(), "", condition(&c.conditions), "", nil},
		{"quiet", "", "no progress and no summary: only what went wrong", "", yes(&c.quiet), "", nil},
	}
}
