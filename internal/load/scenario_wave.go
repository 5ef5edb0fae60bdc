package load

import (
	"context"
	"fmt"
)

// wave has all connections drop at once and come back, some times.
func (r *run) wave(ctx context.Context) error {
	r.result.Unit = "connection"
	r.each(func(l *loop) { l.checking = unchecked })
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
