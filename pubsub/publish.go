package pubsub

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Publish sends a message to all who are subscribed to its topic, or to filters that meet
// it. It returns when the message has its place in the topic's order, before they have it.
//
// ErrName, ErrTooBig, ErrKey, ErrTooFast, ErrFull (of a topic that would keep its first message), ErrBusy, ErrClosed, server.ErrNoRoom, server.ErrOpcode, server.ErrNotUTF8, and the broker's errors: nobody gets the message.
// ErrUnknown: see there. Of the in-process broker Publish does not block.
//
// A broker outside of this process may let Publish wait, as one that keeps messages does until it has this one. In a handler say with
// PublishOptions.From which connection it is: at most half of the server's workers wait so, together with those who wait for the past. One more
// waits for a moment, or not at all if the broker answers nothing, and then gets ErrBusy.
func (h *Hub) Publish(ctx context.Context, m Message, o PublishOptions) (Published, error) {
	p, err := h.publish(ctx, m, o)
	switch {
	case err == nil:
		h.counts.published.Add(1)
	case errors.Is(err, ErrTooFast):
		h.counts.tooFast.Add(1)
	default:
		h.counts.refused.Add(1)
	}
	return p, err
}

func (h *Hub) publish(ctx context.Context, m Message, o PublishOptions) (Published, error) {
	if err := h.limits.checkName(m.Topic); err != nil {
		return Published{}, err
	}
	if m.Topic[0] == '$' {
		return Published{}, fmt.Errorf("%w: %q is the hub's", ErrName, m.Topic)
	}
	if len(m.Payload) > h.limits.Payload {
		return Published{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooBig, len(m.Payload), h.limits.Payload)
	}
	if m.Opcode == 0 {
		m.Opcode = ws.Text
	}
	if m.Opcode == ws.Text && !utf8.Valid(m.Payload) {
		return Published{}, server.ErrNotUTF8
	}
	if len(o.Key) > maxKey {
		return Published{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrKey, len(o.Key), maxKey)
	}
	if h.closed.Load() {
		return Published{}, ErrClosed
	}
	if o.From != nil && h.publishes.Limited() && !h.mayPublish(o.From) {
		return Published{}, ErrTooFast
	}
	var p Published
	var err error
	kept := h.brokerKeeps(m.Topic)
	if o.From != nil && (kept || !h.isPrompt(m.Topic)) {
		p, err = h.publishCounted(ctx, m, o, kept)
	} else {
		p, err = h.broker.Publish(ctx, m, o)
	}
	if err == nil && kept { // it comes here later
		p.Members = h.here(m.Topic)
	}
	return p, err
}

// here is how many members a topic, and the filters that meet it, have on this node.
func (h *Hub) here(name string) (members int) {
	var filters []*topic
	if t := h.find(name); t != nil {
		members, filters = t.group.Len(), h.metBy(t)
		h.unlock(t)
	} else {
		filters = h.meeting(name, nil)
	}
	for _, f := range filters {
		members += f.group.Len()
	}
	return members
}

// maxKey bounds a key in bytes: it is kept, and waits, with its message.
const maxKey = 256

// receiver is a Hub as its broker sees it.
type receiver Hub

// Receive implements Receiver.
func (r *receiver) Receive(m Message, o PublishOptions) (members int, err error) {
	h := (*Hub)(r)
	keeps, brokerKeeps := h.keeps(m.Topic), h.brokerKeeps(m.Topic)
	o.SendOptions = h.groupOptions(m.Topic, o.SendOptions, keeps || brokerKeeps)
	p := prepare(m, (keeps || brokerKeeps) && !o.NotKept)
	keeps = keeps && !o.NotKept
	t := h.find(m.Topic)
	for t == nil && keeps {
		if _, err := h.make(m.Topic, Position{m.Position.Epoch, m.Position.Number - 1}); err != nil {
			return 0, err
		}
		t = h.find(m.Topic)
	}
	if t == nil { // nobody is subscribed to this very topic, and it keeps nothing
		return h.send(h.meeting(m.Topic, nil), nil, p, o)
	}
	members, err = h.send(h.metBy(t), t, p, o)
	var gone []*kept
	if err == nil && (t.rule >= 0 || brokerKeeps) {
		gone = h.received(t, m, p, o.SendOptions, keeps)
	}
	h.unlock(t)
	h.evict(gone)
	return members, err
}

// groupOptions are those of a topic's message for groups: a filter's is of many topics, and a topic's may be a new one. kept:
// the topic has a past, and who goes on from the message's position must not lack those before.
func (h *Hub) groupOptions(topic string, o server.SendOptions, kept bool) server.SendOptions {
	if o.Key != "" {
		o.Key, o.KeyOwner, o.InOrder = topic+"\x00"+o.Key, h, kept
	}
	return o
}

// Missed implements Receiver.
func (r *receiver) Missed(name string) { (*Hub)(r).missed(name) }

// send sends a message to the members of some filters, and of a topic if it is not nil.
func (h *Hub) send(filters []*topic, t *topic, p *ws.Prepared, o PublishOptions) (members int, err error) {
	if err := h.gaps.settle(h); err != nil {
		return 0, err
	}
	if members, err = h.push(filters, t, p, o.SendOptions); err == nil {
		h.gaps.notePassed()
	}
	return members, err
}

// push is send without a look at gaps.
func (h *Hub) push(filters []*topic, t *topic, p *ws.Prepared, o server.SendOptions) (members int, err error) {
	var few [8]*server.Group
	groups := few[:0]
	for _, f := range filters {
		f.await()
		groups = append(groups, &f.group)
	}
	if t != nil {
		groups = append(groups, &t.group)
	}
	sent, err := h.srv.SendToGroups(p, o, groups...)
	return sent.Members, err
}
