package load

import (
	"context"
	"fmt"
	"math"
	"time"
)

// maxSteps bounds a sweep's rates; refinements are those tried between the last
// rate that held and the first that did not.
const (
	maxSteps    = 40
	refinements = 2
)

// sweep raises the rate of an open loop until the server falls behind: its p99
// passes the limit, or less than 95 % of what is due comes back in time.
func (r *run) sweep(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	var knee, broken *step
	rate, left := r.plan.Rate, refinements
	for range maxSteps {
		s, drained, err := r.sweepStep(ctx, rate)
		if err != nil {
			if knee != nil {
				r.only(knee)
			}
			return err
		}
		if r.holds(s) {
			knee = s
		} else {
			broken = s
		}
		if broken == nil {
			rate *= r.plan.SweepFactor
			continue
		}
		if knee == nil || left == 0 || !drained {
			break
		}
		left--
		rate = math.Sqrt(knee.Offered * broken.Offered)
	}
	r.reportKnee(knee, broken)
	r.enter("close")
	return r.hangUp(ctx) // what the last rate left behind is no loss: it was too much
}

// sweepStep measures one rate, and lets what is under way then come back, if it
// does so soon.
func (r *run) sweepStep(ctx context.Context, rate float64) (s *step, drained bool, err error) {
	r.beginRate(rate)
	r.enter(fmt.Sprintf("%.0f a second", rate))
	if err := r.last(ctx, min(r.plan.Warmup, r.plan.Duration)); err != nil {
		return nil, false, err
	}
	err = r.measure(ctx, r.plan.Duration)
	r.endRate()
	if err == nil {
		left := 0
		left, err = r.awaitNone(ctx, (*loop).underWay)
		drained = left == 0
	}
	return r.takeStep(fmt.Sprintf("%.0f/s", rate), rate), drained, err
}

// holds tells whether the server kept up with a rate.
func (r *run) holds(s *step) bool {
	limit := float64(r.plan.SweepLimit) / float64(time.Microsecond)
	return s.PerSecond >= 0.95*s.Offered && s.Latency.Quantile(0.99) <= limit
}

// reportKnee makes the last rate that held the result.
func (r *run) reportKnee(knee, broken *step) {
	if knee == nil {
		r.note(fmt.Sprintf("the server fell behind at the first rate already: begin below %.0f/s", broken.Offered))
		knee = broken
	} else if broken == nil {
		r.note("the server kept up with all rates tried")
	} else {
		r.note(fmt.Sprintf("the knee: %.0f/s held with a p99 of %.2f ms, %.0f/s did not (p99 %.2f ms, %.0f/s came back)",
			knee.Offered, knee.Latency.Quantile(0.99)/1e3, broken.Offered, broken.Latency.Quantile(0.99)/1e3, broken.PerSecond))
	}
	r.only(knee)
}
