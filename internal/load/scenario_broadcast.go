package load

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// broadcast has connection 0 send messages at a rate, which the server is
// expected to give to all connections (to the sender too or not), and measures
// how long each takes to get there, and how far the first and the last are
// apart.
func (r *run) broadcast(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	p := &publication{skew: result.NewLatency()}
	p.receivers.Store(int32(r.openNow() - 1))
	r.publication = p
	for _, l := range slices.Backward(r.loops) { // the one that publishes is the last to begin
		l.do(func() {
			l.expects = func(c *conn) []byte {
				if c.received >= p.sent.Load() {
					return nil
				}
				return l.content.message(0, c.received)
			}
			l.behave(&publishing{publication: p, start: l.engine.Now(), gap: float64(time.Second) / r.plan.Rate})
			if c := &l.conns[0]; c.number == 0 && c.state != open {
				p.orphaned.Store(true)
			}
		})
	}
	r.enter("warm up")
	err := r.last(ctx, r.plan.Warmup)
	if err == nil {
		err = r.measure(ctx, r.plan.Duration)
	}
	if p.orphaned.Load() {
		r.trouble("the connection that publishes was lost, or never opened")
	}
	if err != nil {
		return err
	}
	p.over.Store(true)
	r.each(func(*loop) {}) // none is being sent any more
	missing, err := r.awaitNone(ctx, p.missing)
	if err != nil {
		return err
	}
	if missing > 0 {
		r.lost("messages that did not arrive", missing)
	}
	return r.hangUp(ctx)
}

// missing is how many messages the receivers of a loop have not.
func (p *publication) missing(l *loop) (n int) {
	for i := range l.conns {
		if c := &l.conns[i]; c.state == open && c.number != 0 {
			n += int(p.sent.Load() - c.received)
		}
	}
	return n
}

// publication is what all loops know of the messages published.
type publication struct {
	receivers atomic.Int32 // that are left
	sent      atomic.Uint32
	over      atomic.Bool
	orphaned  atomic.Bool // the connection that publishes is gone
	recent    [recentMessages]arrivals

	mu   sync.Mutex
	skew *result.Latency
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
		if len(c.unsent) > 0 || number >= recentMessages && a.count.Load() < b.receivers.Load() {
			return now + time.Millisecond
		}
		a.count.Store(0)
		a.first.Store(0)
		a.at.Store(int64(at))
		b.sent.Add(1)
		l.out = l.appendMessage(l.out[:0], c, l.content.message(0, number))
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
	l.meter.done(l.now, due, l.now-due, c.in.size)
	a.first.CompareAndSwap(0, int64(l.now))
	first := time.Duration(a.first.Load()) // before the last count lets the place be used again
	if a.count.Add(1) == b.receivers.Load() && l.meter.measures(due) {
		b.mu.Lock()
		b.skew.Record(l.now - first)
		b.mu.Unlock()
	}
}

// ended: what the others wait for no longer includes this connection.
func (b *publishing) ended(_ *loop, c *conn, _ bool) {
	if c.number == 0 {
		b.orphaned.Store(true)
	} else {
		b.receivers.Add(-1)
	}
}
