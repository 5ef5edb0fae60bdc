package pubsub_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, filter string
		want            bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/+", false}, {"a/b", "a/#", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"a/+", "a/b", true}, {"a/+", "a/+", true}, {"a/+", "a/#", false}, {"a/+", "a", false}, {"a/+", "a/b/c", false},
		{"a/#", "a/#", true}, {"a/#", "a/+/#", true}, {"a/#", "a/+", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "#", false}, {"a/#", "+/b", false},
		{"a/+/#", "a/#", false}, {"a/+/#", "a/+/#", true}, {"a/+/#", "a", false},
		{"+", "+", true}, {"+", "#", false}, {"+/#", "#", true}, {"#", "#", true}, {"#", "+/+/a", true}, {"+/+/#", "#", false},
		{"#", "$presence/a", false}, {"#", "$presence/#", false}, {"+/a", "$presence/a", false}, {"+/#", "$a", false},
		{"$presence/#", "$presence/a/#", true}, {"$presence/#", "#", false}, {"$presence/a", "+/a", false},
		{"", "a", false}, {"a//b", "a/+/b", false}, {"a/+/b", "a//b", true},
	} {
		if got := pubsub.Covers(c.pattern, c.filter); got != c.want {
			t.Errorf("%q covers %q: %v, want %v", c.pattern, c.filter, got, c.want)
		}
	}
}

// levelsOf makes all names of these levels, up to so many.
func levelsOf(levels []string, most int) (all []string) {
	last := levels
	for range most {
		all = append(all, last...)
		var next []string
		for _, begin := range last {
			for _, level := range levels {
				next = append(next, begin+"/"+level)
			}
		}
		last = next
	}
	return all
}

// TestCoversAll holds Covers against what it says: of all patterns and filters of three levels,
// and all names of four, with a level that no pattern has.
func TestCoversAll(t *testing.T) {
	names := levelsOf([]string{"a", "$a", "z"}, 4)
	filters := levelsOf([]string{"a", "$a", "+"}, 3)
	for _, f := range levelsOf([]string{"a", "$a", "+"}, 2) {
		filters = append(filters, f+"/#")
	}
	filters = append(filters, "#")
	meets := map[string]string{} // which names, a byte each
	for _, f := range filters {
		var met strings.Builder
		for _, n := range names {
			met.WriteByte("01"[map[bool]int{true: 1}[pubsub.Matches(f, n)]])
		}
		meets[f] = met.String()
	}
	for _, pattern := range filters {
		for _, filter := range filters {
			want := true
			for i, met := range meets[filter] {
				want = want && (met == '0' || meets[pattern][i] == '1')
			}
			if got := pubsub.Covers(pattern, filter); got != want {
				t.Errorf("%q covers %q: %v, want %v", pattern, filter, got, want)
			}
		}
	}
}

// FuzzCovers: what covers a filter meets each name that the filter meets, and of a name it is Matches.
func FuzzCovers(f *testing.F) {
	f.Add("a/#", "a/+", "a/b")
	f.Add("+/#", "#", "a")
	f.Add("#", "$a/#", "$a")
	f.Fuzz(func(t *testing.T, pattern, filter, name string) {
		if pubsub.CheckFilter(pattern) != nil || pubsub.CheckFilter(filter) != nil || pubsub.CheckFilter(name) != nil || pubsub.IsFilter(name) {
			return
		}
		if pubsub.Covers(pattern, filter) && pubsub.Matches(filter, name) && !pubsub.Matches(pattern, name) {
			t.Errorf("%q covers %q, and does not meet %q", pattern, filter, name)
		}
		if pubsub.Covers(pattern, name) != pubsub.Matches(pattern, name) {
			t.Errorf("%q covers %q: %v, as it does not match", pattern, name, pubsub.Covers(pattern, name))
		}
	})
}
