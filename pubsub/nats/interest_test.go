package nats

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
)

// TestOldSession: a subscriber that outlives its session takes nothing from the next one's, and does not say for it that the
// server knows a name.
func TestOldSession(t *testing.T) {
	b := New(Options{})
	i := &b.interests
	old := i.begin()
	b.Interest("a", true)
	told := i.changes(old, 0)
	fresh := i.begin()
	b.Interest("b", true)
	i.confirm(old, told, 0, false)
	if i.wants["a"].isReady {
		t.Error("a name counts as known to a server that was not told of it")
	}
	if stolen := i.changes(old, 0); len(stolen) != 0 {
		t.Errorf("%d changes went to a session that has ended", len(stolen))
	}
	if batch := i.changes(fresh, 0); len(batch) != 2 {
		t.Errorf("the server is told of %d names, want 2", len(batch))
	}
}

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
	told := i.changes(i.session, 0)
	expect(told, "told")
	<-untold.ready
	b.Interest("told", false) // the server does not know it yet
	b.Interest("next", true)
	next := i.changes(i.session, 0)
	expect(next, "next", "-told")
	<-told[0].ready
	i.confirm(i.session, told, 0, false)
	i.confirm(i.session, next, 0, false)
	b.Interest("next", false)
	expect(i.changes(i.session, 0), "-next")
	if unready, count := i.unready.Load(), i.count(); unready != 0 || count != 0 {
		t.Errorf("%d wants are not ready, of %d", unready, count)
	}
	b.Interest("again", true)
	i.confirm(i.session, i.changes(i.session, 0), 0, false)
	i.begin() // the next server is told of nothing yet
	b.Interest("again", false)
	expect(i.changes(i.session, 0))
	if unready := i.unready.Load(); unready != 0 {
		t.Errorf("%d wants are not ready", unready)
	}
}

// visit has a name be wanted, the server told of it, and the name be wanted no more.
func visit(b *Broker, name string) (batch []*want) {
	b.Interest(name, true)
	batch = b.interests.changes(b.interests.session, time.Hour)
	b.interests.confirm(b.interests.session, batch, 0, false)
	b.Interest(name, false)
	return batch
}

// TestLingerBound: however many names come and go, so many linger, the last ones, and the server knows no others.
func TestLingerBound(t *testing.T) {
	b := New(Options{})
	i := &b.interests
	known := map[string]bool{}
	note := func(batch []*want) {
		for _, w := range batch {
			if known[w.name] = true; w.gone {
				delete(known, w.name)
			}
		}
	}
	for n := range 2 * lingerTopics {
		note(visit(b, fmt.Sprint("topic", n)))
	}
	for n := range 2 * lingerFilters {
		note(visit(b, fmt.Sprint("+/filter", n)))
	}
	note(i.changes(i.session, time.Hour))
	if i.topics.Len() != lingerTopics || i.others.Len() != lingerFilters || i.filters.Len() != lingerFilters {
		t.Errorf("%d topics and %d filters linger, of %d filters", i.topics.Len(), i.others.Len(), i.filters.Len())
	}
	if count := i.count(); count != lingerTopics+lingerFilters || len(known) != count {
		t.Errorf("%d wants, and the server knows %d names", count, len(known))
	}
	for n := range lingerTopics {
		if !known[fmt.Sprint("topic", lingerTopics+n)] {
			t.Fatalf("topic %d lingers no more", lingerTopics+n)
		}
	}
	note(i.changes(i.session, 0))
	if i.count() != 0 || i.filters.Len() != 0 || len(known) != 0 {
		t.Errorf("%d wants are left, %d filters, and at the server %d", i.count(), i.filters.Len(), len(known))
	}
}

// TestLingerOfMany: as many topics linger as are wanted, if these are more than otherwise linger.
func TestLingerOfMany(t *testing.T) {
	b := New(Options{})
	i := &b.interests
	const many = 3 * lingerTopics
	for n := range many {
		b.Interest(fmt.Sprint(n), true)
	}
	i.confirm(i.session, i.changes(i.session, time.Hour), 0, false)
	for n := range many {
		b.Interest(fmt.Sprint(n), false)
		left := n + 1
		if want := min(left, max(lingerTopics, many-left)); i.topics.Len() != want {
			t.Fatalf("%d linger of %d that left, want %d", i.topics.Len(), left, want)
		}
	}
}

// TestChurn: one name that comes and goes for ever is one, told or not, and names that go before the server is told of them are none.
func TestChurn(t *testing.T) {
	b := New(Options{})
	i := &b.interests
	for n := range 10_000 {
		visit(b, "a")
		if n%3 == 0 { // the server is told that it has gone, and may not have taken that yet
			i.mu.Lock()
			i.end(i.wants["a"])
			i.mu.Unlock()
		}
		for range 3 {
			b.Interest("b/+", true)
			b.Interest("b/+", false)
			b.Interest(fmt.Sprint(n), true)
			b.Interest(fmt.Sprint(n), false)
		}
		if wants, waiting := i.count(), i.topics.Len()+i.others.Len()+i.untold.Len()+len(i.ended); wants > 1 || waiting != 1 || i.unready.Load() != 0 {
			t.Fatalf("behind %d rounds: %d wants, %d entries, %d not ready", n, wants, waiting, i.unready.Load())
		}
	}
}

// TestMetBy: the filters that meet a topic are those that Matches finds, while filters come, linger and go.
func TestMetBy(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	name := func(levels ...string) string {
		var parts []string
		for range 1 + random.IntN(4) {
			parts = append(parts, levels[random.IntN(len(levels))])
		}
		return strings.Join(parts, "/")
	}
	b := New(Options{})
	i := &b.interests
	for n := range 5000 {
		filter := name("a", "b", "", "$a", "+")
		if random.IntN(4) == 0 {
			filter += "/#"
		}
		b.Interest(filter, random.IntN(2) == 0)
		if n%5 == 0 {
			i.confirm(i.session, i.changes(i.session, time.Duration(random.Int64N(int64(2*time.Millisecond)))), 0, false)
		}
		topic := name("a", "b", "", "$a")
		var got, want []string
		for _, w := range i.metBy(topic) {
			got = append(got, w.name)
		}
		for f := range i.wants {
			if pubsub.IsFilter(f) && pubsub.Matches(f, topic) {
				want = append(want, f)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || i.meets(topic) != (len(want) > 0 || i.wants[topic] != nil) {
			t.Fatalf("%q meets %q, want %q", topic, got, want)
		}
	}
}

// BenchmarkBase finds from where a topic is wanted, among many filters.
func BenchmarkBase(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			broker := New(Options{})
			for i := range n {
				broker.Interest(fmt.Sprintf("rooms/+/x%d", i), true)
			}
			broker.interests.confirm(broker.interests.session, broker.interests.changes(broker.interests.session, time.Hour), 0, false)
			for b.Loop() {
				if _, _, wanted := broker.interests.base("rooms/7/x4"); !wanted {
					b.Fatal("nobody wants it")
				}
			}
		})
	}
}
