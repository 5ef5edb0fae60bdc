package nats

import (
	"slices"
	"testing"
)

// TestLeavesEarly: a name that nobody wants any more before the server was told of it, or before it knows it, is neither told
// twice nor waited for.
func TestLeavesEarly(t *testing.T) {
	b := New(Options{})
	i := &b.interests
	names := func(batch []*want) (names []string) {
		for _, w := range batch {
			name := w.name
			if w.gone {
				name = "-" + name
			}
			names = append(names, name)
		}
		return names
	}
	expect := func(batch []*want, want ...string) {
		t.Helper()
		if got := names(batch); !slices.Equal(got, want) {
			t.Errorf("the server is told %q, want %q", got, want)
		}
	}
	b.Interest("untold", true)
	b.Interest("told", true)
	untold := i.wants["untold"]
	b.Interest("untold", false)
	told := i.changes(0)
	expect(told, "told")
	<-untold.ready
	b.Interest("told", false) // the server does not know it yet
	b.Interest("next", true)
	next := i.changes(0)
	expect(next, "next", "-told")
	<-told[0].ready
	i.confirm(told, 0, false)
	i.confirm(next, 0, false)
	b.Interest("next", false)
	expect(i.changes(0), "-next")
	if unready, count := i.unready.Load(), i.count(); unready != 0 || count != 0 {
		t.Errorf("%d wants are not ready, of %d", unready, count)
	}
	b.Interest("again", true)
	i.confirm(i.changes(0), 0, false)
	i.begin() // the next server is told of nothing yet
	b.Interest("again", false)
	expect(i.changes(0))
	if unready := i.unready.Load(); unready != 0 {
		t.Errorf("%d wants are not ready", unready)
	}
}
