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
// A topic keeps its last messages in a ring, as its rule says. All rings together have one bound:
// beyond it the oldest messages go, whichever topic they are of. So the messages of a rule
// also stand in one line, from the oldest to the newest, and what is too old goes at its
// head.

// kept is a message in a ring, and in the line of its rule.
type kept struct {
	Message
	prepared *ws.Prepared
	options  server.SendOptions
	topic    *topic
	forms    int64         // what its other forms have, as of lines.recount; guarded by lines.mu
	place    *list.Element // in the rule's line, guarded by lines.mu; nil: it was taken out
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

// lines are the kept messages of all topics.
type lines struct {
	mu    sync.Mutex
	rules []list.List // of *kept, from the oldest to the newest
	bytes int64
	most  int64
}

// add puts the last of some messages behind the others, recounts those before it, and gives
// those that have to go for it: the oldest of all topics, beyond the bound.
func (l *lines) add(rule int, messages []*kept) (gone []*kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := messages[len(messages)-1]
	k.place = l.rules[rule].PushBack(k)
	l.bytes += k.size()
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
			l.bytes += forms - k.forms
			k.forms = forms
		}
	}
	for l.bytes > l.most {
		var first *kept
		which := 0
		for i := range l.rules {
			if k := l.oldest(i); k != nil && (first == nil || k.Time.Before(first.Time)) {
				first, which = k, i
			}
		}
		l.take(which, first)
		gone = append(gone, first)
	}
	return gone
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
	l.bytes += k.size()
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

// take takes out one that is in. The caller holds mu.
func (l *lines) take(rule int, k *kept) {
	l.rules[rule].Remove(k.place)
	k.place = nil
	l.bytes -= k.size()
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
