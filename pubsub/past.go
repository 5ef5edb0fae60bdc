package pubsub

import (
	"context"
	"slices"
	"time"
)

// # The past that a broker keeps
//
// A topic's ring is the end of it, as far as this node has received it. What is before is asked of
// the broker, once for all who want it at that time, and put into the ring, if the rule has room: so
// when many come back at once the broker hears of few.

const pastAttempts = 3 // of those who find that the ring does not join on

// question is what is asked of the broker about a topic: what is behind since, or, if last is not 0, the last so many messages,
// of so many bytes.
type question struct {
	since Position
	last  int
	bytes int64
}

// covers says whether the answer to q has that to another one, if it is whole. Both are of one kind.
func (q question) covers(other question) bool {
	if q.last > 0 {
		return q.last >= other.last && q.bytes >= other.bytes
	}
	return q.since.Number <= other.since.Number && q.since.Epoch == other.since.Epoch
}

// and is the question that covers both.
func (q question) and(other question) question {
	if q.last > 0 {
		return question{last: max(q.last, other.last), bytes: max(q.bytes, other.bytes)}
	}
	return question{since: earlier(q.since, other.since)}
}

// fetchKey is a topic, and a kind of question about it.
type fetchKey struct {
	name string
	last bool
}

// fetching is what is being asked of the broker about a topic.
type fetching struct{ running, next *fetch }

// fetch is a question for the broker, and its answer behind done.
type fetch struct {
	question     // guarded by Hub.fetchesMu until it runs
	users    int // guarded by Hub.fetchesMu
	done     chan struct{}
	past     *past
	err      error
}

// brokerKeeps says whether the broker keeps a topic's messages.
func (h *Hub) brokerKeeps(name string) bool {
	return h.historian != nil && !IsFilter(name) && h.historian.Keeps(name)
}

// fetch asks the broker for the past of a topic. The caller is its user.
func (h *Hub) fetch(ctx context.Context, name string, q question) (p *past, err error) {
	for range pastAttempts {
		p.release()
		if p, err = h.share(ctx, name, q); err != nil || q.last > 0 || !p.more || p.through.Epoch != q.since.Epoch || p.through.Number > q.since.Number {
			break // else somebody else's question was about more, of which this is not the part
		}
	}
	return p, err
}

// share asks the broker, or waits for somebody else's question that is about the same or more; until ctx ends.
func (h *Hub) share(ctx context.Context, name string, q question) (*past, error) {
	key := fetchKey{name, q.last > 0}
	h.fetchesMu.Lock()
	f := h.fetches[key]
	if f == nil {
		f = &fetching{}
		h.fetches[key] = f
	}
	mine := f.running
	switch {
	case mine == nil:
		mine = &fetch{question: q, done: make(chan struct{})}
		f.running = mine
		go h.answer(key, f, mine)
	case mine.covers(q):
	case f.next == nil:
		mine = &fetch{question: q, done: make(chan struct{})}
		f.next = mine
	default:
		mine = f.next
		mine.question = mine.and(q)
	}
	mine.users++
	h.fetchesMu.Unlock()
	select {
	case <-mine.done:
		return mine.past, mine.err
	case <-ctx.Done():
	}
	h.fetchesMu.Lock()
	defer h.fetchesMu.Unlock()
	select {
	case <-mine.done: // just now
		return mine.past, mine.err
	default:
	}
	mine.users--
	return nil, ErrBusy
}

// answer has the broker answer questions about a topic, the first one and those that come meanwhile. Nobody's
// worker is held by that: who waits may give up.
func (h *Hub) answer(key fetchKey, f *fetching, mine *fetch) {
	for mine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), pastTimeout)
		p, err := h.read(ctx, key.name, mine.since, HistoryBound{Messages: mine.last, Bytes: mine.bytes, Last: key.last})
		cancel()
		h.fetchesMu.Lock()
		mine.past, mine.err = p, err
		unwanted := mine.users == 0
		if p != nil && !unwanted {
			p.users = mine.users
		}
		close(mine.done)
		if f.running, f.next = f.next, nil; f.running != nil && f.running.users == 0 {
			f.running = nil // they have given up
		}
		if mine = f.running; mine == nil {
			delete(h.fetches, key)
		}
		h.fetchesMu.Unlock()
		if unwanted {
			p.release()
		}
	}
}

// earlier is the position behind which there is all that is behind either of two.
func earlier(a, b Position) Position {
	if a.Epoch != b.Epoch || a.Number == 0 {
		return Position{}
	}
	return Position{a.Epoch, min(a.Number, b.Number)}
}

// reach asks the broker for what a subscription wants of the past and the topic's ring has not. The caller
// holds the topic's lock, which reach may give back meanwhile, and is a user of what it gives. An error of the broker's leaves the
// past out, and so does one that there are too many who wait.
func (h *Hub) reach(t *topic, newest Position, o SubscribeOptions, bound HistoryBound) (p *past) {
	if !h.brokerKeeps(t.name) || !t.lacks(o.Since, bound, newest, nil) {
		return nil
	}
	patience, leave := h.waits.enterPast()
	if leave == nil {
		_ = h.countBusy(ErrBusy)
		return nil
	}
	defer leave()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	q := question{since: o.Since}
	if o.Since == (Position{}) {
		q.last, q.bytes = bound.Messages, bound.Bytes
	}
	for range pastAttempts {
		t.asking++ // it stays, and notes what comes meanwhile
		t.mu.Unlock()
		p.release()
		var err error
		p, err = h.fetch(ctx, t.name, q)
		t.mu.Lock()
		t.asking--
		if h.countBusy(err) != nil {
			return nil
		}
		if t.missedAt() != p.missed {
			p.release() // something behind it may be missing
			p = nil
		} else {
			h.prepend(t, p)
		}
		if !t.lacks(o.Since, bound, newest, p) {
			break
		}
	}
	return p
}

// lacks says whether a subscription wants what neither the ring nor p has: what is behind since, or, if that is zero, what the
// bound is of. The caller holds the topic's lock.
func (t *topic) lacks(since Position, bound HistoryBound, newest Position, p *past) bool {
	switch {
	case since != (Position{}):
		epoch := newest.Epoch
		if last := t.last(); last != (Position{}) {
			epoch = last.Epoch
		}
		if since.Epoch != epoch || p != nil && (p.through.Epoch != since.Epoch || p.from.Number > since.Number && t.joins(p)) {
			return false // nobody has it
		}
		_, complete := t.since(since, newest, p, time.Now())
		return !complete
	case bound.Last:
		return len(t.ring.messages) < bound.Messages && t.ring.bytes <= bound.Bytes && (p == nil || !t.joins(p)) && (t.ring.gap || t.ring.floor.Number > 0)
	}
	return false
}

// joins says whether what the topic has received follows on p without a gap. The caller holds the topic's lock.
func (t *topic) joins(p *past) bool {
	behind := t.ring.floor
	if t.ring.gap {
		if p.more {
			return false // what is behind it may never have been received
		}
		behind = t.received
	}
	return behind == (Position{}) || behind.Epoch == p.through.Epoch && behind.Number <= p.through.Number
}

// before says whether a message is before those of the ring. The first of these may stand at the floor
// itself.
func (r *ring) before(k *kept) bool {
	return r.gap || k.Position.Number <= r.floor.Number && (len(r.messages) == 0 || k.Position.Number < r.messages[0].Position.Number)
}

// joined gives the ring's messages behind those of p, and what they follow on. The caller holds the
// topic's lock, and p joins.
func (t *topic) joined(p *past) (messages []*kept, floor, last Position) {
	last = t.last()
	if last.Number < p.through.Number {
		last = p.through
	}
	for _, k := range p.messages {
		if t.ring.before(k) {
			messages = append(messages, k)
		}
	}
	return append(messages, t.ring.messages...), p.from, last
}

// prepend puts what it can of p before a topic's ring: what its rule and all histories together have
// room for. The caller holds the topic's lock.
func (h *Hub) prepend(t *topic, p *past) {
	if !h.keeps(t.name) || t.ring.gap || !t.joins(p) || p.from.Number >= t.ring.floor.Number {
		return
	}
	rule := &h.rules[t.rule]
	floor := p.from
	var front []*kept // from the newest to the oldest
	for _, k := range slices.Backward(p.messages) {
		if !t.ring.before(k) {
			continue
		}
		mine := &kept{Message: k.Message, prepared: k.prepared, options: k.options, topic: t}
		mine.Topic, mine.Payload = t.name, k.prepared.Payload()
		size := int64(len(mine.Payload))
		if len(front)+len(t.ring.messages) >= rule.Messages || rule.Bytes > 0 && t.ring.bytes+size > rule.Bytes || !h.lines.addFirst(t.rule, mine) {
			floor = later(p.from, mine.Position) // p may lack some in its midst
			break
		}
		front = append(front, mine)
		t.ring.bytes += size
	}
	slices.Reverse(front)
	t.received = t.last() // the floor is before it now
	t.ring.messages, t.ring.floor = append(front, t.ring.messages...), floor
}

// historyOf is History of a topic that the broker keeps, of which this node has not all.
func (h *Hub) historyOf(name string, since Position, bound HistoryBound) (messages []Message, complete bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), pastTimeout)
	defer cancel()
	var p *past
	switch q := (question{since: since}); {
	case bound.Last && since == Position{}:
		q.last, q.bytes = orAll(bound.Messages), orAll(bound.Bytes)
		p, err = h.fetch(ctx, name, q)
	case bound.Messages > 0 || bound.Bytes > 0:
		p, err = h.read(ctx, name, since, bound) // nobody else wants just these
	default:
		p, err = h.fetch(ctx, name, q)
	}
	if h.countBusy(err) != nil {
		return nil, false, err
	}
	defer p.release()
	behind := slices.DeleteFunc(slices.Clone(p.messages), func(k *kept) bool { return k.Position.Number <= since.Number })
	within := bound.cut(behind)
	complete = (since == Position{} || p.from.Epoch == since.Epoch) && p.from.Number <= since.Number
	if bound.Last {
		return messagesOf(within), complete && len(within) == len(behind) && !p.more, nil
	}
	return messagesOf(within), complete && (!p.more || bound.ends(within)), nil
}

// ends says whether a bound is why there are no more messages.
func (b HistoryBound) ends(messages []*kept) bool {
	return len(messages) == b.Messages || b.Bytes > 0 && payloads(messages) > b.Bytes
}
