package load

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// rampInFlight is how many messages a ramp has in flight by default, as the
// comparison of servers has that it is taken from.
const rampInFlight = 4

// rampQuantile of the time to the last receiver is held against the limit.
const rampQuantile = 0.95

// ramp adds connections to a broadcast until its messages take too long to get to
// the last of them, or do not get there. The result is that of the most connections
// that held.
func (r *run) ramp(ctx context.Context) error {
	var held *step
	for n := min(r.plan.RampStep, r.plan.Connections); ; n = min(n+r.plan.RampStep, r.plan.Connections) {
		s, err := r.rampStep(ctx, n)
		if err != nil {
			if held = cmp.Or(held, s); held != nil {
				r.only(held)
			}
			return err
		}
		why, holds := r.rampHolds(s, n)
		if holds {
			held, r.publication.clients = s, new(n)
			if n < r.plan.Connections {
				continue
			}
			r.note(fmt.Sprintf("all %d clients kept the limit: give it more connections", n))
		} else if why != "" {
			r.note(why)
		}
		if held == nil {
			held, r.publication.clients = s, new(0)
			r.note(fmt.Sprintf("%d clients were too many already: begin with fewer", n))
		}
		r.only(held)
		return r.hangUp(ctx)
	}
}

// rampStep measures so many connections. With an error there may be no step.
func (r *run) rampStep(ctx context.Context, connections int) (*step, error) {
	p := r.publication
	r.each(func(l *loop) { l.behaviour = quiet{} })
	if err := r.connectSome(ctx, connections); err != nil {
		return nil, err
	}
	if err := r.beginPublishing(ctx); err != nil {
		return nil, err
	}
	r.enter(fmt.Sprintf("%d clients", connections))
	if err := r.last(ctx, min(r.plan.Warmup, r.plan.Duration)); err != nil {
		return nil, err
	}
	err := r.measure(ctx, r.plan.Duration)
	missing := 0
	if err == nil {
		missing, err = r.endPublishing(ctx)
	}
	s := r.takeStep(fmt.Sprintf("%d clients", connections), 0)
	s.Last, s.skew = p.take()
	s.publishedFor, s.clients, s.missing = p.window(), r.openThen, missing
	r.result.Steps[len(r.result.Steps)-1].Last = s.Last
	return s, err
}

// rampHolds tells whether so many clients were there in a step to the end of its window,
// and its messages came to all of them, soon enough. If it was not the time that they
// took, it says what it was.
func (r *run) rampHolds(s *step, clients int) (why string, holds bool) {
	limit := float64(r.plan.RampLimit) / float64(time.Microsecond)
	switch {
	case s.clients < clients:
		return fmt.Sprintf("of %d clients only %d were there when measuring ended", clients, s.clients), false
	case s.missing > 0:
		return fmt.Sprintf("with %d clients %d messages did not arrive", clients, s.missing), false
	}
	return "", s.Last.Count() > 0 && s.Last.Quantile(rampQuantile) <= limit
}

// take gives what was measured since the last time.
func (p *publication) take() (last, skew *result.Latency) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, skew = p.last, p.skew
	p.last, p.skew = result.NewLatency(), result.NewLatency()
	return last, skew
}

// only makes one step's figures the result's.
func (p *publication) only(s *step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published, p.perSecond, p.skew = s.published, float64(s.published)/s.publishedFor, result.NewLatency()
	p.last = result.NewLatency()
	p.skew.Merge(s.skew)
	p.last.Merge(s.Last)
}
