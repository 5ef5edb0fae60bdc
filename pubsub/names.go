package pubsub

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/shorttext"
)

// # Names and filters
//
// A topic's name has levels, with slashes between them: "sensors/7/temp". A filter is a
// name in which + stands for any one level, and # at the end for any number of levels,
// also none. A name whose first level begins with $ is met by filters only that begin
// with that very level: these are for events of the broker's own.

// ErrName: a topic's name, or a filter, is none. The error says why.
var ErrName = errors.New("pubsub: not a topic's name")

// IsFilter says whether a name has wildcards.
func IsFilter(name string) bool {
	return strings.IndexByte(name, '+') >= 0 || strings.IndexByte(name, '#') >= 0
}

// CheckFilter says why a text is neither a topic's name nor a filter: ErrName. It knows no bounds, which
// are a hub's.
func CheckFilter(name string) error {
	return (&Limits{NameLength: math.MaxInt, Levels: math.MaxInt}).checkFilter(name)
}

// maxQuoted is how many bytes of a client's text an error tells: it goes to the client, and to logs.
const maxQuoted = 100

func quoted(text string) string { return strconv.Quote(shorttext.Cut(text, maxQuoted)) }

// checkName says why a name is no topic's.
func (l *Limits) checkName(name string) error {
	if IsFilter(name) {
		return fmt.Errorf("%w: %s has a wildcard", ErrName, quoted(name))
	}
	return l.checkFilter(name)
}

// checkFilter says why a name is neither a topic's nor a filter. Of one that tells of a topic's members the topic's name is
// bounded: each topic has such a name.
func (l *Limits) checkFilter(name string) error {
	bounded := strings.TrimPrefix(name, presencePrefix)
	switch {
	case bounded == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(bounded) > l.NameLength:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrName, len(bounded), l.NameLength)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %s is not valid UTF-8", ErrName, quoted(name))
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%w: %s has a zero byte", ErrName, quoted(name))
	case strings.Count(bounded, "/") >= l.Levels:
		return fmt.Errorf("%w: %d levels, at most %d are allowed", ErrName, strings.Count(bounded, "/")+1, l.Levels)
	}
	for rest, more := name, IsFilter(name); more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case strings.ContainsAny(level, "+#") && len(level) > 1:
			return fmt.Errorf("%w: %s has a wildcard beside other characters in one level", ErrName, quoted(name))
		case level == "#" && more:
			return fmt.Errorf("%w: %s has # before the last level", ErrName, quoted(name))
		}
	}
	return nil
}

// Matches says whether a filter, or a name, meets a topic's name.
func Matches(filter, name string) bool {
	if strings.HasPrefix(name, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false
	}
	for {
		want, filterRest, filterMore := strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		level, nameRest, nameMore := strings.Cut(name, "/")
		if want != "+" && want != level {
			return false
		}
		switch {
		case !filterMore && !nameMore:
			return true
		case !filterMore:
			return false
		case !nameMore:
			return filterRest == "#" // a/# meets a too
		}
		filter, name = filterRest, nameRest
	}
}
