package load

import (
	"context"
	"time"
)

// churn opens connections, sends some messages on each and closes it, over and
// over.
func (r *run) churn(ctx context.Context) error {
	r.result.Unit = "connection"
	r.enter("connect")
	r.beginChurn()
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
	r.endChurn()
	left, err := r.awaitNone(ctx, (*loop).alive)
	if left > 0 && err == nil {
		r.lost("connections that did not end", left)
	}
	return err
}

func (r *run) beginChurn() {
	r.each(func(l *loop) {
		l.behaviour = churning{}
		if l.plan.Messages == 0 {
			l.checking = unchecked
		}
		for slot := range l.conns {
			if l.conns[slot].state == absent {
				l.connect(slot)
			}
		}
	})
}

// endChurn lets the connections end, and begins no others.
func (r *run) endChurn() {
	r.each(func(l *loop) { l.behaviour, l.connects.queue, l.connects.begun = lastTurn{}, nil, 0 })
}

// alive is how many connections have not ended.
func (l *loop) alive() int { return l.connects.opening + l.meter.open }

// dropAll ends all connections at once, whatever they are at.
func (l *loop) dropAll() {
	for i := range l.conns {
		switch c := &l.conns[i]; c.state {
		case absent:
		case open:
			l.drop(c)
		default:
			l.end(c)
		}
	}
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
	if l.checking == unchecked { // it is the server's own
		return
	}
	if sent := c.sentAt(); l.meter.measures(l.belongs(sent, l.now)) {
		l.meter.service.Record(l.now - sent)
	}
	if l.meter.measures(l.now) {
		l.meter.bytes += int64(c.in.size)
	}
	c.received++
	b.next(l, c)
}

func (churning) ended(l *loop, c *conn, asked bool) {
	now := l.engine.Now()
	if asked {
		l.churned(c, now)
	} else {
		l.connects.next = max(l.connects.next, now+10*time.Millisecond) // no storm of failures
	}
	l.connect(l.slot(c))
}

// churned counts a connection that came to its end.
func (l *loop) churned(c *conn, now time.Duration) {
	l.meter.done(now, l.belongs(c.began, now), now-c.began, 0)
}

// lastTurn is churning's end: connections end and no others begin.
type lastTurn struct{ churning }

func (lastTurn) ended(l *loop, c *conn, asked bool) {
	if asked {
		l.churned(c, l.engine.Now())
	}
}
