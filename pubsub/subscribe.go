package pubsub

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/server"
)

// SubscribeOptions are those of a subscription.
type SubscribeOptions struct {
	// Since has the connection get, before all else, what is kept of the topic behind this
	// position; the zero value is nothing. A filter has no history.
	Since Position
	// Last has it get so many of the last messages that are kept, if Since is zero. Of those that only a HistoryBroker keeps no more
	// than 10,000 are read, and no more than have together the bytes that the connection's outbound queue may have
	// (server.Conn.QueueMax), and one.
	Last int
	// Info is what Hub.Members tells of the member, where the topic has presence: JSON. It must
	// not be changed.
	Info []byte
	// Policy is for when the connection reads too slowly, see server.JoinOptions.
	Policy server.QueuePolicy
	// Before, if not nil, is called when it is known how the subscription will begin, before the
	// connection gets anything of it, and not if it is subscribed already: what it sends to the connection
	// comes first. It must not block, since publishers wait for it, nor call the hub, which might wait for it too. With an error nothing happens, and Subscribe returns it.
	Before func(Subscribed) error
}

// Subscribed is how a subscription begins.
type Subscribed struct {
	// Position is where: the connection gets each message behind it. It is behind the Sent messages: do not give it to a client
	// as its place before it has those (leave it out if Sent > 0). It is zero for a filter.
	Position Position
	// Recovered says that with Since nothing is missing: every message between the two positions
	// is kept and was sent, but for those that have expired (server.SendOptions). If it is false, all that
	// is kept behind Since was sent; of another epoch all that is kept.
	Recovered bool
	// Sent is how many messages of the history were queued. Fewer come where one with a key takes the place of others.
	Sent int
	// Again says that the connection was subscribed already: nothing has happened.
	Again bool
}

// Subscribe has a connection get what is published to a topic, or to the topics that a
// filter meets. A connection that several of its subscriptions meet gets a message once. It
// may be called in Handler.Open.
//
// A connection that gets the topic's messages already, by a filter, gets no history, and is not
// Recovered: subscribe to topics first.
//
// The past is sent as it was published, with its key, its expiry and its policy, or that of the
// subscription or of the rule: what does not fit into the connection's outbound queue is dropped, or the connection closed.
//
// What the node does not have of the past of a HistoryBroker's topic is read within Limits.Reading, for 10 s at most. If half of
// the server's workers wait for that, one more waits for 1 s, or, if the broker has answered nothing for 1 s, not at all. Who has
// waited in vain is not Recovered, and gets what is kept here. If too many wait for a broker to say where a topic is, Subscribe returns
// ErrBusy.
//
// ErrName, ErrInfo, ErrNoPresence (of "$presence/NAME"), ErrTooMany, ErrFull, ErrBusy, ErrTooFast (of a topic with presence), ErrClosed; and server.ErrClosed, also if the past did not fit.
func (h *Hub) Subscribe(c *server.Conn, name string, o SubscribeOptions) (Subscribed, error) {
	if err := h.limits.checkFilter(name); err != nil {
		return Subscribed{}, err
	}
	if len(o.Info) > h.limits.Info || len(o.Info) > 0 && !(json.Valid(o.Info) && utf8.Valid(o.Info)) {
		return Subscribed{}, fmt.Errorf("%w of at most %d bytes", ErrInfo, h.limits.Info)
	}
	if of, ok := strings.CutPrefix(name, presencePrefix); ok && !h.HasPresence(of) {
		return Subscribed{}, fmt.Errorf("%w: %s", ErrNoPresence, quoted(of))
	}
	if h.closed.Load() {
		return Subscribed{}, ErrClosed
	}
	user, err := h.admit(c, name)
	if err != nil {
		if s, ok := h.subscribed(c, name); ok && (errors.Is(err, ErrTooMany) || errors.Is(err, ErrTooFast)) {
			return s, nil
		}
		return Subscribed{}, h.countRefused(err)
	}
	h.gaps.notePassed()
	t, newest, err := h.findOrMake(name)
	if err != nil {
		h.release(c, name)
		if s, ok := h.subscribed(c, name); ok && errors.Is(err, ErrBusy) {
			return s, nil
		}
		return Subscribed{}, h.countRefused(err)
	}
	p := h.reach(t, newest, o, lastOf(c, o))
	var gone []*kept
	defer func() {
		h.unlock(t)
		p.release()
		h.evict(gone)
	}()
	s, gone, err := t.subscribe(c, user, newest, p, o)
	if err != nil || s.Again {
		h.release(c, name)
	}
	return s, err
}

// lastOf is the bound of the last messages that are read for a connection: those that its queue can not take are of no use.
func lastOf(c *server.Conn, o SubscribeOptions) HistoryBound {
	return HistoryBound{Messages: o.Last, Bytes: int64(c.QueueMax()), Last: o.Last > 0}
}

// countRefused counts an error, if it is ErrTooMany, ErrFull or ErrBusy.
func (h *Hub) countRefused(err error) error {
	if errors.Is(err, ErrTooMany) || errors.Is(err, ErrFull) || errors.Is(err, ErrBusy) {
		h.counts.tooMany.Add(1)
	}
	return err
}

// subscribed says whether a connection is subscribed already.
func (h *Hub) subscribed(c *server.Conn, name string) (s Subscribed, ok bool) {
	t := h.find(name)
	if t == nil {
		return Subscribed{}, false
	}
	defer h.unlock(t)
	return Subscribed{Position: t.position(Position{}), Again: true}, t.group.Has(c)
}

// subscribe is Subscribe for a topic whose lock the caller holds. newest is where the broker was
// when the topic was there already, p what it keeps from before; nil: nothing. gone is for evict.
func (t *topic) subscribe(c *server.Conn, user string, newest Position, p *past, o SubscribeOptions) (s Subscribed, gone []*kept, err error) {
	if t.group.Has(c) {
		return Subscribed{Position: t.position(newest), Again: true}, nil, nil
	}
	var messages []*kept
	now := time.Now()
	switch {
	case slices.ContainsFunc(t.hub.metBy(t), func(f *topic) bool { return f.group.Has(c) }):
	case o.Since != (Position{}):
		messages, s.Recovered = t.since(o.Since, newest, p, now)
	case o.Last > 0:
		messages, _ = t.since(Position{}, newest, p, now)
		messages = messages[max(len(messages)-o.Last, 0):]
	}
	messages = unexpired(messages, now)
	s.Position, s.Sent = t.position(newest), len(messages)
	if IsFilter(t.name) {
		defer t.hold()()
	}
	if o.Before != nil {
		if err := o.Before(s); err != nil {
			return Subscribed{}, nil, err
		}
	}
	made := messages // that have further forms now
	for i, k := range messages {
		options := k.sendOptions(now)
		options.Policy = cmp.Or(options.Policy, o.Policy)
		if err = t.group.SendTo(c, k.prepared, options); err != nil {
			made = messages[:i+1]
			break
		}
	}
	for some := range slices.Chunk(made, recountAtOnce) {
		gone = append(gone, t.hub.lines.recount(some)...)
	}
	if err == nil {
		_, err = t.group.JoinWith(c, server.JoinOptions{Policy: o.Policy})
	}
	if err != nil {
		return Subscribed{}, gone, err
	}
	t.hub.gaps.notePassed() // what was told before the position, the newcomer did not get
	t.subscribers++
	t.hub.counts.subscriptions.Add(1)
	t.enter(c, user, o.Info)
	return s, gone, nil
}

// recountAtOnce is how many messages are counted again before others may have the lines, which are those of all topics.
const recountAtOnce = 256

// position is where a subscription begins: each message behind it comes. newest is as in subscribe. The caller holds
// the topic's lock.
func (t *topic) position(newest Position) Position {
	switch last := t.last(); {
	case IsFilter(t.name):
		return Position{}
	case last != (Position{}):
		return last
	}
	return newest
}

// Unsubscribe ends a subscription. ok is false if there was none.
func (h *Hub) Unsubscribe(c *server.Conn, name string) (ok bool) {
	t := h.find(name)
	if t == nil {
		return false
	}
	defer h.unlock(t)
	if _, ok = t.group.Leave(c); ok {
		t.leave(c)
	}
	return ok
}

// leave forgets a member that has left the group. The caller holds the topic's lock.
func (t *topic) leave(c *server.Conn) {
	t.subscribers--
	t.hub.counts.subscriptions.Add(-1)
	t.exit(c)
	t.hub.release(c, t.name)
}

// admit counts a subscription of c that is about to come. The user is that of now: the connection may end at any time.
func (h *Hub) admit(c *server.Conn, name string) (user string, err error) {
	told := !IsFilter(name) && h.HasPresence(name)
	open := h.client(c, func(cl *client) {
		switch filter := IsFilter(name); {
		case cl.topics >= h.limits.Topics:
			err = fmt.Errorf("%w: the connection has %d", ErrTooMany, cl.topics)
		case filter && cl.filters >= h.limits.ConnFilters:
			err = fmt.Errorf("%w: the connection has %d filters", ErrTooMany, cl.filters)
		case told && !h.mayEnter(cl):
			err = ErrTooFast
		default:
			cl.count(name, 1)
			user = cl.user
		}
	})
	if !open {
		return "", server.ErrClosed
	}
	return user, err
}

// ErrInfo: SubscribeOptions.Info is no JSON.
var ErrInfo = errors.New("pubsub: a member's info is no JSON")
