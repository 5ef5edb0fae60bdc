package pubsub

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// # History
//
// A topic keeps its last messages in a ring, as its rule says. All rings together have one bound.
// Beyond it a topic that has more than a share of it loses its oldest messages, the topic with the most
// first, so that nobody who may publish to one topic pushes out what others keep. If no topic has, the oldest
// messages go, whichever topic they are of. So the messages of a rule also stand in one line, from the oldest
// to the newest, and what is too old goes at its head.

// kept is a message in a ring, and in the line of its rule.
type kept struct {
	Message
	prepared *ws.Prepared
	options  server.SendOptions
	topic    *topic
	forms    int64         // what its other forms have, as of lines.recount; guarded by lines.mu
	place    *list.Element // in the rule's line, guarded by lines.mu; nil: it was taken out
	next     *kept         // of the topic, among those with a place; guarded by lines.mu
}

// sendOptions are those with which a message of the past is sent, which has not expired.
func (k *kept) sendOptions(now time.Time) server.SendOptions {
	o := k.options
	if o.Expires > 0 {
		o.Expires -= now.Sub(k.Time)
	}
	return o
}

// unexpired are those messages that have not expired.
func unexpired(messages []*kept, now time.Time) []*kept {
	expired := func(k *kept) bool { return k.options.Expires > 0 && now.Sub(k.Time) >= k.options.Expires }
	if !slices.ContainsFunc(messages, expired) {
		return messages
	}
	return slices.DeleteFunc(slices.Clone(messages), expired) // they are the ring's
}

// keptMemory is what a kept message takes besides its bytes.
const keptMemory = 512

func (k *kept) size() int64 {
	return keptMemory + int64(k.prepared.Len()+len(k.Topic)+len(k.options.Key)) + k.forms
}

// ring is a topic's history, guarded by topic.mu.
type ring struct {
	messages []*kept // from the oldest to the newest
	bytes    int64
	floor    Position // all behind it that are to be kept are in the ring; zero: not known yet
	gap      bool     // no: the broker has missed something since, or floor is not known, and nothing has come yet
}

// historyShares is how many parts Limits.History has: a topic with more than one of them loses first.
const historyShares = 16

// lines are the kept messages of all topics.
type lines struct {
	mu    sync.Mutex
	rules []list.List // of *kept, from the oldest to the newest
	bytes int64
	most  int64
	large []*topic // that have more than a share: so there are fewer than historyShares of them within most
}

// held is what a topic has in its rule's line, guarded by lines.mu. Its messages stand there in the order of its ring, so
// the oldest is always the first that goes.
type held struct {
	oldest, newest *kept
	bytes          int64
}

// add puts the last of some messages of a topic behind the others, recounts those before it, and gives
// those, of any topics, that have to go for it.
func (l *lines) add(rule int, messages []*kept) (gone []*kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := messages[len(messages)-1]
	k.place = l.rules[rule].PushBack(k)
	h := &k.topic.held
	if h.newest == nil {
		h.oldest = k
	} else {
		h.newest.next = k
	}
	h.newest = k
	l.count(k.topic, k.size())
	return l.recountLocked(messages)
}

// recount counts the forms of messages that have come to be since they were last counted, and gives
// those that have to go for it.
func (l *lines) recount(messages []*kept) (gone []*kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recountLocked(messages)
}

func (l *lines) recountLocked(messages []*kept) (gone []*kept) {
	for _, k := range messages {
		if k.place != nil {
			forms := int64(k.prepared.Forms())
			l.count(k.topic, forms-k.forms)
			k.forms = forms
		}
	}
	for l.bytes > l.most {
		k := l.unfair()
		if k == nil {
			k = l.oldestOfAll()
		}
		l.take(k.topic.rule, k)
		gone = append(gone, k)
	}
	return gone
}

// count counts bytes that a topic has more, or less. The caller holds mu.
func (l *lines) count(t *topic, bytes int64) {
	share := l.most / historyShares
	was := t.held.bytes > share
	t.held.bytes += bytes
	l.bytes += bytes
	switch is := t.held.bytes > share; {
	case is && !was:
		l.large = append(l.large, t)
	case was && !is:
		i := slices.Index(l.large, t)
		l.large = slices.Delete(l.large, i, i+1)
	}
}

// unfair is the oldest message of the topic that has the most, of those with more than a share; nil if there is none. A topic
// does not lose its only message so, unless that has no room at all. The caller holds mu.
func (l *lines) unfair() (first *kept) {
	for _, t := range l.large {
		only := t.held.oldest == t.held.newest && t.held.bytes <= l.most
		if !only && (first == nil || t.held.bytes > first.topic.held.bytes) {
			first = t.held.oldest
		}
	}
	return first
}

// oldestOfAll is the oldest message of all topics. The caller holds mu, and there is one.
func (l *lines) oldestOfAll() (first *kept) {
	for i := range l.rules {
		if k := l.oldest(i); k != nil && (first == nil || k.Time.Before(first.Time)) {
			first = k
		}
	}
	return first
}

// addFirst puts a message before the others, if there is room. Those that it stands before may be
// older: then they go a little later.
func (l *lines) addFirst(rule int, k *kept) (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes+k.size() > l.most {
		return false
	}
	k.place = l.rules[rule].PushFront(k)
	h := &k.topic.held
	if h.oldest == nil {
		h.newest = k
	}
	k.next, h.oldest = h.oldest, k
	l.count(k.topic, k.size())
	return true
}

// oldest is a rule's oldest message, nil if there is none. The caller holds mu.
func (l *lines) oldest(rule int) *kept {
	front := l.rules[rule].Front()
	if front == nil {
		return nil
	}
	return front.Value.(*kept)
}

// remove takes a message out, if it is in.
func (l *lines) remove(rule int, k *kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.place != nil {
		l.take(rule, k)
	}
}

// take takes out one that is in: the oldest of its topic. The caller holds mu.
func (l *lines) take(rule int, k *kept) {
	l.rules[rule].Remove(k.place)
	h := &k.topic.held
	if h.oldest = k.next; h.oldest == nil {
		h.newest = nil
	}
	k.place, k.next = nil, nil
	l.count(k.topic, -k.size())
}

// expired gives the oldest messages of a rule that are older than a moment, and takes them out.
func (l *lines) expired(rule int, before time.Time, most int) (gone []*kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(gone) < most {
		k := l.oldest(rule)
		if k == nil || !k.Time.Before(before) {
			break
		}
		l.take(rule, k)
		gone = append(gone, k)
	}
	return gone
}
