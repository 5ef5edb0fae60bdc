package load

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// endTimeout is how long messages under way, and then close handshakes, may take
// when a run ends: a second more for each thousand connections, which end at once.
func (p *plan) endTimeout() time.Duration {
	return 5*time.Second + time.Duration(p.Connections/1000)*time.Second
}

// closeAll lets the messages under way come back, and closes.
func (r *run) closeAll(ctx context.Context) error {
	r.enter("close")
	if err := r.drain(ctx); err != nil {
		return err
	}
	return r.hangUp(ctx)
}

// hangUp closes the open connections, whatever is under way.
func (r *run) hangUp(ctx context.Context) error {
	r.each(func(l *loop) {
		l.behaviour = quiet{}
		for i := range l.conns {
			switch c := &l.conns[i]; {
			case c.state != open:
			case c.slow:
				l.drop(c) // it would not read the answer to a close frame
			default:
				l.close(c)
			}
		}
	})
	return r.until(ctx, func() bool { return r.openNow() == 0 })
}

// drain waits for the messages under way, and counts those that do not come.
func (r *run) drain(ctx context.Context) error {
	left, err := r.awaitNone(ctx, (*loop).underWay)
	if err == nil && left > 0 {
		r.lost("messages that did not come back", left)
	}
	return err
}

// underWay is how many messages have not come back, or are still to be sent
// though they were due, those of slow connections aside.
func (l *loop) underWay() (n int) {
	rate, isRate := l.behaviour.(*openLoop)
	if isRate {
		n = rate.overdue()
	}
	if each, ok := l.behaviour.(*oneEach); ok {
		n = each.unsent(l)
	}
	for i := range l.conns {
		if c := &l.conns[i]; c.state == open && !c.slow {
			n += c.underWay()
			if isRate {
				n += int(c.wanted - (c.sent - c.base)) // due while the kernel took no more
			}
		}
	}
	return n
}

// oldest is how long the oldest message has been under way, those of slow connections
// aside.
func (l *loop) oldest(now time.Duration) (age time.Duration) {
	for i := range l.conns {
		if c := &l.conns[i]; c.state == open && !c.slow && c.underWay() > 0 && len(c.times) > 0 {
			age = max(age, now-c.sentAt())
		}
	}
	return age
}

// tellWaiting notes a stall at the end of a window: what did not come back in it is in
// no latency of a closed loop.
func (r *run) tellWaiting(waiting time.Duration) {
	if r.plan.Scenario == result.Sweep {
		return // whose last rates are to be too high
	}
	if longest := r.result.Latency.Quantile(1); !(float64(waiting)/1e3 <= longest) && waiting > 0 {
		r.note(fmt.Sprintf("when measuring ended, a message had been under way for %s, which is longer than any that came back",
			inWords(waiting.Round(time.Millisecond))))
	}
}

// awaitNone waits until a number of all loops is 0, as long as a run may take to
// end, and gives what is left of it.
func (r *run) awaitNone(ctx context.Context, of func(*loop) int) (left int, err error) {
	limited, cancel := context.WithTimeout(ctx, r.plan.endTimeout())
	defer cancel()
	_ = r.until(limited, func() bool { // left and ctx tell
		left = r.sum(of)
		return left == 0
	})
	return r.await(barrier{At: "end of the wait", Left: left}).Left, ctx.Err()
}

// reportStream adds to the result what TLS and compression had to do.
func (r *run) reportStream(counts extras) {
	if counts.Wire != (result.Wire{}) {
		r.result.Wire = &counts.Wire
	}
	if r.target.tls == nil {
		return
	}
	h := &result.Handshakes{Count: counts.Handshakes, PerSecond: result.Unknown(), All: counts.Secured, Resumed: counts.Resumed}
	if r.result.Seconds > 0 {
		h.PerSecond = float64(h.Count) / r.result.Seconds
	}
	r.result.Handshakes = h
	if r.plan.Resume && h.Resumed == 0 && h.All > 0 {
		r.trouble("tls: the server resumed none of %d sessions", h.All)
	}
}

// lost counts messages that awaitNone waited for in vain.
func (r *run) lost(what string, count int) {
	r.result.Troubles = addTroubles(r.result.Troubles,
		result.Trouble{What: fmt.Sprintf("lost: %s within %v of the end", what, r.plan.endTimeout()), Count: count})
}

// finish puts the result together.
func (r *run) finish() *result.Result {
	out := r.result
	service, late, waiting := result.NewLatency(), result.NewLatency(), r.waiting
	service.Merge(out.Service)
	var counts extras
	add := func(m *meter) {
		m.addTo(out)
		out.Peak += m.peak
		service.Merge(m.service)
		late.Merge(m.late)
		counts.add(m.extras)
		r.cut += m.cut
		waiting = max(waiting, m.waiting)
	}
	for _, l := range r.loops {
		l.do(func() {
			add(&l.meter)
			r.publication.publishedIn(l.meter.Published, r.publication.window())
		})
	}
	for _, o := range r.children.outcomes() {
		for _, c := range o.Loops {
			add(c.meter())
			r.publication.publishedIn(c.Extras.Published, o.PublishWindow)
		}
		out.Client.Memory += o.Memory
		r.publication.hearLast(o)
	}
	r.tellWaiting(waiting)
	if out.Service = nil; service.Count() > 0 {
		out.Service = service
	}
	if late.Count() > 0 {
		out.Client.Late = late
	}
	r.reportStream(counts)
	if r.publication != nil {
		r.publication.report(out, counts)
	}
	if n := r.cut; n > 0 {
		r.note(fmt.Sprintf("the server ended %d of the connections that read slowly", n))
	}
	out.Samples = r.sampler.samples
	switch {
	case out.Seconds <= 0:
		out.PerSecond = result.Unknown()
	case out.PerSecond == 0:
		out.PerSecond = float64(out.Count) / out.Seconds
	}
	r.server.report(out)
	out.Client.Available = runtime.GOMAXPROCS(0)
	if out.Client.Bottleneck == "" { // else the scenario knows
		out.Client.Bottleneck = bottleneck(out)
	}
	slices.SortStableFunc(out.Troubles, func(a, b result.Trouble) int { return b.Count - a.Count })
	return out
}
