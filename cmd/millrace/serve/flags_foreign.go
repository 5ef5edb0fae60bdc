package serve

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/flags"
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
			flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
			if near := flags.Nearest(flag, names(options)); near != "" {
				return nil, fmt.Errorf("unknown variable %s: did you mean %s?", name, option{name: near}.variable())
			}
			return nil, fmt.Errorf("unknown variable %s (millrace serve --help lists those that are allowed)", name)
		}
	}
	return values, nil
}
