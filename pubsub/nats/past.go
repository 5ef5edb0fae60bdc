package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/pubsub"
)

// # The past of a topic
//
// It is read with Direct Get, which each replica of the stream answers, also one that is behind. So
// what a replica says is believed only as far as it proves itself: it must have the topic's
// last message, of which the leader was asked, and the message that the past is to follow on, or one of the
// topic before that. As messages go from the oldest to the newest, nothing behind a message that is there has gone, but for what
// somebody deletes by hand. An answer is no picture of one moment: some of it may go while it is read. So the leader is asked at the end
// whether it still has what the past begins with.

const (
	pageSize  = 256     // messages that are asked for at once
	pageBytes = 4 << 20 // bytes, likewise; the message that goes beyond comes too
	smallPage = 64 << 10
	attempts  = 3 // for a replica that is behind
)

// errBehind: no replica has what the leader has.
var errBehind = errors.New("nats: the stream's replicas are behind its leader")

// past is what the stream has of a topic behind a number.
type past struct {
	messages []*nats.Msg
	last     uint64 // number of the topic's last message then
	complete bool   // nothing behind that number is missing, if whole
	more     bool   // the bound left out those behind the messages
	anchor   uint64 // number of a message up to there; 0: none was found
	whole    bool   // none is missing behind the anchor, or the first of the messages
}

// pastOf fetches a topic's messages behind a number, with the one numbered through, if that is not 0.
func (st *stream) pastOf(ctx context.Context, s *session, topic string, after, through uint64, bound pubsub.HistoryBound) (p past, err error) {
	subject := s.broker.names.subject(topic)
	for attempt := 0; ; attempt++ {
		time.Sleep(time.Duration(attempt) * 50 * time.Millisecond) // a replica catches up
		last, err := st.lastOf(ctx, s, subject)
		if err != nil {
			return p, err
		}
		last = max(last, through)
		if bound.Last {
			p, err = st.endOnce(ctx, s, subject, last, bound)
		} else {
			p, err = st.pastOnce(ctx, s, subject, after, last, bound)
		}
		switch {
		case err == nil:
			p.whole, err = st.keepsAll(ctx, s, &p)
			return p, err
		case ctx.Err() != nil, attempt == attempts-1:
			return p, err
		}
	}
}

// keepsAll says whether the leader has what a past begins with, so that it has had all behind it meanwhile.
func (st *stream) keepsAll(ctx context.Context, s *session, p *past) (bool, error) {
	first := p.anchor
	switch n := len(p.messages); {
	case n == 0, n == 1 && first == 0: // there is nothing between
		return true, nil
	case first == 0:
		first = numberOf(p.messages[0])
	}
	info, err := st.info(s)
	if err != nil || info.State.FirstSeq > first || info.Config.MaxMsgsPerSubject <= 0 {
		return err == nil && info.State.FirstSeq <= first, err // messages go in the order of their numbers, if topics have no bounds of their own
	}
	err = st.ask(ctx, s, "STREAM.MSG.GET", get{Seq: first}, &struct{}{})
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && refusal.Code == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// pastOnce asks for a subject's messages behind a number once, and says whether they are complete.
func (st *stream) pastOnce(ctx context.Context, s *session, subject string, after, last uint64, bound pubsub.HistoryBound) (p past, err error) {
	var before page // the last message up to there, if there is one
	if after > 0 {
		if before, err = st.fetch(ctx, s, get{MultiLast: []string{subject}, UpTo: after}); err != nil {
			return p, err
		}
	}
	if p, err = st.all(ctx, s, subject, cmp.Or(before.last, after, 1), after, last, bound); err != nil || p.complete || before.last > 0 {
		return p, err
	}
	p.complete, err = st.lacksNone(ctx, s, subject, after, p.messages)
	return p, err
}

// lacksNone says whether some messages of a subject are the first that there ever were behind a number. The stream has all behind
// that, but for what a subject's bound has dropped: while there are fewer than that allows, it has dropped none.
func (st *stream) lacksNone(ctx context.Context, s *session, subject string, after uint64, messages []*nats.Msg) (bool, error) {
	info, err := st.info(s)
	if err != nil || info.State.FirstSeq > after+1 || info.State.LastSeq < after {
		return false, err
	}
	most := info.Config.MaxMsgsPerSubject
	if most <= 0 || len(messages) == 0 {
		return true, nil
	}
	there, err := st.countFrom(ctx, s, subject, after+1) // perhaps of a replica that is behind: if the first is the same, it has not dropped another either
	return there.first == numberOf(messages[0]) && there.messages < uint64(most), err
}

// all fetches the messages of a subject behind a number and up to its last one, or as many as the bound allows and at least
// one. It begins at from. If that finds one up to after, those behind it are complete. Those that have come behind the last one
// meanwhile are left out, for they may not have been received, unless it has been dropped for them.
func (st *stream) all(ctx context.Context, s *session, subject string, from, after, last uint64, bound pubsub.HistoryBound) (p past, err error) {
	bytes := int64(0)
	full := func() bool { n := len(p.messages); return n > 0 && (n >= bound.Messages || bytes > bound.Bytes) }
	p.last = last
	for from <= last {
		if p.more = full(); p.more {
			return p, nil
		}
		batch := bound.Messages - len(p.messages)
		if from <= after {
			batch++
		}
		found, err := st.fetch(ctx, s, get{Seq: from, NextFor: subject, Batch: min(pageSize, max(batch, 1)), MaxBytes: pageOf(bound.Bytes - bytes)})
		if err != nil {
			return past{}, err
		}
		if len(found.messages) == 0 {
			return past{}, errBehind
		}
		for _, msg := range found.messages {
			number := numberOf(msg)
			switch {
			case number <= after:
				p.complete, p.anchor = true, number
			case full():
				p.more = true
				return p, nil
			default:
				bytes += int64(len(msg.Data))
				p.messages = append(p.messages, msg)
			}
			if from = number + 1; number >= last {
				p.last = number
				break
			}
		}
	}
	return p, nil
}

// pageOf is how many bytes to ask for at once where so many are wanted. Small pages would be many, if messages have no payload.
func pageOf(bytes int64) int { return int(min(max(bytes, smallPage), pageBytes)) }

// lastOf is the number of a subject's last message, as the leader knows it; 0: there is none.
func (st *stream) lastOf(ctx context.Context, s *session, subject string) (uint64, error) {
	var answer struct {
		Message struct {
			Seq uint64 `json:"seq"`
		} `json:"message"`
	}
	err := st.ask(ctx, s, "STREAM.MSG.GET", get{LastFor: subject}, &answer)
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && refusal.Code == http.StatusNotFound {
		return 0, nil
	}
	return answer.Message.Seq, err
}

func numberOf(msg *nats.Msg) uint64 {
	number, _, _, _ := storedAt(msg)
	return number
}

// Keeps implements pubsub.HistoryBroker.
func (b *Broker) Keeps(topic string) bool { return b.stream.has(topic) }

// History implements pubsub.HistoryBroker. It asks the leader and replicas. It reads a page beyond the bound at most, which has as many
// bytes, or 64 KiB, and the message that goes beyond.
func (b *Broker) History(ctx context.Context, topic string, since pubsub.Position, bound pubsub.HistoryBound) (pubsub.History, error) {
	s, st := b.session.Load(), b.stream
	if s == nil {
		return pubsub.History{}, ErrDisconnected
	}
	epoch := st.current()
	switch {
	case epoch == "":
		return pubsub.History{}, st.errNotFound()
	case since != (pubsub.Position{}) && since.Epoch != epoch:
		return pubsub.History{}, nil
	}
	from := st.position(b.await(topic))
	switch has, err := st.reaches(s, since.Number); {
	case err != nil: // or it is another stream
		return pubsub.History{}, err
	case !has:
		return pubsub.History{}, nil
	}
	p, err := st.pastOf(ctx, s, topic, since.Number, 0, bound)
	if err == nil {
		err = b.arrived(ctx, topic, p.end())
	}
	switch {
	case err != nil:
		return pubsub.History{}, err
	case st.current() != epoch:
		return pubsub.History{}, nil // nobody knows which of them are of which
	}
	at := func(number uint64) pubsub.Position { return pubsub.Position{Epoch: epoch, Number: number} }
	h := pubsub.History{From: at(since.Number), Through: at(p.end()), More: p.more}
	if !p.more {
		h.Through.Number = max(h.Through.Number, from.Number)
	}
	if p.complete = p.complete && p.whole; p.complete {
		h.Through.Number = max(h.Through.Number, since.Number)
	}
	if !p.complete {
		h.From = h.Through
		if len(p.messages) > 0 && p.whole {
			h.From = at(numberOf(p.messages[0]))
		}
	}
	for _, msg := range p.messages {
		number, _, time, _ := storedAt(msg)
		m, o := decode(msg)
		switch purged := msg.Header.Get(headerPurged) != ""; {
		case purged:
			h.Messages = nil // they are about to go
			fallthrough
		case o.NotKept, isTorn(msg):
			h.From = at(number)
			continue
		}
		m.Topic, m.Time, m.Position = topic, time, at(number)
		h.Messages = append(h.Messages, pubsub.KeptMessage{Message: m, Options: o.SendOptions})
	}
	return h, nil
}

// end is the number up to which it goes.
func (p *past) end() uint64 {
	if p.more { // there is one at least
		return numberOf(p.messages[len(p.messages)-1])
	}
	return p.last
}

// reaches says whether the stream has got as far as a number. A leader that was elected just now may be behind for a moment.
func (st *stream) reaches(s *session, number uint64) (has bool, err error) {
	for attempt := range attempts {
		time.Sleep(time.Duration(attempt) * 50 * time.Millisecond)
		var last uint64
		if last, err = st.last(s); err == nil && last >= number {
			return true, nil
		}
		if err != nil && !errors.Is(err, errAnew) {
			break
		}
	}
	return false, err
}

// arrived waits until a topic's message with a number, and with it those before, has been received, if they are wanted.
func (b *Broker) arrived(ctx context.Context, topic string, last uint64) error {
	base, unready, wanted := b.interests.base(topic)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for wanted && unready == nil && last > base && b.stream.received(topic) < last && b.stream.caughtUp() < last {
		select {
		case <-ctx.Done():
			return fmt.Errorf("nats: message %d of %q is stored, but does not come: %w", last, topic, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Purge implements pubsub.HistoryBroker: on all nodes. A message in the topic says so.
func (b *Broker) Purge(ctx context.Context, topic string) error {
	s := b.session.Load()
	switch {
	case s == nil:
		return ErrDisconnected
	case b.stream.current() == "":
		return b.stream.errNotFound()
	}
	if _, err := b.stream.info(s); err != nil { // at once, not after the attempts to store
		return err
	}
	msg := nats.NewMsg(b.names.subject(topic))
	msg.Header.Set(headerPurged, "1")
	mark, err := b.store(ctx, s, msg) // first, so that nobody finds nothing and takes it for all that there was
	if err != nil {
		return err
	}
	if mark.Position.Number == 0 { // nobody knows what is before it; who reads stops there
		return fmt.Errorf("%w: the stream has begun anew, and %q is not purged", pubsub.ErrUnknown, topic)
	}
	before := struct {
		Filter string `json:"filter"`
		Seq    uint64 `json:"seq"`
	}{msg.Subject, mark.Position.Number}
	return b.stream.ask(ctx, s, "STREAM.PURGE", before, &struct{}{})
}
