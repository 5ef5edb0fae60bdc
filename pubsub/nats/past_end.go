package nats

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
)

// # The end of a past
//
// Direct Get goes on from a number, and not back. But it tells how many messages of the subject there are from there on. So the
// last ones are read in windows of numbers, each before the other, whose beginnings are found by counting. A replica that counts
// wrongly, since it is behind, has a window be too small or too large, and no message be left out.

const (
	firstWindow  = 16 // messages: they may be large
	windowExcess = 4  // a window may have so many times the messages that are wanted
)

// count is how many messages of a subject there are from a number on, and the number of the first of them.
type count struct{ first, messages uint64 }

func (st *stream) countFrom(ctx context.Context, s *session, subject string, from uint64) (count, error) {
	found, err := st.fetch(ctx, s, get{Seq: from, NextFor: subject, Batch: 1})
	if err != nil || len(found.messages) == 0 {
		return count{}, err
	}
	return count{found.last, 1 + found.pending}, nil
}

// endOnce asks once for the last messages of a subject, as many as the bound allows and at least one; last is the number of
// the very last one. They are complete if there is none before them, and there never was.
func (st *stream) endOnce(ctx context.Context, s *session, subject string, last uint64, bound pubsub.HistoryBound) (p past, err error) {
	p.last = last
	whole := count{first: last, messages: 1}
	if last > 0 && bound.Messages > 1 {
		if whole, err = st.countFrom(ctx, s, subject, 1); err == nil && whole.messages == 0 {
			err = errBehind
		}
		if err != nil {
			return p, err
		}
		last = max(last, whole.first) // it may have been dropped meanwhile
		p.last = last
	}
	from := last + 1
	for bytes := int64(0); from > whole.first && last > 0; {
		n := len(p.messages)
		room := pubsub.HistoryBound{Messages: bound.Messages - n, Bytes: bound.Bytes - bytes}
		if n >= bound.Messages || room.Bytes < 0 {
			return p, nil
		}
		wanted := firstWindow
		if n > 0 {
			wanted = int(room.Bytes/max(bytes/int64(n), 1)) + 1 // if they are as large
		}
		before := from
		if from, err = st.windowOf(ctx, s, subject, whole, before, uint64(n), uint64(min(wanted, room.Messages))); err != nil {
			return p, err
		}
		window, cut, err := st.window(ctx, s, subject, from, min(before, last), before > last, room)
		if err != nil {
			return p, err
		}
		for _, msg := range window {
			bytes += int64(len(msg.Data))
			p.last = max(p.last, numberOf(msg))
		}
		if p.messages = append(window, p.messages...); cut {
			return p, nil
		}
	}
	if bound.Messages > 1 || last == 0 {
		p.complete, err = st.lacksNone(ctx, s, subject, 0, p.messages)
	}
	return p, err
}

// windowOf gives a number from which on there are so many messages of a subject, or somewhat more, before another number, from which on there are
// behind.
func (st *stream) windowOf(ctx context.Context, s *session, subject string, whole count, before, behind, wanted uint64) (uint64, error) {
	most := behind + windowExcess*wanted
	if whole.messages <= most {
		return whole.first, nil
	}
	tooMany, tooFew := whole.first, before
	share := 1.5 * float64(wanted) / float64(whole.messages-behind) // if they are spread evenly
	from := before - uint64(share*float64(before-whole.first))
	for tooFew-tooMany > 1 {
		if from <= tooMany || from >= tooFew {
			from = tooMany + (tooFew-tooMany)/2
		}
		switch c, err := st.countFrom(ctx, s, subject, from); {
		case err != nil:
			return 0, err
		case c.messages < behind+wanted:
			tooFew = from
		case c.messages > most:
			tooMany = from
		default:
			return from, nil
		}
		from = 0 // in the middle
	}
	return tooMany, nil
}

// window fetches the messages of a subject from a number on and before another one, from which on there is a message; with: that number's
// too, or, if it has been dropped, the one behind it. Of these it gives the newest for which there is room, and one at least, and holds no more; cut: there are others.
func (st *stream) window(ctx context.Context, s *session, subject string, from, before uint64, with bool, room pubsub.HistoryBound) (messages []*nats.Msg, cut bool, err error) {
	newest := uint64(0)
	for bytes := int64(0); from <= before; {
		found, err := st.fetch(ctx, s, get{Seq: from, NextFor: subject, Batch: pageSize, MaxBytes: pageOf(room.Bytes)})
		if err != nil {
			return nil, false, err
		}
		if len(found.messages) == 0 {
			return nil, false, errBehind
		}
		for _, msg := range found.messages {
			n := numberOf(msg)
			if n >= before && !with || newest >= before {
				break
			}
			newest = n
			messages, bytes = append(messages, msg), bytes+int64(len(msg.Data))
			for len(messages) > room.Messages || len(messages) > 1 && bytes-int64(len(messages[0].Data)) > room.Bytes {
				bytes -= int64(len(messages[0].Data))
				messages[0] = nil
				messages, cut = messages[1:], true
			}
		}
		from = found.last + 1
	}
	return messages, cut, nil
}
