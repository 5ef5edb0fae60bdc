package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// # What reading the past may take
//
// Clients say how much of the past they want, and which topics', and a broker may be slow. So what is read of it has one
// account of memory for all who ask: a part of it is taken before the broker is asked, and given back when who asked
// is done with the answer. For the first part a reading waits, and for the others it does not: so two never wait for each
// other.

const (
	pastMessages = 10_000  // that are read for one question, at most
	partBytes    = 1 << 20 // that are asked for at once; a message more may come
)

// ErrBusy: the broker is too slow for all who wait for it, or so much of the past is being read that there is no room for more, see
// Limits.Reading. Nothing has happened, and it helps to try again.
var ErrBusy = errors.New("pubsub: too many wait for the broker")

// readings are what is being read of the broker's past.
type readings struct {
	parts chan struct{} // one for each part of Limits.Reading that is taken
	mu    sync.Mutex    // guards past.users; the innermost
}

func newReadings(most int64) *readings {
	const atMost = 1 << 20 // of parts: as good as no bound
	parts := min(max(most/partBytes, 1), atMost)
	return &readings{parts: make(chan struct{}, parts)}
}

// take waits for a part, until ctx ends.
func (r *readings) take(ctx context.Context) error {
	select {
	case r.parts <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ErrBusy
	}
}

// tryTake takes one more part, if there is one.
func (r *readings) tryTake() bool {
	select {
	case r.parts <- struct{}{}:
		return true
	default:
		return false
	}
}

// give gives parts back.
func (r *readings) give(parts int) {
	for range parts {
		<-r.parts
	}
}

// past is what the broker keeps of a topic. It is not changed, and released by each of its users.
type past struct {
	messages      []*kept // without topic and place
	from, through Position
	more          bool   // the broker has some behind through
	missed        uint64 // Hub.missedAt when the broker was asked

	readings *readings
	parts    int // of the account
	users    int // guarded by readings.mu
}

// release gives back what the past takes, when its last user has released it. Of nil it does nothing.
func (p *past) release() {
	if p == nil {
		return
	}
	p.readings.mu.Lock()
	p.users--
	last := p.users == 0
	p.readings.mu.Unlock()
	if last {
		p.readings.give(p.parts)
	}
}

// read reads the past of a topic behind a position, of the zero one all, within the bound, and in parts. Where there is no room
// for one more part it ends, and has more. The caller is its user.
func (h *Hub) read(ctx context.Context, name string, since Position, bound HistoryBound) (*past, error) {
	bound.Messages = min(orAll(bound.Messages), pastMessages)
	bound.Bytes = min(orAll(bound.Bytes), h.limits.History)
	if err := h.readings.take(ctx); err != nil {
		return nil, err
	}
	all := &past{missed: h.missedAt(name), readings: h.readings, parts: 1, users: 1}
	if bound.Last {
		for int64(all.parts)*partBytes < bound.Bytes && h.readings.tryTake() {
			all.parts++
		}
		bound.Bytes = min(bound.Bytes, int64(all.parts)*partBytes)
		err := h.ask(ctx, name, since, bound, all)
		return all.unless(err)
	}
	for bytes, at := int64(0), since; ; {
		had := len(all.messages)
		part := HistoryBound{Messages: bound.Messages - had, Bytes: max(min(bound.Bytes-bytes, partBytes), 1)}
		if err := h.ask(ctx, name, at, part, all); err != nil {
			return all.unless(err)
		}
		bytes += payloads(all.messages[had:])
		switch {
		case !all.more || all.through == at || len(all.messages) >= bound.Messages || bytes > bound.Bytes:
			return all, nil
		case !h.readings.tryTake():
			h.counts.fetchRefused.Add(1)
			return all, nil
		}
		all.parts++
		at = all.through
	}
}

// unless gives the past, unless there is an error: then it is released.
func (p *past) unless(err error) (*past, error) {
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

// ask asks the broker once, and adds the answer to what was read before. A broker that panics has not answered.
func (h *Hub) ask(ctx context.Context, name string, since Position, bound HistoryBound, all *past) (err error) {
	h.counts.fetched.Add(1)
	h.waits.note(true, false)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pubsub: HistoryBroker.History panicked: %v", p)
		}
		h.waits.note(false, err == nil)
		if err != nil {
			h.counts.fetchFailed.Add(1)
		}
	}()
	found, err := h.historian.History(ctx, name, since, bound)
	if err != nil {
		return err
	}
	if found.From.Epoch != all.through.Epoch || found.From.Number > all.through.Number { // it does not follow on
		all.from = found.From
	}
	all.through, all.more = found.Through, found.More
	for _, m := range found.Messages {
		k := &kept{Message: m.Message, prepared: prepare(m.Message, true), options: h.groupOptions(m.Topic, m.Options, true)}
		k.Payload = k.prepared.Payload() // the broker's own may be a part of something larger
		all.messages = append(all.messages, k)
	}
	return nil
}

// countBusy counts an error, if it is ErrBusy.
func (h *Hub) countBusy(err error) error {
	if errors.Is(err, ErrBusy) {
		h.counts.fetchRefused.Add(1)
	}
	return err
}

// orAll is a bound, or, if it is 0 or less, none.
func orAll[N int | int64](n N) N {
	if n <= 0 {
		return bound[N](-1, 0)
	}
	return n
}

// payloads is how many bytes the payloads of some messages have.
func payloads(messages []*kept) (bytes int64) {
	for _, k := range messages {
		bytes += int64(len(k.Payload))
	}
	return bytes
}

// cut gives those of some messages that are within a bound, and the one that goes beyond its bytes.
func (b HistoryBound) cut(messages []*kept) []*kept {
	most, bytes, n := min(orAll(b.Messages), len(messages)), int64(0), 0
	for ; n < most && bytes <= orAll(b.Bytes); n++ {
		k := messages[n]
		if b.Last {
			k = messages[len(messages)-1-n]
		}
		bytes += int64(len(k.Payload))
	}
	if b.Last {
		return messages[len(messages)-n:]
	}
	return messages[:n]
}
