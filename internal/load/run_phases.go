package load

import (
	"context"
	"time"
)

// until waits for a condition, looked at every millisecond: what it ends may be
// measured.
func (r *run) until(ctx context.Context, condition func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// last waits for d, or until there is nothing left to load.
func (r *run) last(ctx context.Context, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	often := 5 * time.Millisecond // what ends it may be measured
	if r.group != nil {
		often = 100 * time.Millisecond // each look may be a report
	}
	look := time.NewTicker(often)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return nil
		case <-look.C:
			if r.open.Load() == 0 && r.noneOpen() {
				return errNothingOpen
			}
			if r.publication.none() {
				if r.children.stop != nil {
					r.children.stop() // else they go on, and are waited for
				}
				return errNoPublisher
			}
		}
	}
}

// connectAll opens the connections and waits for each to be open or failed.
func (r *run) connectAll(ctx context.Context) error {
	return r.connectSome(ctx, r.plan.Connections)
}

// connectSome is connectAll of so many of the connections, a part of each loop's.
func (r *run) connectSome(ctx context.Context, connections int) error {
	r.enter("connect")
	r.each(func(l *loop) {
		first, all := int(l.conns[0].number), r.plan.Connections
		some := connections*(first+len(l.conns))/all - connections*first/all
		for slot := range some {
			if l.conns[slot].state == absent {
				l.connect(slot)
			}
		}
	})
	if err := r.until(ctx, func() bool {
		return r.sum(func(l *loop) int { return l.connects.waiting() + l.connects.opening }) == 0
	}); err != nil {
		return err
	}
	before := r.opened
	all := r.await(barrier{At: "connected", Open: r.openNow(), Opened: r.sum(func(l *loop) int { return l.meter.opened })})
	r.opened = max(before, all.Opened) // those of a process that has ended are not told any more
	switch {
	case all.Open > 0:
		return nil
	case r.opened == 0:
		return errNoneOpened
	case r.opened == before:
		return errNoneAgain
	default:
		return errNothingOpen
	}
}

// measure opens the measured window for d, or until no connection is open.
func (r *run) measure(ctx context.Context, d time.Duration) error {
	r.enter("measure")
	r.beginWindow()
	err := r.last(ctx, d)
	r.endWindow()
	return err
}

// beginWindow opens the measured window. Each loop's begins and ends when the
// loop learns of it: before, it could not tell what belongs to it.
func (r *run) beginWindow() {
	r.await(barrier{At: "begin of the window"})
	r.server.begin()
	r.openMeters()
	r.setMeasured(true)
}

func (r *run) openMeters() {
	r.each(func(l *loop) { l.meter.from, l.meter.until = l.engine.Now(), never })
	r.publication.beginWindow()
}

// closeMeters gives the sum of the loops' windows.
func (r *run) closeMeters() time.Duration {
	return time.Duration(r.sum(func(l *loop) int {
		l.meter.until = l.engine.Now()
		l.meter.waiting = max(l.meter.waiting, l.oldest(l.meter.until))
		return int(l.meter.until - l.meter.from)
	}))
}

func (r *run) endWindow() {
	total := r.closeMeters()
	r.publication.endWindow()
	r.server.end()
	all := r.await(barrier{
		At: "end of the window", Open: r.openNow(), Loops: len(r.loops), Windows: total, CPU: r.server.window.self,
	})
	r.openThen = all.Open
	r.window = (all.Windows / time.Duration(max(all.Loops, 1))).Seconds()
	r.result.Seconds += r.window
	r.server.total.self += all.CPU - r.server.window.self // a child's that is not known is 0
	r.server.window.self = all.CPU
	r.server.memory(r.openNow(), r.result)
	r.setMeasured(false)
}
