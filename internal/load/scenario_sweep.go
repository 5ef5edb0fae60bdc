package load

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// sweep looks for the rate of an open loop at which the server falls behind: its
// p99 passes the limit, or less than 95 % of what is due comes back in time. A message
// that never comes back passes the limit.
func (r *run) sweep(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	if err := r.search(ctx, newSearch(r.plan)); err != nil {
		return err
	}
	r.enter("close")
	return r.hangUp(ctx)
}

// search tries rates until the search is over, or the run is.
func (r *run) search(ctx context.Context, s *search) (err error) {
	var held, broken, late *step // the last of each; late is of the unknown rate
	defer func() {
		if err != nil {
			s.bound = cmp.Or(s.bound, "the run ended before")
		}
		r.reportKnee(s, held, broken)
		if s.high == 0 && s.clientLate {
			r.result.Client.Bottleneck = r.whyLate(late)
		}
	}()
	left := 0 // of the last try
	for rate, goOn := s.next(); goOn; rate, goOn = s.next() {
		if left > 0 {
			if err := r.connectAll(ctx); err != nil {
				return err
			}
		}
		before := s.low
		var tried *step
		if tried, left, err = r.try(ctx, rate, s.nth()); err != nil {
			return err
		}
		s.took(tried.Verdict, tried.Disturbed)
		if tried.Offered == s.unknown {
			late = tried
		}
		if s.low > before {
			held = tried
		} else if s.low == 0 {
			broken = tried
		}
		if left > 0 {
			r.dropAll()
		}
	}
	return nil
}

// try measures a rate for the nth time, and lets what is under way then come
// back, if it does so soon. Of some messages it may be left that they did not.
func (r *run) try(ctx context.Context, rate float64, nth int) (s *step, left int, err error) {
	name := fmt.Sprintf("%.0f/s", rate)
	if nth > 1 {
		name += fmt.Sprintf(" (%d)", nth)
	}
	r.beginRate(rate)
	r.enter(name)
	if err := r.last(ctx, min(r.plan.Warmup, r.plan.Duration)); err != nil {
		return nil, 0, err
	}
	stolen := r.stolenSoFar()
	err = r.measure(ctx, r.plan.Duration)
	stolen = r.stolenSoFar() - stolen
	r.endRate()
	if err == nil {
		left, err = r.awaitNone(ctx, (*loop).underWay)
	}
	s = r.takeStep(name, rate)
	stolen = r.await(barrier{At: "stolen " + name, Stolen: stolen}).Stolen
	if err == nil { // else it is not whole
		r.judge(s, left, stolen)
	}
	return s, left, err
}

// judge says of a try how the server did, and whether that is to be believed. So many
// messages of it were left that never came back.
func (r *run) judge(s *step, left int, stolen time.Duration) {
	limit := r.plan.SweepLimit
	due := s.Offered * s.Seconds
	// What a window cuts off at its end, or more at its begin: a message a loop, unless
	// that is much of all.
	onTheWay := min(float64(r.plan.Loops), max(1, 0.03*due))
	switch {
	case float64(s.count)+onTheWay < 0.95*due:
		s.Verdict = result.Behind
	case !keeps(s.Latency, left, limit):
		s.Verdict = result.OverLimit
	default:
		s.Verdict = result.Held
	}
	// A stolen time of this length does it alone: what is due in it waits, and 1 % of
	// all for longer than the limit; or 5 % of all are missing.
	enough := min(limit.Seconds()+0.01*s.Seconds, 0.05*s.Seconds)
	switch {
	case s.Verdict == result.Held:
	case sentLate(s.late, s.Latency):
		s.Disturbed = result.ByClient
	case stolen.Seconds() >= enough:
		s.Disturbed = result.BySteal
	}
	steps := r.result.Steps
	steps[len(steps)-1] = s.Step
}

// keeps tells whether 99 % of the messages came back within a limit. Those that are
// left never did, and where none came back nothing kept it.
func keeps(l *result.Latency, left int, limit time.Duration) bool {
	all := l.Count() + int64(left)
	share := 0.99 * float64(all) / float64(l.Count()) // of those that came back
	return share <= 1 && l.Quantile(share) <= float64(limit)/float64(time.Microsecond)
}

// dropAll ends the connections, so that the next try begins with new ones: the server
// has not caught up with what came over these. That is no loss: it was too much.
func (r *run) dropAll() {
	r.each(func(l *loop) {
		l.behaviour = quiet{}
		for i := range l.conns {
			if c := &l.conns[i]; c.state == open {
				l.drop(c)
			}
		}
	})
}

// reportKnee puts what was found into the result, with the figures of the highest
// rate that held; if none did, of the lowest tried.
func (r *run) reportKnee(s *search, held, broken *step) {
	r.result.Knee = s.knee()
	switch {
	case held != nil:
		r.only(held)
	case broken != nil:
		r.only(broken)
		r.note(fmt.Sprintf("no rate held, down to %.0f/s; %s", broken.Offered, cmp.Or(s.why, s.bound)))
	}
}

// whyLate says what to do about a try in which the load generator sent late. Loops
// that have much to send use a core each, if they get one.
func (r *run) whyLate(s *step) string {
	cores, loops := s.cpu.self.Seconds()/s.Seconds, max(r.plan.Loops, r.plan.Processes)
	if s.cpu.selfKnown && cores < float64(loops)/2 {
		return fmt.Sprintf("it sent late at %.0f/s, and got %.2f of %d cores: other processes kept the machine busy",
			s.Offered, cores, loops)
	}
	return fmt.Sprintf("it sent late at %.0f/s: give it more cores or processes", s.Offered)
}
