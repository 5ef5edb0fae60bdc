package pubsub

import (
	"context"
	"errors"
	"slices"
	"time"
)

// # The past that a broker keeps
//
// A topic's ring is the end of it, as far as this node has received it. What is before is asked of
// the broker, once for all who want it at that time, and put into the ring, if the rule has room: so
// when many come back at once the broker hears of few.

const (
	pastMessages = 10_000           // that are asked for at once, at most
	pastTimeout  = 10 * time.Second // for the broker to answer
	pastAttempts = 3                // of those who find that the ring does not join on
)

// past is what the broker keeps of a topic. It is not changed.
type past struct {
	messages      []*kept // without topic and place
	from, through Position
	more          bool   // the broker has some behind through
	missed        uint64 // Hub.missedAt when the broker was asked
}

// fetching is what is being asked of the broker about a topic.
type fetching struct{ running, next *fetch }

// fetch is a question for the broker, and its answer behind done.
type fetch struct {
	since Position // guarded by Hub.fetchesMu until it runs
	done  chan struct{}
	past  *past
	err   error
}

// brokerKeeps says whether the broker keeps a topic's messages.
func (h *Hub) brokerKeeps(name string) bool {
	return h.historian != nil && !IsFilter(name) && h.historian.Keeps(name)
}

// fetch asks the broker for the past of a topic behind a position; the zero one: all.
func (h *Hub) fetch(name string, since Position) (p *past, err error) {
	for range pastAttempts {
		if p, err = h.share(name, since); err != nil || !p.more || p.through.Epoch != since.Epoch || p.through.Number > since.Number {
			break // else somebody else's question was about more, of which this is not the part
		}
	}
	return p, err
}

// share asks the broker, or waits for somebody else's question that is about the same or more.
func (h *Hub) share(name string, since Position) (*past, error) {
	h.fetchesMu.Lock()
	f := h.fetches[name]
	if f == nil {
		f = &fetching{}
		h.fetches[name] = f
	}
	mine := &fetch{since: since, done: make(chan struct{})}
	switch {
	case f.running == nil:
		f.running = mine
	case f.running.since.Number <= since.Number && f.running.since.Epoch == since.Epoch:
		mine = f.running
		h.fetchesMu.Unlock()
		<-mine.done
		return mine.past, mine.err
	case f.next != nil:
		mine = f.next
		if since.Number < mine.since.Number || since.Epoch != mine.since.Epoch {
			mine.since = earlier(since, mine.since)
		}
		h.fetchesMu.Unlock()
		<-mine.done
		return mine.past, mine.err
	default:
		f.next = mine
		running := f.running
		h.fetchesMu.Unlock()
		<-running.done
		h.fetchesMu.Lock()
		f.running, f.next = mine, nil
	}
	h.fetchesMu.Unlock()
	mine.past, mine.err = h.ask(name, mine.since, pastMessages)
	h.fetchesMu.Lock()
	if f.running = nil; f.next == nil {
		delete(h.fetches, name)
	}
	h.fetchesMu.Unlock()
	close(mine.done)
	return mine.past, mine.err
}

// earlier is the position behind which there is all that is behind either of two.
func earlier(a, b Position) Position {
	if a.Epoch != b.Epoch || a.Number == 0 {
		return Position{}
	}
	return Position{a.Epoch, min(a.Number, b.Number)}
}

// ask asks the broker for so many messages at most.
func (h *Hub) ask(name string, since Position, most int) (*past, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pastTimeout)
	defer cancel()
	h.counts.fetched.Add(1)
	missed := h.missedAt(name)
	found, err := h.historian.History(ctx, name, since, HistoryBound{most, h.limits.History})
	if err != nil {
		h.counts.fetchFailed.Add(1)
		return nil, err
	}
	p := &past{from: found.From, through: found.Through, more: found.More, missed: missed}
	for _, m := range found.Messages {
		p.messages = append(p.messages, &kept{Message: m.Message, prepared: prepare(m.Message, true), options: h.groupOptions(m.Topic, m.Options, true)})
	}
	return p, nil
}

// reach asks the broker for what a subscription wants of the past and the topic's ring has not. The caller
// holds the topic's lock, which reach may give back meanwhile. An error of the broker's leaves the past out.
func (h *Hub) reach(t *topic, newest Position, o SubscribeOptions) (p *past) {
	for range pastAttempts {
		if !h.brokerKeeps(t.name) || !t.lacks(o, newest, p) {
			break
		}
		t.asking++ // it stays, and notes what comes meanwhile
		t.mu.Unlock()
		var err error
		if o.Since != (Position{}) {
			p, err = h.fetch(t.name, o.Since)
		} else {
			p, err = h.pastLast(t.name, o.Last)
		}
		t.mu.Lock()
		t.asking--
		if err != nil {
			break
		}
		if t.missedAt() != p.missed {
			p = nil // something behind it may be missing
			continue
		}
		h.prepend(t, p)
	}
	return p
}

// errLongPast: see pastLast.
var errLongPast = errors.New("pubsub: the broker keeps more of the topic than can be read in time")

// pastLast asks the broker for the last messages of a topic, at most n. A broker gives a past from its beginning, and
// a part at a time.
func (h *Hub) pastLast(name string, n int) (*past, error) {
	all := &past{missed: h.missedAt(name)}
	for end := time.Now().Add(pastTimeout); time.Now().Before(end); {
		p, err := h.fetch(name, all.through)
		if err != nil {
			return nil, err
		}
		if all.through != (Position{}) && p.through.Epoch != all.through.Epoch { // numbers have begun anew
			all = &past{missed: all.missed}
			continue
		}
		behind := p.messages
		for len(behind) > 0 && behind[0].Position.Epoch == all.through.Epoch && behind[0].Position.Number <= all.through.Number {
			behind = behind[1:] // somebody else's question was about more
		}
		all.add(p, behind, n)
		if !p.more {
			return all, nil
		}
	}
	return nil, errLongPast
}

// add goes on with the next part, and keeps the last n messages.
func (p *past) add(next *past, behind []*kept, n int) {
	if next.from.Epoch != p.through.Epoch || next.from.Number > p.through.Number { // it does not follow on
		p.from = next.from
	}
	p.through, p.missed = next.through, min(p.missed, next.missed)
	p.messages = append(p.messages, behind...)
	if more := len(p.messages) - n; more > 0 {
		p.from = later(p.from, p.messages[more-1].Position)
		p.messages = slices.Delete(p.messages, 0, more)
	}
}

// lacks says whether a subscription wants what neither the ring nor p has. The caller holds the topic's lock.
func (t *topic) lacks(o SubscribeOptions, newest Position, p *past) bool {
	switch {
	case o.Since != (Position{}):
		epoch := newest.Epoch
		if last := t.last(); last != (Position{}) {
			epoch = last.Epoch
		}
		if o.Since.Epoch != epoch || p != nil && (p.through.Epoch != o.Since.Epoch || p.from.Number > o.Since.Number && t.joins(p)) {
			return false // nobody has it
		}
		_, complete := t.since(o.Since, newest, p, time.Now())
		return !complete
	case o.Last > 0:
		return len(t.ring.messages) < o.Last && (p == nil || !t.joins(p)) && (t.ring.gap || t.ring.floor.Number > 0)
	}
	return false
}

// joins says whether what the topic has received follows on p without a gap. The caller holds the topic's lock.
func (t *topic) joins(p *past) bool {
	behind := t.ring.floor
	if t.ring.gap {
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
			floor = mine.Position
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
func (h *Hub) historyOf(name string, since Position, most int) (messages []Message, complete bool, err error) {
	var p *past
	if most > 0 {
		p, err = h.ask(name, since, min(most, pastMessages-1)+1) // nobody else wants just these
	} else {
		p, err = h.fetch(name, since)
	}
	if err != nil {
		return nil, false, err
	}
	for _, k := range p.messages {
		if (most <= 0 || len(messages) < most) && k.Position.Number > since.Number {
			messages = append(messages, k.Message)
		}
	}
	complete = (since == Position{} || p.from.Epoch == since.Epoch) && p.from.Number <= since.Number
	return messages, complete && (!p.more || len(messages) == most), nil
}
