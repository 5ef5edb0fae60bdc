package pubsub

import (
	"sync"
	"time"

	"github.com/millrace/millrace/ws"
)

// # History
//
// A topic keeps its last messages in a ring, as its rule says. All rings together have one bound:
// beyond it the oldest messages go, whichever topic they are of. So the messages of a rule
// also stand in one line, from the oldest to the newest, and what is too old goes at its
// head.

// kept is a message in a ring, and in the line of its rule.
type kept struct {
	Message
	prepared   *ws.Prepared
	topic      *topic
	older, new *kept // in the rule's line
}

// keptMemory is what a kept message takes besides its bytes.
const keptMemory = 512

func (k *kept) size() int64 { return keptMemory + int64(k.prepared.Len()+len(k.Topic)) }

// ring is a topic's history, guarded by topic.mu.
type ring struct {
	messages []*kept // from the oldest to the newest
	bytes    int64
	floor    Position // all behind it that are to be kept are in the ring
	gap      bool     // no: the broker has missed something since, or floor is not known, and nothing has come yet
	fresh    bool     // floor is not known yet
}

// lines are the kept messages of all topics.
type lines struct {
	mu    sync.Mutex
	rules []line
	bytes int64
	most  int64
}

// line is the kept messages of one rule.
type line struct{ oldest, newest *kept }

// add puts a message behind the others, and gives those that have to go for it: the
// oldest of all topics, beyond the bound.
func (l *lines) add(rule int, k *kept) (gone []*kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := &l.rules[rule]
	if k.older = at.newest; k.older == nil {
		at.oldest = k
	} else {
		k.older.new = k
	}
	at.newest = k
	l.bytes += k.size()
	for l.bytes > l.most {
		var first *kept
		which := 0
		for i := range l.rules {
			if o := l.rules[i].oldest; o != nil && (first == nil || o.Time.Before(first.Time)) {
				first, which = o, i
			}
		}
		l.take(which, first)
		gone = append(gone, first)
	}
	return gone
}

// remove takes a message out, if it is in.
func (l *lines) remove(rule int, k *kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.older != nil || l.rules[rule].oldest == k {
		l.take(rule, k)
	}
}

// take takes out one that is in. The caller holds mu.
func (l *lines) take(rule int, k *kept) {
	at := &l.rules[rule]
	if k.older == nil {
		at.oldest = k.new
	} else {
		k.older.new = k.new
	}
	if k.new == nil {
		at.newest = k.older
	} else {
		k.new.older = k.older
	}
	k.older, k.new = nil, nil
	l.bytes -= k.size()
}

// expired gives the oldest messages of a rule that are older than a moment, and takes them out.
func (l *lines) expired(rule int, before time.Time, most int) (gone []*kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(gone) < most {
		k := l.rules[rule].oldest
		if k == nil || !k.Time.Before(before) {
			break
		}
		l.take(rule, k)
		gone = append(gone, k)
	}
	return gone
}
