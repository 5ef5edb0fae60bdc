package compare

import (
	"fmt"
	"slices"
	"strings"
)

// scenario is a load to compare servers under.
type scenario struct {
	name, title string
	load        []string // millbench's arguments
	wsload      []string // wsload's, for the same load
	figures     []string // that matter, by result.Figure's names
	needs       []string // what a server must be able to, as server.can
}

func words(s string) []string { return strings.Fields(s) }

// parseScenarios takes names separated by commas, in which "all" stands for all, and -NAME
// takes one out again.
func parseScenarios(list string) ([]scenario, error) {
	var picked []scenario
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		name, out := strings.CutPrefix(text, "-")
		named := func(s scenario) bool { return s.name == name }
		switch {
		case text == "all":
			picked = slices.Clone(scenarios)
		case !slices.ContainsFunc(scenarios, named):
			return nil, fmt.Errorf("all, or some of %s, or all,-NAME, but %q is none", scenarioNames(), text)
		case out:
			picked = slices.DeleteFunc(picked, named)
		case !slices.ContainsFunc(picked, named):
			picked = append(picked, scenarios[slices.IndexFunc(scenarios, named)])
		}
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("some of %s, but none is left of %q", scenarioNames(), list)
	}
	return picked, nil
}

func scenarioNames() string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
