package nats

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/pubsub"
)

// interests is which names are wanted. A session's subscriber tells the server.
type interests struct {
	wake    chan struct{}
	unready atomic.Int64 // wants that the server does not know yet

	mu      sync.Mutex // guards what follows; nothing is called under it
	wants   map[string]*want
	filters map[string]*want   // those of them that are filters
	met     map[string][]*want // the filters that meet a topic, as far as it is known; see metBy
	changed []*want            // that the server does not know yet
	leaving []leaving          // from the first to the last to leave
	fresh   uint64             // the lowest base of new wants, plus 1, since the last recheck; 0: none
}

// want is a topic, or a filter, that is wanted, or lingers.
type want struct {
	name    string
	wanted  bool
	left    time.Time     // when it was not wanted any more
	gone    bool          // it has lingered, and is not in the map any more
	told    bool          // the server is told of it, or is just being told
	ready   chan struct{} // closed when the server knows it
	isReady bool
	early   bool // something relied on it when it was not ready
	hasBase bool
	base    uint64 // number of the stream's last message when it first became ready
}

// leaving is a want that nobody wants since a moment.
type leaving struct {
	want *want
	left time.Time
}

// Interest implements pubsub.Broker.
func (b *Broker) Interest(name string, wanted bool) {
	if !strings.HasPrefix(name, "$") { // these are the hub's own
		b.interests.set(name, wanted)
	}
}

func (i *interests) set(name string, wanted bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.wants[name]
	switch {
	case w == nil && !wanted:
	case w == nil:
		w = &want{name: name, wanted: true, ready: make(chan struct{})}
		i.wants[name] = w
		if pubsub.IsFilter(name) {
			i.filters[name] = w
			clear(i.met)
		}
		i.unready.Add(1)
		i.changed = append(i.changed, w)
		select {
		case i.wake <- struct{}{}:
		default: // it is awake
		}
	case wanted:
		w.wanted = true
	default:
		w.wanted, w.left = false, time.Now()
		i.leaving = append(i.leaving, leaving{w, w.left})
	}
}

// begin has a new session subscribe to all that is wanted.
func (i *interests) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.changed, i.leaving = i.changed[:0], nil
	unready := 0
	for name, w := range i.wants {
		if !w.wanted {
			i.remove(name)
			continue
		}
		if w.isReady {
			w.ready, w.isReady = make(chan struct{}), false
		}
		w.told = false
		unready++
		i.changed = append(i.changed, w)
	}
	i.unready.Store(int64(unready))
}

// remove forgets a name. The caller holds mu.
func (i *interests) remove(name string) {
	delete(i.wants, name)
	if i.filters[name] != nil {
		delete(i.filters, name)
		clear(i.met)
	}
}

// mostMet bounds the topics of which it is known which filters meet them.
const mostMet = 10_000

// overlaps says whether a message that comes for a name may be for another name too.
func (i *interests) overlaps(name string, interest Interest) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if interest == ByTopic && !pubsub.IsFilter(name) {
		return len(i.metBy(name)) > 0
	}
	return pubsub.IsFilter(name) || len(i.filters) > 0
}

// metBy are the filters that meet a topic. The caller holds mu.
func (i *interests) metBy(topic string) []*want {
	if len(i.filters) == 0 {
		return nil
	}
	met, known := i.met[topic]
	if known {
		return met
	}
	for filter, w := range i.filters {
		if pubsub.Matches(filter, topic) {
			met = append(met, w)
		}
	}
	if len(i.met) >= mostMet {
		clear(i.met)
	}
	i.met[strings.Clone(topic)] = met
	return met
}

// changes gives the wants that the server has to be told of: new ones, and those that are gone, unless it was never
// told of them.
func (i *interests) changes(linger time.Duration) (batch []*want) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var gone []*want
	for now := time.Now(); len(i.leaving) > 0 && now.Sub(i.leaving[0].left) >= linger; i.leaving = i.leaving[1:] {
		w, left := i.leaving[0].want, i.leaving[0].left
		if w.wanted || w.gone || !w.left.Equal(left) {
			continue
		}
		w.gone = true
		if !w.isReady { // nobody has to wait for it
			w.isReady = true
			close(w.ready)
			i.unready.Add(-1)
		}
		i.remove(w.name)
		if w.told {
			gone = append(gone, w)
		}
	}
	for _, w := range i.changed {
		if !w.gone {
			w.told = true
			batch = append(batch, w)
		}
	}
	i.changed = nil
	return append(batch, gone...)
}

// confirm says that the server knows a batch. Those of a stream's topics begin behind base. It leaves out, and gives, those of which
// something may have been missed before: this is to be told before anything comes.
func (i *interests) confirm(batch []*want, base uint64, streams bool) (early []*want) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, w := range batch {
		if w.gone || w.isReady {
			continue
		}
		if w.early {
			w.early = false
			early = append(early, w)
			continue
		}
		if streams && !w.hasBase {
			w.base, w.hasBase = base, true
			if i.fresh == 0 || base < i.fresh-1 {
				i.fresh = base + 1
			}
			if before, unready, _ := i.baseLocked(w.name); unready == nil { // filters have it come already
				w.base = min(base, before)
			}
		}
		w.isReady = true
		close(w.ready)
		i.unready.Add(-1)
	}
	return early
}

// rebase has all wants begin at the stream's very beginning: it is a new one.
func (i *interests) rebase() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, w := range i.wants {
		w.base = 0
	}
}

// base is the number of the stream's last message when the server knew that a topic is wanted, by
// its name or by a filter: of several the lowest. unready is one of them of which that is not known yet, if
// there is no other; wanted: there is any.
func (i *interests) base(topic string) (base uint64, unready *want, wanted bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.baseLocked(topic)
}

func (i *interests) baseLocked(topic string) (base uint64, unready *want, wanted bool) {
	known := false
	note := func(w *want) {
		switch wanted = true; {
		case !w.hasBase:
			unready = w
		case !known || w.base < base:
			base, known = w.base, true
		}
	}
	if w := i.wants[topic]; w != nil {
		note(w)
	}
	for _, w := range i.metBy(topic) {
		note(w)
	}
	if known {
		unready = nil
	}
	return base, unready, wanted
}

// recheck gives the number from which the stream is to be gone through again for new wants, 0 for
// none: in a cluster other servers learn of a subscription a moment after ours.
func (i *interests) recheck() (from uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	from, i.fresh = i.fresh, 0
	return from
}

// names are those that are wanted, or linger.
func (i *interests) names() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Keys(i.wants))
}

func (i *interests) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.wants)
}

// meets says whether a topic, or a filter that meets it, is wanted.
func (i *interests) meets(topic string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wants[topic] != nil || len(i.metBy(topic)) > 0
}

// await waits until the server knows that a topic is wanted, and gives its base.
func (b *Broker) await(topic string) (base uint64) {
	i := &b.interests
	i.mu.Lock()
	w := i.wants[topic]
	s := b.session.Load()
	if w == nil || w.isReady || s == nil {
		defer i.mu.Unlock()
		if w == nil {
			return 0
		}
		w.early = w.early || !w.isReady
		return w.base
	}
	i.mu.Unlock()
	b.settle(s, w)
	i.mu.Lock()
	defer i.mu.Unlock()
	return w.base
}

// place waits until it is known from where a topic is wanted, if whoever wants it is just being told. If it was waited for in vain
// already, it does not wait.
func (b *Broker) place(s *session, topic string) {
	i := &b.interests
	i.mu.Lock()
	_, unready, _ := i.baseLocked(topic)
	waits := unready != nil && !unready.early
	i.mu.Unlock()
	if waits {
		b.settle(s, unready)
	}
}

// settle waits until the server knows a want. If that takes too long something may be missed, and will be told.
func (b *Broker) settle(s *session, w *want) {
	b.interests.mu.Lock()
	ready := w.ready
	b.interests.mu.Unlock()
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-ready:
	case <-timeout.C:
	case <-s.closed:
	case <-b.ending:
	}
	b.interests.mu.Lock()
	defer b.interests.mu.Unlock()
	w.early = w.early || !w.isReady
}
