package serve

import (
	"regexp"
	"slices"
)

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

// isForeign says whether a variable, NAME=VALUE, is meant for somebody else.
func isForeign(variable string) bool {
	return slices.ContainsFunc(foreign, func(r *regexp.Regexp) bool { return r.MatchString(variable) })
}
