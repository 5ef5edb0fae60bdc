package pubsub

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/server"
)

// Options are a hub's. The zero value keeps nothing and has the default limits.
type Options struct {
	// Rules say what topics keep and tell. The first whose filter meets the name is a topic's;
	// without one it keeps nothing.
	Rules []Rule
	// Limits bound what clients can make the hub hold.
	Limits Limits
	// Broker orders and keeps messages. nil is this process.
	Broker Broker
	// Heartbeat is how often nodes tell each other that they are there; 0 is 3 s. One that is silent for 10/3 of it
	// is gone, and a member that is away for it has left.
	Heartbeat time.Duration
	// OnMissed, if not nil, is called when the broker says that messages of a topic may be
	// missing, "" is of all topics. The broker calls it, within the order of the topic's messages, so it must not block, nor call the hub. Who is subscribed is not told by
	// itself: see Hub.SetGapNotice. The broker of one process misses nothing.
	OnMissed func(topic string)
}

// Rule is about the topics that a filter meets.
type Rule struct {
	// Filter is a name or a filter; "#" is all topics.
	Filter string
	// Messages is how many messages a topic keeps at most, and Age for how long; Bytes is
	// how many bytes they have together at most. 0 of Messages keeps none; 0 of the others is no bound but
	// Limits.History.
	Messages int
	Age      time.Duration
	Bytes    int64
	// Presence has the topics know who is there, and tell of it: see Hub.Members.
	Presence bool
	// Policy is for members that read too slowly, see server.GroupOptions.
	Policy server.QueuePolicy
}

// Limits bound what a hub holds. In each 0 is the default, and below 0 no bound.
type Limits struct {
	// Topics bounds the topics and filters that a connection is subscribed to; 0 is 1,000. AllTopics
	// bounds the topics that there are, with subscribers or a history; 0 is 1,000,000.
	Topics, AllTopics int
	// NameLength bounds a name in bytes, 0 is 256; Levels its levels, 0 is 16. Of "$presence/NAME" they bound NAME.
	NameLength, Levels int
	// Filters bounds the filters that have subscribers, of all connections together; 0 is
	// 100,000. ConnFilters bounds those that a connection is subscribed to, each of which a message
	// may meet; 0 is 100.
	Filters, ConnFilters int
	// Info bounds SubscribeOptions.Info in bytes; 0 is 1 KiB.
	Info int
	// Payload bounds a message in bytes; 0 is 1 MiB.
	Payload int
	// PublishRate bounds the messages a second that come from one connection
	// (PublishOptions.From), PublishBurst how many may come at once; 0 is as many as a second has. 0 of
	// PublishRate is no bound.
	PublishRate, PublishBurst int
	// PresenceRate bounds how often a connection comes and goes, of which the members of topics with presence are told: so
	// many of those topics a second it may leave, PresenceBurst at once, and still subscribe to one. Beyond it Subscribe to
	// a topic with presence returns ErrTooFast. Unsubscribe always works, and what a connection enters without having left
	// anything does not count. 0 is 10 a second and 100 at once; of PresenceRate below 0 is no bound.
	PresenceRate, PresenceBurst int
	// History bounds the memory of all that is kept, in bytes; 0 is 64 MiB. Beyond it a topic that has
	// more than a sixteenth of it, and more than one message, loses its oldest messages, the topic with the most first. If
	// there is none the oldest messages of all topics go, so who may publish to many topics may push out what others keep.
	History int64
	// Reading bounds the payloads that are being read of what a HistoryBroker keeps, for all who ask together, in bytes; 0 is 64
	// MiB. Each reading takes 1 MiB of it at once, whatever it finds, and more as it goes on; messages that go beyond a part come on
	// top, one for each. Who finds no room waits for the first part, for 10 s at most, and without the others has a part of the past.
	Reading int64
}

func (l Limits) filled() Limits {
	return Limits{
		Topics: bound(l.Topics, 1000), AllTopics: bound(l.AllTopics, 1_000_000), NameLength: bound(l.NameLength, 256), Levels: bound(l.Levels, 16),
		Filters: bound(l.Filters, 100_000), ConnFilters: bound(l.ConnFilters, 100), Info: bound(l.Info, 1<<10), Payload: bound(l.Payload, 1<<20), History: bound(l.History, 64<<20), Reading: bound(l.Reading, 64<<20),
		PublishRate: max(l.PublishRate, 0), PublishBurst: l.PublishBurst, PresenceRate: bound(l.PresenceRate, 10), PresenceBurst: bound(l.PresenceBurst, 100),
	}
}

// bound is a limit with its default.
func bound[N int | int64](n, normally N) N {
	if n < 0 {
		return N(math.MaxInt)
	}
	return cmp.Or(n, normally)
}

// check says which option can not work.
func (o *Options) check(l *Limits) error {
	if o.Heartbeat < 0 || o.Heartbeat > 0 && o.Heartbeat < 10*time.Millisecond {
		return fmt.Errorf("pubsub: Options.Heartbeat: %v, want 0 or at least 10 ms", o.Heartbeat)
	}
	for i := range o.Rules {
		if err := o.checkRule(i, l); err != nil {
			return err
		}
	}
	if o.Limits.PublishBurst > 0 && o.Limits.PublishRate <= 0 {
		return errors.New("pubsub: Options.Limits.PublishBurst is of no use without PublishRate")
	}
	return nil
}

func (o *Options) checkRule(i int, l *Limits) error {
	r := &o.Rules[i]
	if err := l.checkFilter(r.Filter); err != nil {
		return fmt.Errorf("pubsub: Options.Rules[%d].Filter: %w", i, err)
	}
	first := slices.IndexFunc(o.Rules[:i], func(before Rule) bool { return Covers(before.Filter, r.Filter) })
	var why string
	switch {
	case r.Messages < 0 || r.Age < 0 || r.Bytes < 0:
		why = "Messages, Age and Bytes are 0 or more"
	case r.Messages == 0 && (r.Age > 0 || r.Bytes > 0):
		why = "Age and Bytes are of no use without Messages"
	case r.Policy > server.DropOldest:
		return fmt.Errorf("pubsub: Options.Rules[%d].Policy: %w", i, server.ErrPolicy)
	case strings.HasPrefix(r.Filter, "$"):
		why = "topics that begin with $ are the hub's, and keep nothing"
	case first >= 0:
		why = fmt.Sprintf("Rules[%d], %q, is that of all topics that %q meets: put it behind this one", first, o.Rules[first].Filter, r.Filter)
	default:
		return nil
	}
	return fmt.Errorf("pubsub: Options.Rules[%d]: %s", i, why)
}
