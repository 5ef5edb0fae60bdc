package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/internal/flags"
)

// flagSet is a scenario's flags. The URL may stand before, between or behind them.
func (c *config) flagSet(s scenario) *flags.Set {
	set := &flags.Set{
		Command: "millbench " + s.name, Usage: "[flags] [URL]", About: s.help, Notes: statuses,
		Operand: "url", Aliases: map[string]string{"c": "connections"},
		Elsewhere: func(name string) string { return c.elsewhere(s.name, name) },
	}
	for _, section := range c.sections() {
		group := flags.Group{Title: section.title}
		for _, o := range section.options {
			if o.only == nil || slices.Contains(o.only, s.name) {
				group.Options = append(group.Options, o.Option)
			}
		}
		set.Groups = append(set.Groups, group)
	}
	return set
}

// elsewhere says which other scenarios have a flag; "" if none has.
func (c *config) elsewhere(scenario, name string) string {
	var others []string
	for _, section := range c.sections() {
		for _, o := range section.options {
			if o.Name == name {
				others = append(others, o.only...)
			}
		}
	}
	if len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("%s has no such flag (only %s)", scenario, strings.Join(others, ", "))
}

// inFlags puts an error of bench.Run in terms of the scenario's flags.
func inFlags(set *flags.Set, values flags.Values, err error) error {
	plan, ok := errors.AsType[*bench.PlanError](err)
	if !ok {
		return err
	}
	o := set.Setting(plan.Field)
	if o == nil {
		return err
	}
	if _, allowed, ok := strings.Cut(plan.Problem, "; allowed are "); ok {
		return values[o.Name].Invalid(allowed)
	}
	return fmt.Errorf("--%s: %s", o.Name, plan.Problem)
}
