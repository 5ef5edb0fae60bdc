package nats

import (
	"container/list"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/filters"
	"github.com/millrace/millrace/pubsub"
)

// Bounds of the wants that linger, of topics and of filters: those that have lingered for longest end early. With as
// many topics as there are subscriptions for, what lingers at most doubles what the server has of this node. A filter
// that lingers takes time of each message that it meets.
const (
	lingerTopics  = 10_000 // or as many as are wanted
	lingerFilters = 1000
)

// interests is which names are wanted. A session's subscriber tells the server.
type interests struct {
	wake    chan struct{}
	unready atomic.Int64 // wants that the server does not know yet
	// Broker.number, which moves with each message, and whenever messages may be missed: when a want ends, with a session, and
	// when a gap is told. So no position from before a possible loss is one from behind it.
	number *atomic.Uint64

	mu      sync.Mutex // guards what follows; nothing is called under it
	session uint64     // how many have begun: what an older one's subscriber says or asks does not count any more
	wants   map[string]*want
	filters filters.Tree[*want] // those of them that are filters
	met     []*want             // what metBy gives, for the next one to use again
	untold  list.List           // of *want: those that the server has to be told of
	topics  list.List           // of *want: topics that linger, from the first to the last that was left
	others  list.List           // filters that do
	ended   []*want             // that the server was told of, and that are not in the map any more
	fresh   uint64              // the lowest base of new wants, plus 1, since the last recheck; 0: none
}

// want is a topic, or a filter, that is wanted, or lingers.
type want struct {
	name    string
	lingers *list.Element // nobody wants it any more; nil: somebody does
	left    time.Time     // since when
	untold  *list.Element // nil: the server is told of it, or is just being told
	gone    bool          // it is not in the map any more, and the server is just being told; the subscriber's
	ready   chan struct{} // closed when the server knows it, or it is not in the map any more
	isReady bool
	known   bool // the server is subscribed; it is ready then, but for a stream's topics
	early   bool // something relied on it when it was not ready
	telling bool // that is just being told
	vain    bool // somebody has waited for it in vain
	hasBase bool
	base    uint64 // number of the stream's last message when it first became ready
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
	case w == nil && wanted:
		i.add(&want{name: name, ready: make(chan struct{})})
	case w == nil:
	case wanted:
		i.stay(w)
	case w.lingers == nil:
		i.leave(w)
	}
}

// add notes a new want. The caller holds mu.
func (i *interests) add(w *want) {
	i.wants[w.name] = w
	if pubsub.IsFilter(w.name) {
		i.filters.Add(w.name, w)
	}
	i.unready.Add(1)
	w.untold = i.untold.PushBack(w)
	select {
	case i.wake <- struct{}{}:
	default: // it is awake
	}
}

// lingering is where a want lingers, and how many may. The caller holds mu.
func (i *interests) lingering(w *want) (line *list.List, most int) {
	if pubsub.IsFilter(w.name) {
		return &i.others, lingerFilters
	}
	return &i.topics, max(lingerTopics, len(i.wants)-i.topics.Len()-i.others.Len())
}

// leave has a want linger that nobody wants any more. One that the server was not told of ends at once: so what comes and goes faster
// than it can be told makes no work. The caller holds mu.
func (i *interests) leave(w *want) {
	if w.untold != nil {
		i.end(w)
		return
	}
	line, _ := i.lingering(w)
	w.lingers, w.left = line.PushBack(w), time.Now()
	for _, most := i.lingering(w); line.Len() > most; {
		i.end(line.Front().Value.(*want))
	}
}

// stay has a want linger no more. The caller holds mu.
func (i *interests) stay(w *want) {
	if w.lingers != nil {
		line, _ := i.lingering(w)
		line.Remove(w.lingers)
		w.lingers = nil
	}
}

// end forgets a want. The caller holds mu.
func (i *interests) end(w *want) {
	i.number.Add(1)
	i.stay(w)
	delete(i.wants, w.name)
	if pubsub.IsFilter(w.name) {
		i.filters.Remove(w.name)
	}
	if !w.isReady { // nobody has to wait for it
		w.isReady = true
		close(w.ready)
		i.unready.Add(-1)
	}
	if w.untold == nil {
		i.ended = append(i.ended, w)
		return
	}
	i.untold.Remove(w.untold)
	w.untold = nil
}

// begin has a new session subscribe to all that is wanted, and gives its number.
func (i *interests) begin() (session uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.session++
	i.number.Add(1)
	unready := 0
	for _, w := range i.wants {
		if w.lingers != nil {
			i.end(w)
			continue
		}
		if w.isReady {
			w.ready, w.isReady = make(chan struct{}), false
		}
		if w.untold == nil {
			w.untold = i.untold.PushBack(w)
		}
		w.known, w.telling, w.vain = false, false, false
		unready++
	}
	i.ended = nil // it is told of none
	i.unready.Store(int64(unready))
	return i.session
}

// overlaps says whether a message that comes for a name may be for another name too.
func (i *interests) overlaps(name string, interest Interest) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if interest == ByTopic && !pubsub.IsFilter(name) {
		return len(i.metBy(name)) > 0
	}
	return pubsub.IsFilter(name) || i.filters.Len() > 0
}

// metBy are the filters that meet a topic, until it is called again. The caller holds mu.
func (i *interests) metBy(topic string) []*want {
	i.met = i.filters.Match(topic, i.met[:0])
	return i.met
}

// changes gives the wants that the server has to be told of: new ones, and those that have ended, unless it was never
// told of them.
func (i *interests) changes(session uint64, linger time.Duration) (batch []*want) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if session != i.session {
		return nil
	}
	now := time.Now()
	for _, line := range []*list.List{&i.topics, &i.others} {
		for line.Len() > 0 {
			first := line.Front().Value.(*want)
			if now.Sub(first.left) < linger {
				break
			}
			i.end(first)
		}
	}
	for i.untold.Len() > 0 {
		w := i.untold.Remove(i.untold.Front()).(*want)
		w.untold = nil
		batch = append(batch, w)
	}
	for _, w := range i.ended {
		w.gone = true
	}
	batch = append(batch, i.ended...)
	i.ended = nil
	return batch
}

// confirm says that the server knows a batch. Those of a stream's topics begin behind base. It leaves out, and gives, those of which
// something may have been missed before: this is to be told before anything comes.
func (i *interests) confirm(session uint64, batch []*want, base uint64, streams bool) (early []*want) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if session != i.session {
		return nil
	}
	for _, w := range batch {
		if w.isReady { // or it has ended
			continue
		}
		if w.early {
			w.early, w.telling = false, true
			early = append(early, w)
			continue
		}
		w.telling = false
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
		w.early = w.early || !w.isReady || s == nil && !b.stream.has(topic) // what the last server knew is of no use
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
	waits := unready != nil && !unready.early && !unready.vain
	i.mu.Unlock()
	if waits {
		b.settle(s, unready)
	}
}

// settle waits until the server knows a want. If that takes too long something may be missed, and will be told.
func (b *Broker) settle(s *session, w *want) {
	b.interests.mu.Lock()
	ready, vain := w.ready, false
	b.interests.mu.Unlock()
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-ready:
	case <-timeout.C:
		vain = true
	case <-s.closed:
	case <-b.ending:
	}
	b.interests.mu.Lock()
	defer b.interests.mu.Unlock()
	w.early, w.vain = w.early || !w.isReady, w.vain || vain && !w.isReady
}
