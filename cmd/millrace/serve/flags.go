package serve

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// config is all that can be set from outside, in groups: each has its flags and
// what they do to the server in a file options_*.go of its own.
type config struct {
	main     mainOptions
	log      logOptions
	tls      tlsOptions
	balancer balancerOptions
	admin    adminOptions
	limits   limitOptions
	timeouts timeoutOptions
	http     httpOptions
	deflate  deflateOptions
	drain    drainOptions
	loops    loopOptions

	given map[string]given // by the flag's name; what nobody has given is by default
}

// group is some of the settings. apply sets up what they mean for the server, and
// reports what only shows in settings together.
type group interface {
	options() []option
	apply(*server.Server) error
}

// groups are all settings of c, in the order of the help.
func (c *config) groups() []group {
	return []group{&c.main, &c.log, &c.tls, &c.balancer, &c.admin, &c.limits, &c.timeouts, &c.http, &c.deflate, &c.drain, &c.loops}
}

// option is one setting: a flag and the environment variable of its name.
type option struct {
	name      string
	value     string // what stands for the value in the help
	help      string
	byDefault string
	set       flags.Setter
}

const (
	maxTime = 366 * 24 * time.Hour // as in server
	minTime = time.Millisecond
	noMost  = math.MaxInt // for numbers that only the server bounds

	maxBytes = 1 << 60 // far from where sums of sizes overflow; the server bounds them too
)

// options are those of all groups.
func (c *config) options() (all []option) {
	for _, g := range c.groups() {
		all = append(all, g.options()...)
	}
	return all
}

// readConfig takes the flags in args, then the environment, then the defaults;
// the first that has a value wins. An error is one line that names the flag or
// variable, what was wrong with it and what is allowed. It is flag.ErrHelp when
// help was asked for.
func readConfig(args, environ []string) (*config, error) {
	c := &config{given: map[string]given{}}
	inArgs, err := readFlags(args, c.options())
	if err != nil {
		return nil, err
	}
	inEnv, err := variables(environ, c.options())
	if err != nil {
		return nil, err
	}
	for _, o := range c.options() {
		from := given{"the default of --" + o.name, o.byDefault}
		if value, ok := inEnv[o.variable()]; ok {
			from = given{o.variable(), value}
		}
		if value, ok := inArgs[o.name]; ok {
			from = given{"--" + o.name, value}
		}
		c.given[o.name] = from
		switch byDefault := strings.HasPrefix(from.source, "the default"); {
		case byDefault && from.text == "":
			continue // nothing is what it begins with
		case from.text == "":
			return nil, fmt.Errorf("%s: empty value: leave it out, or say what it is to be", from.source)
		}
		if err := o.set(from.text); err != nil {
			return nil, fmt.Errorf("%s: invalid value %q: want %w", from.source, from.text, err)
		}
	}
	c.timeouts.pingByDefault = strings.HasPrefix(c.given["ping-interval"].source, "the default")
	return c, c.check()
}

// check reports settings that can not be meant together, where a group has such.
func (c *config) check() error {
	if c.admin.address != "" && c.admin.address == c.main.listen && !strings.HasSuffix(c.main.listen, ":0") {
		return fmt.Errorf("--listen and --admin are the same address, %s", c.main.listen)
	}
	for _, g := range c.groups() {
		if checked, ok := g.(interface{ check() error }); ok {
			if err := checked.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// readFlags gives the text of each flag in args; that of a repeated one is joined
// by commas if it is a list, else the last counts.
func readFlags(args []string, options []option) (given map[string]string, err error) {
	given = make(map[string]string)
	parsed := flag.NewFlagSet("millrace serve", flag.ContinueOnError)
	parsed.SetOutput(io.Discard) // the caller prints the error
	for _, o := range options {
		parsed.Func(o.name, o.help, func(text string) error {
			if before, ok := given[o.name]; ok && o.isList() {
				text = before + "," + text
			}
			given[o.name] = text
			return nil
		})
	}
	switch err := parsed.Parse(withValues(args, options)); {
	case errors.Is(err, flag.ErrHelp):
		return nil, err
	case err != nil:
		return nil, unknownFlag(err, options)
	case parsed.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q (only flags are allowed, millrace serve --help lists them)", parsed.Arg(0))
	}
	return given, nil
}

// unknownFlag adds to an error of package flag what may have been meant.
func unknownFlag(err error, options []option) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if near := flags.Nearest(strings.ToLower(name), names(options)); unknown && near != "" {
		return fmt.Errorf("unknown flag --%s: did you mean --%s?", name, near)
	}
	return fmt.Errorf("%w (millrace serve --help lists the flags that are allowed)", err)
}

// isList tells whether the values of a repeated flag are added up.
func (o option) isList() bool {
	return o.name == "origin" || o.name == "host" || o.name == "trusted-proxies" || o.name == "admin-host"
}

// alone is the value of a flag that is given without one; "" where it needs one.
func (o option) alone() string {
	if o.name == "access-log" {
		return "on"
	}
	return ""
}

// withValues gives flags that stand alone their value, or the one behind them.
func withValues(args []string, options []option) (all []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		for _, o := range options {
			if arg != "-"+o.name && arg != "--"+o.name || o.alone() == "" {
				continue
			}
			arg += "=" + o.alone()
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				arg = args[i-1] + "=" + args[i]
			}
		}
		all = append(all, arg)
	}
	return all
}

func (o option) variable() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}

// names are those of the flags.
func names(options []option) (all []string) {
	for _, o := range options {
		all = append(all, o.name)
	}
	return all
}

const helpHead = `Usage: millrace serve [flags]

Runs a WebSocket server with a page to try it in a browser at /, an echo at /echo,
and /healthz and /readyz for balancers. SIGTERM or SIGINT drains and ends it; one
more, a second later, stops it at once.

Flags (each can also be set by the environment variable behind it; the flag wins):
`

const helpTail = `
SIZE is a number of bytes or one with a unit: 64k, 1m, 64KiB, 1MiB (all powers of 1024).
TIME is a number with its unit: 500ms, 30s, 5m, 1h30m.
0 is the default of a SIZE, a TIME or a number N, unless it says otherwise; where off is
allowed, there is no bound then.
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

// server is a server.Server set up as c says, and found to work.
func (c *config) server() (*server.Server, error) {
	s := &server.Server{}
	for _, g := range c.groups() {
		if err := g.apply(s); err != nil {
			return nil, err
		}
	}
	return s, c.inFlags(s.Validate())
}
