package cli

import (
	"math"
	"strings"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/flags"
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
	receive   bench.Receive

	json       string
	histogram  string
	page       string
	conditions []report.Condition
	quiet      bool
	slices     bool
}

// scenario gives what is to be run.
func (c *config) scenario(name string) bench.Scenario {
	for _, own := range []*bench.Load{
		&c.echo.Load, &c.rate.Load, &c.sweep.Load, &c.churn.Load, &c.wave.Load, &c.slow.Load, &c.broadcast.Load, &c.receive.Load,
	} {
		*own = c.load
	}
	return map[string]bench.Scenario{
		result.Echo: c.echo, result.Rate: c.rate, result.Sweep: c.sweep, result.Churn: c.churn, result.Wave: c.wave,
		result.Slow: c.slow, result.Broadcast: c.broadcast, result.Receive: c.receive, result.Idle: bench.Idle{Load: c.load}, result.Storm: bench.Storm{Load: c.load},
	}[name]
}

// option is one flag.
type option struct {
	flags.Option
	only []string // the scenarios that have it; nil: all
}

// opt is an option that sets some fields, as a bench.PlanError names them.
func opt(name, value, help, byDefault string, set flags.Setter, fields string, only []string) option {
	return option{flags.New(name, value, help, byDefault, set).Sets(fields), only}
}

// listed is o of which all values count.
func (o option) listed() option {
	o.Option = o.Listed()
	return o
}

// once is o that may be given once only.
func (o option) once() option {
	o.Option = o.Once()
	return o
}

// section is a part of the help.
type section struct {
	title   string
	options []option
}

var texts = []string{bench.TextASCII, bench.TextWords, bench.TextJSON, bench.TextLatin, bench.TextCyrillic, bench.TextCJK, bench.TextEmoji}

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
		return opt("rate", "N", what, "1000", decimal(to), field, []string{only})
	}
	inFlight := func(to *int, only string) option {
		return opt("in-flight", "N", "messages of a connection that are under way at once", "1", whole(to), "InFlight", []string{only})
	}
	span := func(what string, only ...string) option {
		return opt("duration", "TIME", what, "5s", duration(&l.Duration), "Duration", only)
	}
	return []option{
		opt("connections", "N", "connections to hold at once (also -c N)", "100", whole(&l.Connections.Count), "Connections.Count", nil),
		opt("size", "SIZE", "bytes of payload of a message, or MIN-MAX: each message has a size between them; in\n"+
			"broadcast at least 20", "64",
			sizes(&l.Messages.MinSize, &l.Messages.MaxSize), "Messages.MinSize Messages.MaxSize", nil),
		opt("binary", "", "binary messages instead of text", "", flags.Bool(&l.Messages.Binary), "Messages.Binary", nil),
		opt("text", "KIND", "what payloads are made of: ascii, words, json, latin, cyrillic, cjk or emoji; none is\n"+
			"ascii, or words with --deflate", "",
			flags.Name(&l.Messages.Text, texts), "Messages.Text", nil),
		inFlight(&c.echo.InFlight, result.Echo),
		inFlight(&c.slow.InFlight, result.Slow),
		opt("in-flight", "N", "a closed loop without --rate: so many messages are on their way, and the next is sent\n"+
			"when all other connections have one; 0 is an open loop", "0", whole(&c.broadcast.InFlight), "InFlight", []string{result.Broadcast}),
		rate(&c.rate.PerSecond, "messages a second over all connections", "PerSecond", result.Rate),
		rate(&c.sweep.From, "the first rate: messages a second over all connections", "From", result.Sweep),
		rate(&c.slow.PerSecond, "messages a second that all slow connections send together", "PerSecond", result.Slow),
		rate(&c.broadcast.PerSecond, "messages published a second, by all publishers in turn", "PerSecond", result.Broadcast),
		span("how long to measure", result.Echo, result.Rate, result.Churn, result.Slow, result.Broadcast, result.Receive),
		span("how long to measure each rate", result.Sweep),
		span("how long the connections stay idle", result.Idle),
		span("how long the connections stay before they drop", result.Wave),
		span("without effect: it ends when all connections are open", result.Storm),
		opt("warmup", "TIME", "load before measuring; off is none, as idle, storm and wave have it", "1s", flags.OrOff(&l.Warmup, duration(&l.Warmup)), "Warmup", nil),
	}
}

// special are the options of single scenarios.
func (c *config) special() []option {
	churn, wave := []string{result.Churn}, []string{result.Wave}
	sweep, slow := []string{result.Sweep}, []string{result.Slow}
	broadcast := []string{result.Broadcast}
	reset := func(to *bool, only []string) option {
		return opt("reset", "", "end connections with a reset instead of a close handshake", "", flags.Bool(to), "Reset", only)
	}
	return []option{
		opt("messages", "N", "messages of each connection, one after another; off is none", "1", flags.OrOff(&c.churn.Each, whole(&c.churn.Each)), "Each", churn),
		reset(&c.churn.Reset, churn),
		reset(&c.wave.Reset, wave),
		opt("waves", "N", "how often all drop and come back", "3", whole(&c.wave.Times), "Times", wave),
		opt("slow-share", "PART", "part of the connections that is slow, above 0 and below 1", "0.1", decimal(&c.slow.Share), "Share", slow),
		opt("slow-rate", "SIZE", "what a slow connection reads in a second; 0 is nothing", "0", flags.Size(&c.slow.ReadRate, 0, flags.Unbounded), "ReadRate", slow),
		opt("publishers", "N", "connections that publish, or all", "1", publishers(&c.broadcast.Publishers), "Publishers", broadcast),
		opt("limit", "TIME", "add --step connections at a time, up to --connections, until the p95 of the time to a\n"+
			"message's last receiver exceeds it; --duration is for each step, and --in-flight is 4\n"+
			"if it is not given; 0 is all connections at once", "0", duration(&c.broadcast.Limit), "Limit", broadcast),
		opt("step", "N", "connections that --limit adds at a time", "1000", whole(&c.broadcast.Step), "Step", broadcast),
		opt("event-streams", "", "the connections that do not publish are event streams (Server-Sent Events): a GET of the\n"+
			"URL's path with Accept: text/event-stream", "", flags.Bool(&c.broadcast.EventStreams), "EventStreams", broadcast),
		opt("hello", "TEXT", "a message that each connection sends when it is open; none is no message", "", flags.Text(&c.receive.Hello), "Hello", []string{result.Receive}),
		opt("sweep-factor", "N", "by how much each rate exceeds the one before", "1.5", decimal(&c.sweep.Factor), "Factor", sweep),
		opt("sweep-max", "N", "the highest rate to try; 0 is until the server falls behind", "0", decimal(&c.sweep.To), "To", sweep),
		opt("sweep-limit", "TIME", "p99 beyond which the server has fallen behind", "50ms", duration(&c.sweep.Limit), "Limit", sweep),
		opt("sweep-precision", "PART", "how wide the knee's interval may be, as a part of the rate", "0.05", decimal(&c.sweep.Precision), "Precision", sweep),
	}
}

func (c *config) connections() []option {
	to := &c.load.Connections
	return []option{
		opt("connect-rate", "N", "new connections a second at most; 0 is as fast as allowed", "0", decimal(&to.Rate), "Connections.Rate", nil),
		opt("handshakes", "N", "connections that may be opening at once", "256", whole(&to.Handshakes), "Connections.Handshakes", nil),
		opt("connect-timeout", "TIME", "longest time from connect to the upgrade", "10s", duration(&to.Timeout), "Connections.Timeout", nil),
		opt("sources", "ADDRESSES", "addresses to connect from, separated by commas (repeatable), each until it has no\n"+
			"port left; none is the system's choice, to a server on 127.0.0.0/8 all of 127.0.0.1 on", "", flags.List(&to.Sources, address), "Connections.Sources", nil).listed(),
	}
}

func (c *config) request() []option {
	to := &c.target
	return []option{
		opt("url", "URL", "the server's, as ws://HOST[:PORT]/PATH, or wss:// with TLS; it may also stand without --url", defaultURL, flags.Text(&to.URL), "Target.URL", nil).once(),
		opt("ca", "FILE", "certificates in PEM to trust in wss; none is the system's", "", flags.Text(&to.CAFile), "Target.CAFile", nil),
		opt("insecure", "", "trust any certificate in wss", "", flags.Bool(&to.Insecure), "Target.Insecure", nil),
		opt("resume", "", "resume the TLS sessions of connections before, in wss", "", flags.Bool(&to.Resume), "Target.Resume", nil),
		opt("header", "LINE", "another line \"Name: value\" of the request (repeatable)", "", flags.Texts(&to.Header), "Target.Header", nil).listed(),
		opt("origin", "ORIGIN", "the request's Origin", "", flags.Text(&to.Origin), "Target.Origin", nil),
		opt("deflate", "HOW", "compress messages: off, on (each by itself) or takeover (with those before it in mind, both ways)", bench.DeflateOff,
			flags.Name(&to.Deflate, []string{bench.DeflateOff, bench.DeflateOn, bench.DeflateTakeover}), "Target.Deflate", nil),
		opt("subprotocol", "NAME", "the subprotocol to ask for", "", flags.Text(&to.Subprotocol), "Target.Subprotocol", nil),
	}
}

func (c *config) machine() []option {
	to := &c.load.Client
	engines := poller.Engines()
	return []option{
		opt("loops", "N", "event loops that share the load; 0 is one for each processor, or every other one in an open loop", "0", whole(&to.Loops), "Client.Loops", nil),
		opt("processes", "N", "child processes that share the load; 0 and 1 are none", "0", whole(&to.Processes), "Client.Processes", nil),
		opt("poller", "ENGINE", "how the kernel is asked for events: "+strings.Join(engines, " or "),
			append(engines, "")[0], flags.Name(&to.Poller, engines), "Client.Poller", nil),
		opt("server-pid", "PID", "the server's process on this machine, for its CPU time and memory: its number, none, or\n"+
			"auto: whoever listens on the URL's port", "auto", serverPID(&c.target.PID), "Target.PID", nil),
		opt("seed", "N", "makes the payloads", "1", flags.Whole(&c.load.Messages.Seed, 0, math.MaxUint64), "Messages.Seed", nil),
		opt("first-reply", "TIME", "how long the first of all messages may take to come back, before the run ends: the\n"+
			"server does not send any back", "1s", duration(&to.FirstReply), "Client.FirstReply", nil),
		opt("timeout", "TIME", "ends the run, whatever its state; none is what it should take, and a minute", "",
			duration(&to.Timeout), "Client.Timeout", nil),
	}
}

func (c *config) output() []option {
	return []option{
		opt("json", "FILE", "write the result as JSON; - is stdout, and then the summary goes to stderr", "", flags.Text(&c.json), "", nil),
		opt("hgrm", "FILE", "write the latencies as HdrHistogram does; service times, skew and last arrivals, where\n"+
			"there are such, go to files beside it with -service, -skew and -last in their names", "", file(&c.histogram), "", nil),
		opt("report", "FILE", "write an HTML page with charts", "", file(&c.page), "", nil),
		opt("fail-if", "CONDITION", "exit with 3 if it holds of the result, as 'p99>5ms' (repeatable): a figure, one of\n"+
			"> >= < <=, and a number with its unit. Figures:\n"+figures(), "", condition(&c.conditions), "", nil).listed(),
		opt("slices", "", "load only while told to, as compare has it: a line {\"settle_ns\": N, \"measure_ns\": N} on stdin asks for\n"+
			"a slice, and a line of JSON on stdout is its result; the first says that the connections are open", "",
			flags.Bool(&c.slices), "", []string{result.Echo, result.Rate, result.Churn}),
		opt("quiet", "", "no progress and no summary: only what went wrong", "", flags.Bool(&c.quiet), "", nil),
	}
}
