package gateway

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/millrace/millrace/pubsub"
)

// Bounds of answers: limit is at most.
const (
	usualLimit = 100
	maxLimit   = 1000
	// maxAnswer bounds the messages of a history in bytes: one more is not added.
	maxAnswer = 1 << 20
)

// pastAnswer answers GET /history.
type pastAnswer struct {
	Topic    string            `json:"topic"`
	Messages []json.RawMessage `json:"messages"`
	// Complete: these are all messages behind since, or all that there ever were. Else there are more behind the last one, or without
	// since what was before the first one is not known.
	Complete bool `json:"complete"`
}

// history answers with what is kept, behind since, or the last ones.
func (g *Gateway) history(a *ask, name string) (any, error) {
	if err := a.who.need((*Rights).mayReadHistory, "read the history of", name); err != nil {
		return nil, err
	}
	// What is read, the envelopes and the answer are at most so large each, or one message larger.
	if a.held = 3 * maxAnswer; !g.answers.take(a.held) {
		a.held = 0
		return nil, errNoMemory
	}
	limit := min(cmp.Or(a.limit, usualLimit), maxLimit)
	since := a.sinceOf(0)
	bound := pubsub.HistoryBound{Messages: limit + 1, Bytes: maxAnswer}
	if last := a.lastOf(0); last > 0 && since == (pubsub.Position{}) {
		bound.Messages, bound.Last = min(last, limit), true
	}
	messages, complete, err := g.hub.History(name, since, bound)
	switch {
	case err != nil:
		return nil, err
	case since != pubsub.Position{} && !complete:
		return nil, &Error{HistoryGone, "not all messages behind since are kept: ask without it"}
	}
	answer, size := pastAnswer{Topic: name, Messages: []json.RawMessage{}}, 0
	some := messages[:min(len(messages), limit)]
	for i := range some {
		if bound.Last {
			i = len(some) - 1 - i
		}
		e := pubsub.Envelope(some[i], true)
		if size += len(e); size > maxAnswer && len(answer.Messages) > 0 {
			break
		}
		answer.Messages = append(answer.Messages, e)
	}
	if bound.Last {
		slices.Reverse(answer.Messages)
	}
	// If it is too large, what the hub has given may end with it.
	answer.Complete = complete && !bound.Last && len(answer.Messages) == len(messages) && size <= maxAnswer
	return answer, nil
}

// presenceAnswer answers GET /presence.
type presenceAnswer struct {
	Topic   string          `json:"topic"`
	Count   int             `json:"count"`
	Members []pubsub.Member `json:"members"` // not all, beyond limit
}

// checkPresence refuses to tell who is at a topic of which nobody knows.
func (g *Gateway) checkPresence(name string) error {
	if g.hub.HasPresence(name) {
		return nil
	}
	return &Error{BadRequest, "nobody is told who is at " + quoted(name) + ": the topic's rule has no presence"}
}

func (g *Gateway) presence(a *ask, name string) (any, error) {
	if err := a.who.need((*Rights).maySeePresence, "see who is at", name); err != nil {
		return nil, err
	}
	if err := g.checkPresence(name); err != nil {
		return nil, err
	}
	members, count := g.hub.SomeMembers(name, min(cmp.Or(a.limit, maxLimit), maxLimit))
	return presenceAnswer{name, count, append([]pubsub.Member{}, members...)}, nil
}

// statsAnswer answers GET /stats.
type statsAnswer struct {
	Topic       string `json:"topic"`
	Subscribers int    `json:"subscribers"`
	Messages    int    `json:"messages"`
	Bytes       int64  `json:"bytes"`
	Position    string `json:"position"`
}

func (g *Gateway) stats(a *ask, name string) (any, error) {
	if err := a.who.need((*Rights).maySubscribe, "subscribe to", name); err != nil {
		return nil, err
	}
	s, err := g.hub.TopicStats(name)
	if err != nil {
		return nil, err
	}
	return statsAnswer{name, s.Subscribers, s.Messages, s.Bytes, s.Position.String()}, nil
}
