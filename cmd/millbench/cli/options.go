package cli

import (
	"strings"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/internal/report"
	"github.com/millrace/millrace/poller"
)

// config is all that can be set from outside.
type config struct {
	plan       bench.Plan
	json       string
	histogram  string
	page       string
	conditions []report.Condition
	quiet      bool
}

// option is one flag.
type option struct {
	name      string
	value     string // what stands for the value in the help; "": the flag has none
	help      string
	byDefault string
	set       setter   // once for the default, then for each time the flag is given
	fields    string   // of bench.Plan that it sets, separated by spaces
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
		{"Load", append(c.load(), c.special()...)},
		{"Connections", c.connections()},
		{"Request", c.request()},
		{"Client and server", c.machine()},
		{"Output", c.output()},
	}
}

func (c *config) load() []option {
	p := &c.plan
	openLoops := []string{bench.Rate, bench.Sweep, bench.Slow, bench.Broadcast}
	rate := func(what string, only string) option {
		return option{"rate", "N", what, "1000", decimal(&p.Rate), "Rate", []string{only}}
	}
	span := func(what string, only ...string) option {
		return option{"duration", "TIME", what, "5s", duration(&p.Duration, 1), "Duration", only}
	}
	return []option{
		{"connections", "N", "connections to hold at once (also -c N)", "100", whole(&p.Connections, 1), "Connections", nil},
		{"size", "SIZE", "bytes of payload of a message, or MIN-MAX: each message has a size between them", "64",
			sizes(&p.MinSize, &p.MaxSize), "MinSize MaxSize", nil},
		{"binary", "", "binary messages instead of text", "", yes(&p.Binary), "Binary", nil},
		{"in-flight", "N", "messages of a connection that are under way at once", "1", whole(&p.InFlight, 1), "InFlight",
			[]string{bench.Echo, bench.Slow}},
		rate("messages a second over all connections", openLoops[0]),
		rate("the first rate: messages a second over all connections", openLoops[1]),
		rate("messages a second that all slow connections send together", openLoops[2]),
		rate("messages published a second", openLoops[3]),
		span("how long to measure", bench.Echo, bench.Rate, bench.Churn, bench.Slow, bench.Broadcast),
		span("how long to measure each rate", bench.Sweep),
		span("how long the connections stay idle", bench.Idle),
		span("how long the connections stay before they drop", bench.Wave),
		span("without effect: it ends when all connections are open", bench.Storm),
		{"warmup", "TIME", "load before measuring; idle, storm and wave have none", "1s", warmup(&p.Warmup), "Warmup", nil},
	}
}

// special are the options of single scenarios.
func (c *config) special() []option {
	p := &c.plan
	churn, wave := []string{bench.Churn}, []string{bench.Wave}
	sweep, slow := []string{bench.Sweep}, []string{bench.Slow}
	return []option{
		{"messages", "N", "messages of each connection, one after another", "1", messages(&p.Messages), "Messages", churn},
		{"reset", "", "end connections with a reset instead of a close handshake", "", yes(&p.Reset), "Reset",
			[]string{bench.Churn, bench.Wave}},
		{"waves", "N", "how often all drop and come back", "3", whole(&p.Waves, 1), "Waves", wave},
		{"slow-share", "PART", "part of the connections that is slow, above 0 and below 1", "0.1", decimal(&p.SlowShare), "SlowShare", slow},
		{"slow-rate", "SIZE", "what a slow connection reads in a second; 0 is nothing", "0", bytesOrNone(&p.SlowRate), "SlowRate", slow},
		{"sweep-factor", "N", "by how much each rate exceeds the one before", "1.5", decimal(&p.SweepFactor), "SweepFactor", sweep},
		{"sweep-limit", "TIME", "p99 beyond which the server has fallen behind", "50ms", duration(&p.SweepLimit, 1), "SweepLimit", sweep},
	}
}

func (c *config) connections() []option {
	p := &c.plan
	return []option{
		{"connect-rate", "N", "new connections a second at most; 0 is as fast as allowed", "0", decimalOrNone(&p.ConnectRate), "ConnectRate", nil},
		{"handshakes", "N", "connections that may be opening at once", "256", whole(&p.Handshakes, 1), "Handshakes", nil},
		{"connect-timeout", "TIME", "longest time from connect to the upgrade", "10s", duration(&p.ConnectTimeout, 1), "ConnectTimeout", nil},
		{"sources", "ADDRESSES", "addresses to connect from, separated by commas (repeatable), each until it has no\n" +
			"port left; by default the system's choice, to a server on 127.0.0.0/8 all of 127.0.0.1 on", "", addresses(&p.Sources), "Sources", nil},
	}
}

func (c *config) request() []option {
	p := &c.plan
	return []option{
		{"url", "URL", "the server's, as ws://HOST[:PORT]/PATH, or wss:// with TLS; it may also stand without --url", defaultURL, text(&p.URL), "URL", nil},
		{"ca", "FILE", "certificates in PEM to trust in wss; by default the system's", "", text(&p.CAFile), "CAFile", nil},
		{"insecure", "", "trust any certificate in wss", "", yes(&p.Insecure), "Insecure", nil},
		{"header", "LINE", "another line \"Name: value\" of the request (repeatable)", "", more(&p.Header), "Header", nil},
		{"origin", "ORIGIN", "the request's Origin", "", text(&p.Origin), "Origin", nil},
		{"deflate", "HOW", "compress messages: off, on (each by itself) or takeover (with those before it in mind, both ways)", bench.DeflateOff,
			name(&p.Deflate, []string{bench.DeflateOff, bench.DeflateOn, bench.DeflateTakeover}), "Deflate", nil},
		{"subprotocol", "NAME", "the subprotocol to ask for", "", text(&p.Subprotocol), "Subprotocol", nil},
	}
}

func (c *config) machine() []option {
	p := &c.plan
	engines := poller.Engines()
	return []option{
		{"loops", "N", "event loops that share the load; 0 is one for each processor, or every other one in an open loop", "0", whole(&p.Loops, 0), "Loops", nil},
		{"processes", "N", "child processes that share the load; 0 and 1 are none", "0", whole(&p.Processes, 0), "Processes", nil},
		{"poller", "ENGINE", "how the kernel is asked for events: " + strings.Join(engines, " or "),
			append(engines, "")[0], name(&p.Poller, engines), "Poller", nil},
		{"server-pid", "PID", "the server's process on this machine, for its CPU time and memory: its number, none, or\n" +
			"auto: whoever listens on the URL's port", "auto", serverPID(&p.ServerPID), "ServerPID", nil},
		{"seed", "N", "makes the payloads", "1", seed(&p.Seed), "Seed", nil},
		{"timeout", "TIME", "ends the run, whatever its state; by default what it should take, and a minute", "",
			duration(&p.Timeout, 1), "Timeout", nil},
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
