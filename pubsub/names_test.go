package pubsub

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/filters"
)

// TestMatches: the cases of MQTT 5 section 4.7, and those that libraries get wrong.
func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		filter, name string
		want         bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"+", "a", true}, {"+", "a/b", false}, {"+/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/", true},
		{"/+", "/a", true}, {"+", "/a", false}, {"+/a", "/a", true},
		{"#", "a", true}, {"#", "a/b/c", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false}, {"a/#", "b", false},
		{"a/+/c/#", "a/b/c", true}, {"a/+/c/#", "a/b/d", false}, {"a/+/#", "a", false}, {"a/+/#", "a/b", true},
		{"#", "$sys/a", false}, {"+/a", "$sys/a", false}, {"$sys/#", "$sys/a", true}, {"$sys/+", "$sys/a", true}, {"a/+", "a/$b", true},
	} {
		if got := Matches(tt.filter, tt.name); got != tt.want {
			t.Errorf("%q meets %q: %v, want %v", tt.filter, tt.name, got, tt.want)
		}
	}
}

// TestNames: what is a topic's name, and what a filter.
func TestNames(t *testing.T) {
	limits := Limits{NameLength: 20, Levels: 4}.filled()
	for name, want := range map[string][2]bool{ // a name, a filter
		"a": {true, true}, "a/b/c/d": {true, true}, "/": {true, true}, "a//b": {true, true}, "ä/ö": {true, true}, "$a": {true, true},
		"+": {false, true}, "a/+/b": {false, true}, "#": {false, true}, "a/#": {false, true}, "+/#": {false, true},
		"$presence/a/b/c/d": {true, true}, "$presence/" + strings.Repeat("x", 20): {true, true}, "$presence/a/+/c/#": {false, true}, "$presence": {true, true},
		"$presence/": {}, "$presence/a/b/c/d/e": {}, "$presence/" + strings.Repeat("x", 21): {}, "$presence/a+": {}, "$presence/#/a": {},
		"$presence/$presence/a/b/c/d": {}, "$other/a/b/c/d": {}, "$presence/\xff": {}, "$presence/\x00": {},
		"": {}, "a+": {}, "a/b#": {}, "#/a": {}, "a/++": {}, "a/b/c/d/e": {}, strings.Repeat("x", 21): {}, "\xff": {}, "a\x00b": {},
	} {
		for i, err := range []error{limits.checkName(name), limits.checkFilter(name)} {
			if (err == nil) != want[i] || err != nil && !errors.Is(err, ErrName) {
				t.Errorf("%q, as a filter: %v: %v", name, i == 1, err)
			}
		}
	}
}

// TestFilters holds the trie against Matches.
func TestFilters(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	levels := []string{"a", "b", "", "$a", "+"}
	name := func(wild bool) string {
		var parts []string
		for range 1 + random.IntN(4) {
			parts = append(parts, levels[random.IntN(len(levels)-map[bool]int{false: 1}[wild])])
		}
		if wild && random.IntN(4) == 0 {
			parts = append(parts, "#")
		}
		return strings.Join(parts, "/")
	}
	var f filters.Tree[*topic]
	in := map[string]*topic{}
	for range 20_000 {
		if filter := name(true); in[filter] == nil && random.IntN(2) == 0 {
			in[filter] = &topic{name: filter}
			f.Add(filter, in[filter])
		} else if in[filter] != nil {
			f.Remove(filter)
			delete(in, filter)
		}
		n := name(false)
		var got, want []string
		for _, t := range f.Match(n, nil) {
			got = append(got, t.name)
		}
		for filter := range in {
			if Matches(filter, n) {
				want = append(want, filter)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || f.Len() != len(in) {
			t.Fatalf("%q meets %q, want %q; %d filters, want %d", n, got, want, f.Len(), len(in))
		}
	}
	for filter := range in {
		f.Remove(filter)
	}
	if f.Len() != 0 {
		t.Errorf("%d are left", f.Len())
	}
}

// FuzzNames: nothing that a client may say is taken for a name or a filter and breaks the trie.
func FuzzNames(f *testing.F) {
	f.Add("a/+/#", "a/b")
	f.Add("$a/+", "$a/")
	f.Fuzz(func(t *testing.T, filter, name string) {
		limits := Limits{}.filled()
		if limits.checkFilter(filter) != nil || limits.checkName(name) != nil {
			return
		}
		var trie filters.Tree[*topic]
		trie.Add(filter, &topic{name: filter})
		if got := len(trie.Match(name, nil)) == 1; got != Matches(filter, name) {
			t.Errorf("%q meets %q: %v by the trie", filter, name, got)
		}
		if trie.Remove(filter); len(trie.Match(name, nil)) != 0 {
			t.Error("something is left")
		}
	})
}

func FuzzParsePosition(f *testing.F) {
	f.Add("abc-1")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParsePosition(text); err == nil && p.String() != text {
			t.Errorf("%q is read as %q", text, p)
		}
	})
}

// TestLongTextsAreCut: an error tells only the beginning of what a client has sent, whatever is wrong with it.
func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\x7f", 1<<20)
	_, notPosition := ParsePosition(long)
	_, notNumber := ParsePosition("e-" + long)
	all := Limits{NameLength: len(long) + 10, Levels: 16}
	for what, err := range map[string]error{
		"beside": CheckFilter("+" + long), "behind #": CheckFilter("#/" + long), "UTF-8": CheckFilter(long + "\xff"), "zero": CheckFilter(long + "\x00"),
		"wildcard": all.checkName("+/" + long), "no position": notPosition, "no number": notNumber,
	} {
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%s: %.100v", what, err)
		}
	}
}
