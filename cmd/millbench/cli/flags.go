package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/millrace/millrace/bench"
)

// given is one flag as it was given.
type given struct{ name, text string }

// readConfig takes the flags and the URL in args, then the defaults. An error is
// one line that names the flag, what was wrong with it and what is allowed. It is
// flag.ErrHelp when help was asked for.
func readConfig(scenario string, args []string) (*config, error) {
	c := &config{}
	flags, err := readFlags(scenario, args, c.options())
	if err != nil {
		return nil, err
	}
	for _, o := range c.options() {
		if !o.fits(scenario) || o.byDefault == "" {
			continue
		}
		if err := o.set(o.byDefault); err != nil {
			return nil, fmt.Errorf("the default of --%s: invalid value %q: want %w", o.name, o.byDefault, err)
		}
	}
	for _, g := range flags {
		o, err := c.option(scenario, g.name)
		if err != nil {
			return nil, err
		}
		if err := o.set(g.text); err != nil {
			return nil, fmt.Errorf("--%s: invalid value %q: want %w", g.name, g.text, err)
		}
	}
	return c, nil
}

// options are those of all sections.
func (c *config) options() []option {
	var all []option
	for _, s := range c.sections() {
		all = append(all, s.options...)
	}
	return all
}

func (o *option) fits(scenario string) bool {
	return o.only == nil || slices.Contains(o.only, scenario)
}

// option gives a scenario's option, or says which scenarios have it.
func (c *config) option(scenario, name string) (*option, error) {
	var others []string
	for _, o := range c.options() {
		if o.name != name {
			continue
		}
		if o.fits(scenario) {
			return &o, nil
		}
		others = append(others, o.only...)
	}
	return nil, fmt.Errorf("--%s: %s has no such flag (only %s)", name, scenario, strings.Join(others, ", "))
}

// readFlags gives the flags in args, in their order. The URL may stand before,
// between or behind them.
func readFlags(scenario string, args []string, options []option) ([]given, error) {
	var all []given
	flags := flag.NewFlagSet("millbench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error
	for _, o := range options {
		if flags.Lookup(o.name) != nil {
			continue // another meaning of the same flag
		}
		keep := func(text string) error {
			all = append(all, given{o.name, text})
			return nil
		}
		if o.value == "" {
			flags.BoolFunc(o.name, o.help, keep)
		} else {
			flags.Func(o.name, o.help, keep)
		}
		if o.name == "connections" {
			flags.Func("c", o.help, keep)
		}
	}
	for rest := args; ; rest = flags.Args()[1:] {
		switch err := flags.Parse(rest); {
		case errors.Is(err, flag.ErrHelp):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w (millbench %s --help lists the flags that are allowed)", err, scenario)
		case flags.NArg() == 0:
			return all, nil
		case slices.ContainsFunc(all, func(g given) bool { return g.name == "url" }):
			return nil, fmt.Errorf("unexpected argument %q (the URL is given already; millbench %s --help lists the flags)", flags.Arg(0), scenario)
		}
		all = append(all, given{"url", flags.Arg(0)})
	}
}

// explain puts an error of bench.Run in terms of the scenario's flags.
func (c *config) explain(scenario string, err error) error {
	plan, ok := errors.AsType[*bench.PlanError](err)
	if !ok {
		return err
	}
	for _, o := range c.options() {
		if o.fits(scenario) && slices.Contains(strings.Fields(o.fields), plan.Field) {
			return fmt.Errorf("--%s: %s", o.name, plan.Problem)
		}
	}
	return err
}

const helpTail = `
SIZE is a number of bytes or one with a unit: 64k, 1m, 64KiB, 1MiB (powers of 1024).
TIME is a number with its unit: 500ms, 30s, 5m, 1h30m.
`

// printHelp writes a scenario's flags with their defaults and units.
func (s scenario) printHelp(w io.Writer) {
	fmt.Fprintf(w, "Usage: millbench %s [flags] [URL]\n\n%s\n", s.name, s.help)
	for _, section := range new(config).sections() {
		fmt.Fprintf(w, "\n%s:\n", section.title)
		for _, o := range section.options {
			if o.fits(s.name) {
				o.print(w)
			}
		}
	}
	fmt.Fprint(w, helpTail, statuses)
}

func (o *option) print(w io.Writer) {
	const indent = "\n        "
	line := strings.TrimSpace("--" + o.name + " " + o.value)
	line += indent + strings.ReplaceAll(o.help, "\n", indent)
	if o.byDefault != "" {
		line += indent + "(default " + o.byDefault + ")"
	}
	fmt.Fprintf(w, "  %s\n", line)
}
