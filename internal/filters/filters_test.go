package filters

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTree: what meets a name is found, and nothing is left of what was taken out. The package pubsub holds the tree against its Matches.
func TestTree(t *testing.T) {
	var tree Tree[string]
	all := []string{"#", "a/#", "a/+", "a/b", "a/b/c", "+/b", "+/+/#", "$a/#", "/"}
	for _, f := range all {
		tree.Add(f, f)
	}
	for name, want := range map[string][]string{
		"a/b": {"#", "+/+/#", "+/b", "a/#", "a/+", "a/b"}, "a": {"#", "a/#"}, "$a/b": {"$a/#"}, "$b": nil, "/": {"#", "+/+/#", "/"},
	} {
		got := tree.Match(name, nil)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%q is met by %q, want %q", name, got, want)
		}
	}
	for _, i := range rand.Perm(len(all)) {
		tree.Remove(all[i])
	}
	if tree.Len() != 0 || len(tree.root.next) != 0 {
		t.Errorf("%d filters are left, and %v", tree.Len(), tree.root.next)
	}
}

// BenchmarkMatch finds the two filters that meet a name among many.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tree Tree[int]
			for i := range n {
				tree.Add(fmt.Sprintf("rooms/+/x%d", i), i)
			}
			tree.Add("rooms/#", n)
			var met []int
			for b.Loop() {
				if met = tree.Match("rooms/7/x42", met[:0]); len(met) != 2 {
					b.Fatal(met)
				}
			}
		})
	}
}

// TestOverlap: two filters overlap if there is a topic that both meet.
func TestOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/+", "+/b", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "b/#", false},
		{"#", "x/y", true}, {"a/b", "a", false}, {"a/+/c", "a/b", false}, {"+/#", "a", true}, {"a/b/#", "a", false},
	} {
		if Overlap(tt.a, tt.b) != tt.want || Overlap(tt.b, tt.a) != tt.want {
			t.Errorf("%q and %q overlap: %v, want %v", tt.a, tt.b, !tt.want, tt.want)
		}
	}
}
