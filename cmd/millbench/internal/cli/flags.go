package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/internal/flags"
)

// readConfig takes the flags and the URL in args, then the defaults. An error is
// one line that names the flag, what was wrong with it and what is allowed. It is
// flag.ErrHelp when help was asked for.
func readConfig(scenario string, args []string) (*config, error) {
	c := &config{}
	_, err := c.flagSet(scenario).Read(args, nil)
	return c, err
}

// flagSet is a scenario's flags. The URL may stand before, between or behind them.
func (c *config) flagSet(scenario string) *flags.Set {
	set := &flags.Set{
		Command: "millbench " + scenario, Operand: "url", Aliases: map[string]string{"c": "connections"},
		Unknown: func(name string) string { return c.elsewhere(scenario, name) },
	}
	for _, o := range c.options() {
		if o.fits(scenario) {
			set.Options = append(set.Options, o.Option)
		}
	}
	return set
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

// elsewhere says which other scenarios have a flag; "" if none has.
func (c *config) elsewhere(scenario, name string) string {
	var others []string
	for _, o := range c.options() {
		if o.Name == name {
			others = append(others, o.only...)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("%s has no such flag (only %s)", scenario, strings.Join(others, ", "))
}

// explain puts an error of bench.Run in terms of the scenario's flags.
func (c *config) explain(scenario string, err error) error {
	plan, ok := errors.AsType[*bench.PlanError](err)
	if !ok {
		return err
	}
	for _, o := range c.options() {
		if o.fits(scenario) && slices.Contains(strings.Fields(o.fields), plan.Field) {
			return fmt.Errorf("--%s: %s", o.Name, plan.Problem)
		}
	}
	return err
}

// printHelp writes a scenario's flags with their defaults and units.
func (s scenario) printHelp(w io.Writer) {
	fmt.Fprintf(w, "Usage: millbench %s [flags] [URL]\n\n%s\n", s.name, s.help)
	c := new(config)
	set := c.flagSet(s.name)
	for _, section := range c.sections() {
		fmt.Fprintf(w, "\n%s:\n", section.title)
		for _, o := range section.options {
			if o.fits(s.name) {
				set.Print(w, o.Option, "")
			}
		}
	}
	fmt.Fprint(w, "\n", flags.SizeHelp, flags.TimeHelp, statuses)
}
