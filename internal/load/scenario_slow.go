package load

import (
	"context"
	"fmt"
	"time"
)

// slow measures the connections that read as fast as they can, first without and
// then beside a share that sends but reads slowly or not at all.
func (r *run) slow(ctx context.Context) error {
	slowOf := func(first int) int { return int(r.plan.SlowShare*float64(first) + 0.5) } // of so many of the first
	share := slowOf(r.plan.Connections)
	r.each(func(l *loop) { // so that the slow ones are no part of the first phase
		before := int(l.conns[0].number)
		for i := range slowOf(before+len(l.conns)) - slowOf(before) {
			l.conns[i].slow = true
		}
	})
	if share == 0 || share == r.plan.Connections {
		r.note(fmt.Sprintf("%d of the %d connections are slow: nothing to compare", share, r.plan.Connections))
	}
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	for _, phase := range []struct {
		name string
		rate float64 // of the messages of the slow ones
	}{{"none slow", 0}, {fmt.Sprintf("%d slow", share), r.plan.Rate}} {
		r.each(func(l *loop) {
			b := &besideSlow{slow: slowOnes(l)}
			if b.slow > 0 && phase.rate > 0 {
				b.gap = time.Duration(float64(time.Second) * float64(share) / phase.rate / float64(b.slow))
			}
			b.next = l.engine.Now()
			l.behave(b)
		})
		r.enter("warm up")
		if err := r.last(ctx, r.plan.Warmup); err != nil {
			return err
		}
		err := r.measure(ctx, r.plan.Duration)
		r.only(r.takeStep(phase.name, 0)) // the result is the last phase's
		if err != nil {
			return err
		}
	}
	r.each(func(l *loop) { l.behave(quiet{}) })
	return r.closeAll(ctx)
}

func slowOnes(l *loop) (n int) {
	for i := range l.conns {
		if l.conns[i].slow {
			n++
		}
	}
	return n
}

// slowReads is how often a slow connection reads, if it does.
const slowReads = 100 * time.Millisecond

// besideSlow is a closed loop on the fast connections, while the slow ones, in
// turn, send a message every gap.
type besideSlow struct {
	closedLoop
	slow int           // how many are: the first ones
	gap  time.Duration // 0: the slow ones do nothing
	next time.Duration
	turn int
	read time.Duration // when slow ones read last
}

func (b *besideSlow) opened(l *loop, c *conn) {
	if !c.slow {
		b.closedLoop.opened(l, c)
	}
}

func (b *besideSlow) received(l *loop, c *conn) {
	if c.slow {
		c.received++
		return
	}
	b.closedLoop.received(l, c)
}

func (b *besideSlow) due(l *loop, now time.Duration) time.Duration {
	if b.gap == 0 {
		return never
	}
	for sent := 0; b.next <= now && sent < b.slow; sent++ {
		b.next = max(b.next+b.gap, now-time.Second)
		c := &l.conns[b.turn%b.slow]
		b.turn++
		if c.state == open && len(c.unsent) == 0 && c.underWay() < maxInFlight {
			l.send(c, 1)
		}
	}
	next := max(b.next, now)
	if l.plan.SlowRate > 0 {
		if now-b.read >= slowReads {
			b.read = now
			b.readSlowly(l)
		}
		next = min(next, b.read+slowReads)
	}
	return next
}

func (b *besideSlow) readSlowly(l *loop) {
	most := max(1, l.plan.SlowRate*int(slowReads/time.Millisecond)/1000)
	for slot := range b.slow {
		if c := &l.conns[slot]; c.state == open {
			l.readSome(c, min(most, len(l.in)))
		}
	}
}
