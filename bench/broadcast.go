package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/ws"
)

// broadcast has connection 0 send messages at a rate, which the server is
// expected to give to all connections (to the sender too or not), and measures
// how long each takes to get there, and how far the first and the last are
// apart.
func (r *run) broadcast(ctx context.Context) error {
	if r.plan.Connections < 2 {
		return fmt.Errorf("broadcast needs 2 connections at least")
	}
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	p := &publication{skew: NewLatency(), receivers: int32(r.openNow() - 1)}
	r.publication = p
	start := r.engine.Now()
	r.each(func(l *loop) {
		l.expects = func(c *conn) []byte {
			if c.received >= p.sent.Load() {
				return nil
			}
			return l.content.message(0, c.received)
		}
		l.behave(&publishing{publication: p, start: start, gap: float64(time.Second) / r.plan.Rate})
	})
	r.enter("warm up")
	if err := r.last(ctx, r.plan.Warmup); err != nil {
		return err
	}
	if err := r.measure(ctx, r.plan.Duration); err != nil {
		return err
	}
	p.over.Store(true)
	r.each(func(*loop) {}) // none is being sent any more
	r.awaitAll(ctx)
	r.each(func(l *loop) {
		l.behave(quiet{})
		for i := range l.conns {
			l.conns[i].sent = l.conns[i].received // nothing is under way
		}
	})
	return r.closeAll(ctx)
}

// awaitAll waits for all receivers to have all messages, and counts what is
// missing.
func (r *run) awaitAll(ctx context.Context) {
	missing := func() int {
		sent := r.publication.sent.Load()
		return r.sum(func(l *loop) (n int) {
			for i := range l.conns {
				if c := &l.conns[i]; c.state == open && c.number != 0 {
					n += int(sent - c.received)
				}
			}
			return n
		})
	}
	limited, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if r.until(limited, func() bool { return missing() == 0 }) != nil {
		r.result.Troubles = addTroubles(r.result.Troubles,
			Trouble{What: fmt.Sprintf("lost: messages that did not arrive within %v of the end", drainTimeout), Count: missing()})
	}
}

// publication is what all loops know of the messages published.
type publication struct {
	receivers int32
	sent      atomic.Uint32
	over      atomic.Bool
	recent    [recentMessages]arrivals

	mu   sync.Mutex
	skew *Latency
}

// recentMessages is how many messages may be on their way; a power of two.
const recentMessages = 1 << 12

// arrivals is how far a message has come.
type arrivals struct {
	at    atomic.Int64 // when it was due
	first atomic.Int64 // when it arrived first; 0: not yet
	count atomic.Int32
}

func (p *publication) of(number uint32) *arrivals { return &p.recent[number%recentMessages] }

// publishing is one loop's part in a broadcast.
type publishing struct {
	quiet
	*publication
	start time.Duration
	gap   float64
}

// due publishes, in the loop that has connection 0. A message that is due while
// the connection takes no more, or too many are on their way, waits; its latency
// counts from when it was due.
func (b *publishing) due(l *loop, now time.Duration) time.Duration {
	c := &l.conns[0]
	if c.number != 0 || c.state != open || b.over.Load() {
		return never
	}
	for {
		number := b.sent.Load()
		at := b.start + time.Duration(float64(number)*b.gap)
		if at > now {
			return at
		}
		a := b.of(number)
		if len(c.unsent) > 0 || number >= recentMessages && a.count.Load() < b.receivers {
			return now + time.Millisecond
		}
		a.count.Store(0)
		a.first.Store(0)
		a.at.Store(int64(at))
		b.sent.Add(1)
		l.out = ws.AppendMaskedFrame(l.out[:0], l.plan.opcode(), true, l.content.message(0, number), l.maskKey())
		if l.write(c, l.out); c.state != open {
			return never
		}
	}
}

func (b *publishing) received(l *loop, c *conn) {
	number := c.received
	c.received++
	if c.number == 0 {
		return // its own
	}
	a := b.of(number)
	due := time.Duration(a.at.Load())
	l.meter.done(due, l.now-due, c.in.size)
	a.first.CompareAndSwap(0, int64(l.now))
	if a.count.Add(1) == b.receivers && l.meter.measures(due) {
		b.mu.Lock()
		b.skew.Record(l.now - time.Duration(a.first.Load()))
		b.mu.Unlock()
	}
}
