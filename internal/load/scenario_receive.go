package load

import (
	"context"
	"time"
)

// receive opens connections, sends one message on each if there is one to send, and
// then only counts and times what the server sends by itself.
func (r *run) receive(ctx context.Context) error {
	r.each(func(l *loop) {
		l.checking = unchecked
		l.behaviour = &receiving{last: make([]time.Duration, len(l.conns))}
	})
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	r.enter("warm up")
	if err := r.last(ctx, r.plan.Warmup); err != nil {
		return err
	}
	if err := r.measure(ctx, r.plan.Duration); err != nil {
		return err
	}
	came := r.sum(func(l *loop) int { return int(l.meter.count) })
	if all := r.await(barrier{At: "received", Left: came, Open: r.openNow()}); all.Left == 0 && all.Open > 0 {
		r.trouble("receive: no message came in the measured window")
	}
	r.enter("close")
	return r.hangUp(ctx)
}

// receiving times the messages of each connection.
type receiving struct {
	quiet
	last []time.Duration // when a connection's last one came; 0: none did
}

func (b *receiving) opened(l *loop, c *conn) {
	b.last[l.slot(c)] = 0
	if l.plan.Hello != "" {
		l.out = l.appendMessage(l.out[:0], c, []byte(l.plan.Hello))
		l.write(c, l.out)
	}
}

func (b *receiving) received(l *loop, c *conn) {
	c.received++
	last := &b.last[l.slot(c)]
	if *last > 0 {
		l.meter.done(l.now, l.now, l.now-*last, c.in.size)
	} else {
		l.meter.untimed(l.now, c.in.size)
	}
	*last = l.now
}
