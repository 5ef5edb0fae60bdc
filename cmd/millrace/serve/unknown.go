package serve

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const envPrefix = "MILLRACE_"

// foreign are variables with our prefix that are not meant for us: the links that
// Kubernetes sets in each container for a Service whose name is, or begins with,
// millrace, and those of our tests.
var foreign = []*regexp.Regexp{
	regexp.MustCompile(`^MILLRACE_(\w+_)?SERVICE_HOST=[0-9a-f.:]*$`),
	regexp.MustCompile(`^MILLRACE_(\w+_)?SERVICE_PORT(_\w+)?=[0-9]*$`),
	regexp.MustCompile(`^MILLRACE_(\w+_)?PORT=(tcp|udp|sctp)://.*$`),
	regexp.MustCompile(`^MILLRACE_(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?=.*$`),
	regexp.MustCompile(`^MILLRACE_(TEST_\w+|BENCH_\w+|CHAOS|SCREENSHOTS|REPLAY_BYTES)=.*$`),
}

// variables are those with our prefix in an environment, by name. One that sets
// nothing is an error: whoever wrote it meant something.
func variables(environ []string, options []option) (map[string]string, error) {
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		known := slices.ContainsFunc(options, func(o option) bool { return o.variable() == name })
		switch {
		case known:
			values[name] = value
		case !slices.ContainsFunc(foreign, func(r *regexp.Regexp) bool { return r.MatchString(entry) }):
			near := closest(strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-"), options)
			if near != nil {
				return nil, fmt.Errorf("unknown variable %s: did you mean %s?", name, near.variable())
			}
			return nil, fmt.Errorf("unknown variable %s (millrace serve --help lists those that are allowed)", name)
		}
	}
	return values, nil
}

// closest is the option whose name is most like name, nil if all have more than a third
// of it wrong.
func closest(name string, options []option) (near *option) {
	best := len(name)/3 + 1
	for i := range options {
		if d := distance(name, options[i].name); d < best {
			best, near = d, &options[i]
		}
	}
	return near
}

// distance is how many letters are to be added, dropped, changed, or swapped with the
// next to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			changed := last[j]
			if a[i] != b[j] {
				changed++
			}
			row[j+1] = min(changed, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
