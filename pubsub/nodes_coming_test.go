package pubsub

import (
	"testing"
	"time"
)

// TestComing: what has come of all members counts if it is a whole set of one revision, and while it comes, nobody asks for it again.
func TestComing(t *testing.T) {
	t.Parallel()
	type part struct {
		set, revision uint64
		part, of      int
	}
	for name, tt := range map[string]struct {
		parts []part
		whole bool
		asks  int
	}{
		"one":                       {[]part{{1, 7, 1, 1}}, true, 0},
		"three":                     {[]part{{1, 7, 1, 3}, {1, 7, 2, 3}, {1, 7, 3, 3}}, true, 0},
		"begun anew":                {[]part{{1, 7, 1, 3}, {2, 7, 1, 2}, {2, 7, 2, 2}}, true, 0},
		"whole behind a gap":        {[]part{{1, 7, 1, 3}, {1, 7, 3, 3}, {2, 7, 1, 1}}, true, 1},
		"under way":                 {[]part{{1, 7, 1, 3}, {1, 7, 2, 3}}, false, 0},
		"no first":                  {[]part{{1, 7, 2, 2}}, false, 1},
		"no middle":                 {[]part{{1, 7, 1, 3}, {1, 7, 3, 3}}, false, 1},
		"of two times":              {[]part{{1, 7, 1, 2}, {2, 7, 2, 2}}, false, 1},
		"of two revisions":          {[]part{{1, 7, 1, 2}, {1, 8, 2, 2}}, false, 1},
		"of two totals":             {[]part{{1, 7, 1, 3}, {1, 7, 2, 2}}, false, 1},
		"beyond the last":           {[]part{{1, 7, 1, 0}, {1, 7, 2, 0}}, false, 2},
		"none":                      {[]part{{}}, false, 1},
		"the rest of one with gaps": {[]part{{1, 7, 1, 4}, {1, 7, 3, 4}, {1, 7, 4, 4}}, false, 2},
	} {
		n := newNodes(&Hub{}, named{}, time.Hour)
		n.heard(&nodeMessage{From: "other", Hello: true})
		o := n.others["other"]
		hear := func(p part) {
			n.heard(&nodeMessage{From: "other", Revision: p.revision, All: &memberPart{Set: p.set, Part: p.part, Of: p.of}})
		}
		for _, p := range tt.parts {
			o.asked = time.Now().Add(-40 * time.Minute) // it may be asked again
			hear(p)
		}
		if o.synced != tt.whole || len(n.asking) != tt.asks || o.synced && o.revision != 7 {
			t.Errorf("%s: whole: %v, want %v; %d times asked for, want %d", name, o.synced, tt.whole, len(n.asking), tt.asks)
		}
		if hear(part{9, 7, 5, 9}); o.synced != tt.whole || len(n.asking) != tt.asks {
			t.Errorf("%s, and then one that is of no use: whole: %v; %d times asked for", name, o.synced, len(n.asking))
		}
	}
}
