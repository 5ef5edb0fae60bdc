package serve

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// config is all that can be set from outside.
type config struct {
	listen           string
	engine           string
	loops            int
	maxWorkers       int
	maxMessage       int64
	maxQueue         int
	queuePolicy      server.QueuePolicy
	handshakeTimeout time.Duration
	writeTimeout     time.Duration
	closeTimeout     time.Duration
	pingInterval     time.Duration
	idleTimeout      time.Duration
	origins          []string
	shutdownDelay    time.Duration
	shutdownTimeout  time.Duration
	logLevel         slog.Level
}

// option is one setting: a flag and the environment variable of its name.
type option struct {
	name      string
	value     string // what stands for the value in the help
	help      string
	byDefault string
	set       setter
}

// A setter keeps a value, or says what it should have been: the error completes
// the sentence that begins with "want".
type setter func(text string) error

const (
	maxLoops   = 1 << 10
	maxWorkers = 1 << 20
	maxBytes   = 1 << 30
	maxTime    = 24 * time.Hour
	minTime    = time.Millisecond
)

// options are all settings of c, in the order of the help.
func (c *config) options() []option {
	engines := poller.Engines()
	policies := map[string]server.QueuePolicy{"close": server.CloseWhenFull, "drop": server.DropNewest}
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	return []option{
		{"listen", "HOST:PORT", "TCP address to listen on; no host is all of the machine, port 0 a free one", "127.0.0.1:8080", address(&c.listen)},
		{"origin", "ORIGINS", "origins of pages that may connect besides the server's own, separated by commas\n" +
			"(repeatable), as https://example.com; * is every page", "", list(&c.origins, origin)},
		{"max-message", "SIZE", "largest message that is taken; a larger one closes with 1009", "1MiB", size(&c.maxMessage, 1, maxBytes)},
		{"max-queue", "SIZE", "most that waits for a connection that reads too slowly", "1MiB", size(&c.maxQueue, 1, maxBytes)},
		{"queue-policy", "POLICY", "beyond max-queue: close the connection with 1008, or drop the new message", "close", choice(&c.queuePolicy, policies, "close", "drop")},
		{"handshake-timeout", "TIME", "from connecting to the whole upgrade request", "10s", duration(&c.handshakeTimeout, minTime, maxTime)},
		{"write-timeout", "TIME", "how long a peer may take nothing of what waits for it", "30s", duration(&c.writeTimeout, minTime, maxTime)},
		{"close-timeout", "TIME", "how long a peer may take to answer a close frame", "5s", duration(&c.closeTimeout, minTime, maxTime)},
		{"ping-interval", "TIME", "silence after which a peer is pinged; after two it is closed; 0 is never", "25s", duration(&c.pingInterval, 0, maxTime)},
		{"idle-timeout", "TIME", "close a connection that sent no message for so long, pongs or not; 0 is never", "0", duration(&c.idleTimeout, 0, maxTime)},
		{"shutdown-delay", "TIME", "on SIGTERM or SIGINT, serve on for so long with /readyz failing", "0", duration(&c.shutdownDelay, 0, maxTime)},
		{"shutdown-timeout", "TIME", "then, time for all to close before the rest is cut", "15s", duration(&c.shutdownTimeout, 0, maxTime)},
		{"poller", "ENGINE", "how the kernel is asked for events: " + strings.Join(engines, " or "), append(engines, "")[0], name(&c.engine, engines)},
		{"loops", "N", "event loops; 0 is one for each processor", "0", number(&c.loops, 0, maxLoops)},
		{"max-workers", "N", "goroutines that blocked handlers may hold, the loops' own included", "1024", number(&c.maxWorkers, 1, maxWorkers)},
		{"log-level", "LEVEL", "least level that is logged: debug, info, warn or error", "info", choice(&c.logLevel, levels, "debug", "info", "warn", "error")},
	}
}

// readConfig takes the flags in args, then the environment, then the defaults;
// the first that has a value wins. An error is one line that names the flag or
// variable, what was wrong with it and what is allowed. It is flag.ErrHelp when
// help was asked for.
func readConfig(args []string, lookupEnv func(string) (string, bool)) (*config, error) {
	c := &config{}
	given, err := readFlags(args, c.options())
	if err != nil {
		return nil, err
	}
	for _, o := range c.options() {
		text, source := o.byDefault, "the default of --"+o.name
		if value, ok := lookupEnv(o.variable()); ok {
			text, source = value, o.variable()
		}
		if value, ok := given[o.name]; ok {
			text, source = value, "--"+o.name
		}
		if text == o.byDefault && text == "" {
			continue // nothing is what it begins with
		}
		if err := o.set(text); err != nil {
			return nil, fmt.Errorf("%s: invalid value %q: want %w", source, text, err)
		}
	}
	return c, nil
}

// readFlags gives the text of each flag in args; that of a repeated one is joined
// by commas if it is a list, else the last counts.
func readFlags(args []string, options []option) (given map[string]string, err error) {
	given = make(map[string]string)
	flags := flag.NewFlagSet("millrace serve", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error
	for _, o := range options {
		flags.Func(o.name, o.help, func(text string) error {
			if before, ok := given[o.name]; ok && o.name == "origin" {
				text = before + "," + text
			}
			given[o.name] = text
			return nil
		})
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w (millrace serve --help lists the flags that are allowed)", err)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q (only flags are allowed, millrace serve --help lists them)", flags.Arg(0))
	}
	return given, nil
}

func (o option) variable() string {
	return "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}

const helpHead = `Usage: millrace serve [flags]

Runs a WebSocket server with a page to try it in a browser at /, an echo at /echo,
and /healthz and /readyz for balancers. SIGTERM or SIGINT stops it gracefully; a
second one stops it at once.

Flags (each can also be set by the environment variable behind it; the flag wins):
`

const helpTail = `
SIZE is a number of bytes or one with a unit: 64k, 1m, 64KiB, 1MiB (all powers of 1024).
TIME is a number with its unit: 500ms, 30s, 5m, 1h30m.
`

// printHelp writes all flags with their defaults and units.
func printHelp(w io.Writer) {
	fmt.Fprint(w, helpHead)
	for _, o := range new(config).options() {
		byDefault := "none"
		if o.byDefault != "" {
			byDefault = o.byDefault
		}
		fmt.Fprintf(w, "  --%s %s  [%s]\n        %s\n        (default %s)\n",
			o.name, o.value, o.variable(), strings.ReplaceAll(o.help, "\n", "\n        "), byDefault)
	}
	fmt.Fprint(w, helpTail)
}

// server is a server.Server set up as c says.
func (c *config) server() (*server.Server, error) {
	engine, err := poller.New(c.engine)
	if err != nil {
		return nil, err
	}
	s := &server.Server{
		Engine:           engine,
		Loops:            c.loops,
		MaxWorkers:       c.maxWorkers,
		MaxMessage:       c.maxMessage,
		MaxQueue:         c.maxQueue,
		QueuePolicy:      c.queuePolicy,
		HandshakeTimeout: c.handshakeTimeout,
		WriteTimeout:     c.writeTimeout,
		CloseTimeout:     c.closeTimeout,
		PingInterval:     c.pingInterval,
		IdleTimeout:      c.idleTimeout,
		Origins:          c.origins,
	}
	if c.pingInterval == 0 {
		s.PingInterval = -1 // never; for Server 0 is the default
	}
	return s, nil
}
