package compare

import (
	"fmt"
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

// parseScenarios takes names separated by commas; none: all.
func parseScenarios(list string) ([]scenario, error) {
	if list == "all" {
		return scenarios, nil
	}
	var picked []scenario
	for name := range strings.SplitSeq(list, ",") {
		found := false
		for _, s := range scenarios {
			if s.name == strings.TrimSpace(name) {
				picked, found = append(picked, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("all, or some of %s, but %q is none", scenarioNames(), strings.TrimSpace(name))
		}
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
