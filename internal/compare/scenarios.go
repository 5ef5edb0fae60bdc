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
}

// scenarios are the goals of docs/performance.md. The two loads of each are the
// same but for churn: a connection of wsload sends no message, and ends with a reset.
var scenarios = []scenario{
	{"echo-100", "echo 64 B, 100 connections",
		words("echo --connections 100 --size 64"), words("-m echo -c 100 -s 64 -d 1"), words("rate cpu p50 p99")},
	{"echo-1k", "echo 64 B, 1,000 connections",
		words("echo --connections 1000 --size 64"), words("-m echo -c 1000 -s 64 -d 1"), words("rate cpu p50 p99")},
	{"echo-10k", "echo 64 B, 10,000 connections",
		words("echo --connections 10000 --size 64"), words("-m echo -c 10000 -s 64 -d 1"), words("rate cpu p50 p99")},
	{"inflight-16", "echo 64 B, 1,000 connections, 16 in flight",
		words("echo --connections 1000 --size 64 --in-flight 16"), words("-m echo -c 1000 -s 64 -d 16"), words("rate cpu p99")},
	{"echo-64k", "echo 64 KiB, 100 connections",
		words("echo --connections 100 --size 65536"), words("-m echo -c 100 -s 65536 -d 1"), words("rate cpu p99")},
	{"rate-20k", "open loop, 20,000 messages/s of 64 B over 1,000 connections",
		words("rate --rate 20000 --connections 1000 --size 64"), words("-m rate -r 20000 -c 1000 -s 64"), words("p50 p99 cpu")},
	{"idle-15k", "idle, 15,000 connections",
		words("idle --connections 15000"), words("-m idle -c 15000"), words("rss")},
	{"churn-64", "connections that come and go, 64 at once",
		words("churn --connections 64 --size 64"), words("-m churn -d 64"), words("rate cpu p99")},
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
