package load

import (
	"time"

	"github.com/millrace/millrace/bench/result"
)

// track is how far the messages of a publisher have come in a loop: those that some
// of its connections have, and some not.
type track struct {
	first    uint32 // number of the oldest of them
	arrivals []arrival
}

// arrival is one message's.
type arrival struct {
	due         time.Duration
	first, last time.Duration // when it came; 0: it did not yet
	left        int32         // connections that are still to get it
	lost        bool          // some never will
}

// maxTracked bounds the messages of a publisher that are tracked in a loop. Beyond
// it the oldest is given up, as if it were lost.
const maxTracked = 1 << 16

func (t *track) end() uint32 { return t.first + uint32(len(t.arrivals)) }

// arrival gives a message's; nil: it is one that was given up.
func (b *publishing) arrival(l *loop, publisher, number uint32) *arrival {
	t := &b.tracks[publisher]
	at := int32(number - t.first)
	if at < 0 {
		return nil
	}
	for int(at) >= len(t.arrivals) {
		t.arrivals = append(t.arrivals, arrival{left: int32(b.others(l, publisher))})
	}
	return &t.arrivals[at]
}

// others is how many of the loop's connections get a publisher's messages, its own
// aside.
func (b *publishing) others(l *loop, publisher uint32) int {
	if slot := int(publisher) - int(l.conns[0].number); slot >= 0 && slot < len(l.conns) && l.conns[slot].state == open {
		return b.open - 1
	}
	return b.open
}

// skip gives up a connection's wait for the messages from next on, as far as end.
func (b *publishing) skip(l *loop, publisher, next, end uint32) {
	for ; next != end; next++ {
		if a := b.arrival(l, publisher, next); a != nil {
			a.left--
			a.lost = true
		}
	}
	b.settle(l, publisher)
}

// settle tells of the messages that all connections of the loop have.
func (b *publishing) settle(l *loop, publisher uint32) {
	t := &b.tracks[publisher]
	done := 0
	for ; done < len(t.arrivals) && (t.arrivals[done].left <= 0 || len(t.arrivals)-done > maxTracked); done++ {
		a := &t.arrivals[done]
		if a.left > 0 {
			b.givenUp.Add(1)
		}
		b.arrived(settled{
			publisher: publisher, number: t.first + uint32(done), parts: 1,
			due: a.due + l.zero, first: a.first + l.zero, last: a.last + l.zero,
			lost: a.lost || a.left > 0,
		})
	}
	t.first += uint32(done)
	if done == len(t.arrivals) {
		t.arrivals = t.arrivals[:0]
	} else {
		t.arrivals = t.arrivals[done:] // moving many for each one done would take long
	}
}

// skipped counts messages that were passed over.
func skipped(n int) result.Trouble {
	return result.Trouble{What: "lost: a message of a publisher did not come before a later one", Count: n}
}
