package load

import (
	"context"
	"math"
	"time"
)

// rate is an open loop: messages are due at fixed times, whatever the server
// does, and latency counts from then. A server that pauses delays all messages
// due meanwhile, and each of them shows it; a closed loop would have sent but
// one a connection (coordinated omission).
func (r *run) rate(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	r.beginRate(r.plan.Rate)
	r.enter("warm up")
	if err := r.last(ctx, r.plan.Warmup); err != nil {
		return err
	}
	if err := r.measure(ctx, r.plan.Duration); err != nil {
		return err
	}
	r.endRate()
	return r.closeAll(ctx)
}

// beginRate makes all loops send at a rate, each its share of it.
func (r *run) beginRate(rate float64) {
	start := r.engine.Now()
	r.each(func(l *loop) {
		share := rate * float64(len(l.conns)) / float64(r.plan.Connections)
		gap := float64(time.Second) / share
		// The loops send in turn, not all at the same instants.
		first := gap * float64(l.conns[0].number) / float64(r.plan.Connections)
		l.behave(&openLoop{start: start + time.Duration(first), gap: gap})
	})
}

// endRate ends the sending; what is under way still counts if it was due in the
// measured window.
func (r *run) endRate() {
	now := r.engine.Now()
	r.each(func(l *loop) { l.behaviour.(*openLoop).end = now })
}

// openLoop sends messages when they are due: the k-th of the loop at start + k
// gaps, on the connections in turn.
type openLoop struct {
	quiet
	start time.Duration
	end   time.Duration // none is due from then on; 0: not known yet
	gap   float64       // nanoseconds between two
	next  uint64        // k of the next
}

// at is when the k-th message is due.
func (o *openLoop) at(k uint64) time.Duration { return o.start + time.Duration(float64(k)*o.gap) }

// overdue is how many messages are not sent yet though the end has come: it is
// the client that is late with them.
func (o *openLoop) overdue() int {
	due := uint64(max(math.Ceil(float64(o.end-o.start)/o.gap), 0))
	return int(max(due, o.next) - o.next)
}

// dueAt is when a message of a connection was due.
func (o *openLoop) dueAt(l *loop, c *conn, number uint32) time.Duration {
	first := uint64(c.number - l.conns[0].number)
	return o.at(first + uint64(number-c.base)*uint64(len(l.conns)))
}

func (o *openLoop) opened(_ *loop, c *conn) { c.base, c.wanted = c.sent, 0 }

// due sends what is due by now. A connection whose kernel buffer is full sends
// when it is empty again, which is the server's delay, not ours.
func (o *openLoop) due(l *loop, now time.Duration) time.Duration {
	const most = 1024 // then look at what came back meanwhile
	for range most {
		at := o.at(o.next)
		if o.end > 0 && at >= o.end {
			return never
		}
		if at > now {
			return at
		}
		c := &l.conns[o.next%uint64(len(l.conns))]
		o.next++
		if c.state != open {
			continue
		}
		c.wanted++
		if len(c.unsent) == 0 && c.underWay() < maxInFlight {
			if l.meter.measures(at) {
				l.meter.late.Record(l.engine.Now() - at)
			}
			l.send(c, 1)
		}
	}
	return now
}

// emptied sends what became due while the kernel took no more.
func (o *openLoop) emptied(l *loop, c *conn) {
	for c.state == open && len(c.unsent) == 0 && c.sent-c.base < c.wanted && c.underWay() < maxInFlight {
		l.send(c, 1)
	}
}

func (o *openLoop) received(l *loop, c *conn) {
	if int32(c.received-c.base) < 0 {
		c.received++ // of the rate before
		return
	}
	at := o.dueAt(l, c, c.received)
	if l.meter.measures(at) {
		l.meter.service.Record(l.now - c.sentAt())
	}
	c.received++
	l.meter.done(l.now, at, l.now-at, c.in.size)
	if c.sent-c.base < c.wanted {
		o.emptied(l, c) // more was due than may be under way
	}
}
