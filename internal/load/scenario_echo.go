package load

import (
	"context"
	"time"
)

// echo is a closed loop: each connection keeps messages under way.
func (r *run) echo(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	r.beginEcho()
	r.enter("warm up")
	if err := r.last(ctx, r.plan.Warmup); err != nil {
		return err
	}
	if err := r.measure(ctx, r.plan.Duration); err != nil {
		return err
	}
	r.endEcho()
	return r.closeAll(ctx)
}

func (r *run) beginEcho() { r.each(func(l *loop) { l.behave(closedLoop{}) }) }

// endEcho ends the sending.
func (r *run) endEcho() { r.each(func(l *loop) { l.behave(lastMessages{}) }) }

// echo expects a connection's oldest message under way.
func (l *loop) echo(c *conn) []byte {
	if c.underWay() == 0 {
		return nil
	}
	return l.content.message(c.number, c.received)
}

// behave changes the behaviour, which takes up the connections that are open.
func (l *loop) behave(b behaviour) {
	l.now = l.engine.Now()
	l.behaviour = b
	for i := range l.conns {
		if c := &l.conns[i]; c.state == open {
			b.opened(l, c)
		}
	}
}

// closedLoop sends a message for each that comes back.
type closedLoop struct{ quiet }

func (closedLoop) opened(l *loop, c *conn) {
	if n := l.plan.InFlight - c.underWay(); n > 0 {
		l.send(c, n)
	}
}

func (closedLoop) received(l *loop, c *conn) {
	l.came(c)
	l.owed++
}

// lastMessages is closedLoop's end: what is under way is counted, and no more is sent.
type lastMessages struct{ quiet }

func (lastMessages) received(l *loop, c *conn) { l.came(c) }

// came counts a message that came back.
func (l *loop) came(c *conn) {
	sent := c.sentAt()
	c.received++
	l.meter.done(l.now, l.belongs(sent, l.now), l.now-sent, c.in.size)
}

// belongs is where the time of a unit of a closed loop belongs: to the window in which
// it ended. A slice is too short for that. What takes longer would end in none, and it
// is awaited anyway: there a time belongs to the window in which the unit began.
func (l *loop) belongs(began, ended time.Duration) time.Duration {
	if l.slicing {
		return began
	}
	return ended
}
