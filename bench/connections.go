package bench

import (
	"context"
	"fmt"
	"time"
)

// idle holds connections that do nothing, for the server's memory, then sends a
// message to each.
func (r *run) idle(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	r.enter("idle")
	r.server.begin()
	before := r.server.began.server
	if err := r.last(ctx, r.plan.Duration); err != nil {
		return err
	}
	connections := r.openNow()
	r.server.memory(connections, r.result)
	held := r.server.use
	if r.server.server != nil {
		cores := (r.server.usage(r.server.server).CPU - before).Seconds() / r.plan.Duration.Seconds()
		r.result.note(fmt.Sprintf("while idle the server used %.2f %% of a core", 100*cores))
	}
	r.enter("measure")
	r.beginWindow()
	r.each(func(l *loop) { l.behave(&oneEach{}) })
	err := r.drain(ctx)
	r.endWindow()
	r.server.use.After, r.server.use.PerConnection = held.After, held.PerConnection // while idle
	if err != nil {
		return err
	}
	return r.closeAll(ctx)
}

// oneEach sends one message on each connection.
type oneEach struct {
	quiet
	next int // slot
}

// due sends on some connections, then looks at what came back meanwhile.
func (o *oneEach) due(l *loop, now time.Duration) time.Duration {
	for range 64 {
		if o.next == len(l.conns) {
			return never
		}
		if c := &l.conns[o.next]; c.state == open {
			l.send(c, 1)
		}
		o.next++
	}
	return now
}

func (o *oneEach) received(l *loop, c *conn) { l.came(c) }

// unsent is how many messages are still to be sent.
func (o *oneEach) unsent(l *loop) int { return len(l.conns) - o.next }

// storm opens all connections and measures that.
func (r *run) storm(ctx context.Context) error {
	r.result.Unit = "connection"
	r.each(func(l *loop) { l.behaviour = counting{} })
	r.beginWindow()
	err := r.connectAll(ctx)
	r.endWindow()
	if err != nil {
		return err
	}
	return r.closeAll(ctx)
}

// counting counts upgrades.
type counting struct{ quiet }

func (counting) opened(l *loop, c *conn) {
	now := l.engine.Now()
	l.meter.done(now, now, now-c.began, 0)
}

// churn opens connections, sends some messages on each and closes it, over and
// over.
func (r *run) churn(ctx context.Context) error {
	r.result.Unit = "connection"
	r.each(func(l *loop) { l.behaviour = churning{} })
	r.enter("connect")
	r.each(func(l *loop) {
		for slot := range l.conns {
			l.connect(slot)
		}
	})
	r.enter("warm up")
	if err := pause(ctx, r.plan.Warmup); err != nil {
		return err
	}
	r.enter("measure")
	r.beginWindow()
	err := pause(ctx, r.plan.Duration)
	r.endWindow()
	if err != nil {
		return err
	}
	r.each(func(l *loop) { l.behaviour, l.connects.queue, l.connects.begun = lastTurn{}, nil, 0 })
	left, err := r.awaitNone(ctx, func(l *loop) int { return l.connects.opening + l.meter.open })
	if left > 0 && err == nil {
		r.lost("connections that did not end", left)
	}
	return err
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-over.C:
		return nil
	}
}

// churning ends a connection after its messages, and begins the next.
type churning struct{ quiet }

func (churning) opened(l *loop, c *conn) {
	c.base = c.received
	churning{}.next(l, c)
}

func (churning) next(l *loop, c *conn) {
	if int(c.received-c.base) >= l.plan.Messages {
		l.close(c)
		return
	}
	l.send(c, 1)
}

func (b churning) received(l *loop, c *conn) {
	if l.meter.measures(l.now) {
		l.meter.service.Record(l.now - c.sentAt())
		l.meter.bytes += int64(c.in.size)
	}
	c.received++
	b.next(l, c)
}

func (churning) ended(l *loop, c *conn, asked bool) {
	now := l.engine.Now()
	if asked {
		l.meter.done(now, now, now-c.began, 0)
	} else {
		l.connects.next = max(l.connects.next, now+10*time.Millisecond) // no storm of failures
	}
	l.connect(l.slot(c))
}

// lastTurn is churning's end: connections end and no others begin.
type lastTurn struct{ churning }

func (lastTurn) ended(*loop, *conn, bool) {}

// wave has all connections drop at once and come back, some times.
func (r *run) wave(ctx context.Context) error {
	r.result.Unit = "connection"
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	r.each(func(l *loop) { l.behaviour = counting{} })
	for i := range r.plan.Waves {
		r.enter("stay")
		if err := r.last(ctx, r.plan.Duration); err != nil {
			return err
		}
		r.each(func(l *loop) {
			for i := range l.conns {
				if c := &l.conns[i]; c.state == open {
					l.drop(c)
				}
			}
		})
		r.beginWindow()
		err := r.connectAll(ctx)
		r.endWindow()
		r.takeStep(fmt.Sprintf("wave %d", i+1), 0)
		if err != nil {
			return err
		}
	}
	return r.closeAll(ctx)
}
