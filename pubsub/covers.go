package pubsub

import "strings"

// Covers says whether a pattern, which is a name or a filter, meets every name that a filter
// meets: who may subscribe to the pattern may then subscribe to the filter. Of a name it says
// what Matches does. Both must be valid.
func Covers(pattern, filter string) bool {
	wild := strings.HasPrefix(pattern, "+") || strings.HasPrefix(pattern, "#")
	if wild && strings.HasPrefix(filter, "$") {
		return false
	}
	if filter == "#" {
		filter = "+/#" // which is the same, since a name has a level
	}
	for {
		want, patternRest, patternMore := strings.Cut(pattern, "/")
		if want == "#" {
			return !patternMore
		}
		level, filterRest, filterMore := strings.Cut(filter, "/")
		if level == "#" || want != "+" && want != level {
			return false
		}
		switch {
		case !patternMore:
			return !filterMore
		case !filterMore:
			return patternRest == "#" // a/# meets a too
		}
		pattern, filter = patternRest, filterRest
	}
}
