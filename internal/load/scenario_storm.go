package load

import "context"

// storm opens all connections and measures that.
func (r *run) storm(ctx context.Context) error {
	r.result.Unit = "connection"
	r.each(func(l *loop) { l.behaviour, l.checking = counting{}, unchecked })
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
