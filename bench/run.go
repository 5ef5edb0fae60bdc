package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/poller"
)

// Watch follows a run while it lasts. Its functions may be nil; they are called
// one at a time and should return soon.
type Watch struct {
	// Sample is called about once a second.
	Sample func(Sample)
	// Phase is called when the run begins something else: "connect", "warm up",
	// "measure", "close".
	Phase func(name string)
}

// Run does what a plan says. It blocks until that is done, the plan's Timeout is
// over or ctx is; then the result has what was measured until then. What goes
// wrong with connections is in Result.Troubles. An error says that nothing was
// run: *PlanError if the plan is at fault.
func Run(ctx context.Context, p Plan, watch Watch) (*Result, error) {
	if err := p.complete(); err != nil {
		return nil, err
	}
	if err := p.checkProcesses(); err != nil {
		return nil, err
	}
	t, err := newTarget(ctx, &p)
	if err != nil {
		return nil, err
	}
	r, err := newRun(&p, t, watch)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	limited, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if p.Processes > 1 {
		err = r.startChildren(limited)
	} else {
		err = r.startLoops(0, 1)
	}
	if err != nil {
		return nil, err
	}
	r.watchServer()
	r.startSampling(limited)
	err = r.scenario()(limited)
	r.stopSampling()
	r.awaitChildren(err == nil)
	switch {
	case ctx.Err() != nil:
		r.result.note("interrupted: the figures are of what was done by then")
	case limited.Err() != nil:
		r.trouble("the run did not end within %v: it was still at %q", p.Timeout, r.phase)
	case err != nil && err != errNothingOpen:
		r.trouble("%v", err)
	}
	return r.finish(), nil
}

// run is one run of a plan.
type run struct {
	*shared
	loops   []*loop
	phase   string
	started time.Duration // on the engine's clock

	watching sync.Mutex // one function of watch at a time
	watch    Watch

	result  *Result
	server  serverProcess
	sampler sampler
	ended   sync.WaitGroup // the loops

	team     team     // nil: this process is the only one
	children children // of a parent

	window      float64      // seconds of the last one
	publication *publication // of broadcast
	cut         int          // slow connections that the server ended
}

// errNothingOpen: no connection is open, so there is nothing to load. The
// troubles say why.
var errNothingOpen = errors.New("no connection is open")

func newRun(p *Plan, t *target, watch Watch) (*run, error) {
	engine, err := poller.New(p.Poller)
	if err != nil {
		return nil, wrong("Poller", "%v", err)
	}
	dialer, ok := engine.(poller.Dialer)
	if !ok {
		return nil, wrong("Poller", "%s can not connect", engine.Name())
	}
	return &run{
		shared: &shared{plan: p, engine: dialer, target: t},
		watch:  watch,
		result: &Result{Plan: *p, Started: time.Now(), Unit: "message", Latency: NewLatency(), Connect: NewLatency(), Machine: thisMachine()},
	}, nil
}

func (r *run) stop() {
	r.children.kill()
	for _, l := range r.loops {
		l.stop()
	}
	r.ended.Wait()
	for _, l := range r.loops {
		_ = l.poller.Close() // nothing waits in it
	}
	r.loops = nil
}

// scenario is what to do.
func (r *run) scenario() func(context.Context) error {
	return map[string]func(context.Context) error{
		Echo: r.echo, Rate: r.rate, Sweep: r.sweep, Idle: r.idle, Storm: r.storm,
		Churn: r.churn, Wave: r.wave, Slow: r.slow, Broadcast: r.broadcast,
	}[r.plan.Scenario]
}

// each has f run in all loops, at once, and waits for it.
func (r *run) each(f func(*loop)) {
	var all sync.WaitGroup
	for _, l := range r.loops {
		all.Go(func() { l.do(func() { f(l) }) })
	}
	all.Wait()
}

// sum adds up a number of all loops.
func (r *run) sum(of func(*loop) int) int {
	var mu sync.Mutex
	total := 0
	r.each(func(l *loop) {
		n := of(l)
		mu.Lock()
		total += n
		mu.Unlock()
	})
	return total
}

// openNow is how many connections are open. A parent knows it as of the last
// meeting.
func (r *run) openNow() int {
	return r.sum(func(l *loop) int { return l.meter.open }) + r.children.open()
}

func (r *run) enter(phase string) {
	r.phase = phase
	r.meet(meeting{At: phase})
	if r.watch.Phase != nil {
		r.watching.Lock()
		defer r.watching.Unlock()
		r.watch.Phase(phase)
	}
}

func (r *run) trouble(format string, args ...any) {
	r.result.Troubles = addTroubles(r.result.Troubles, Trouble{What: fmt.Sprintf(format, args...), Count: 1})
}

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
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return nil
		case <-look.C:
			if r.noneOpen() || r.publication != nil && r.publication.orphaned.Load() {
				return errNothingOpen
			}
		}
	}
}

// connectAll opens the connections and waits for each to be open or failed.
func (r *run) connectAll(ctx context.Context) error {
	r.enter("connect")
	r.each(func(l *loop) {
		for slot := range l.conns {
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
	if r.meet(meeting{At: "connected", Open: r.openNow()}).Open == 0 {
		return errNothingOpen
	}
	return nil
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
	r.meet(meeting{At: "begin of the window"})
	r.server.begin()
	r.each(func(l *loop) { l.meter.from, l.meter.until = l.engine.Now(), never })
	r.sampler.setMeasured(true)
}

func (r *run) endWindow() {
	total := r.sum(func(l *loop) int {
		l.meter.until = l.engine.Now()
		return int(l.meter.until - l.meter.from)
	})
	r.server.end()
	all := r.meet(meeting{
		At: "end of the window", Loops: len(r.loops), Windows: time.Duration(total), CPU: r.server.window.self,
	})
	r.window = (all.Windows / time.Duration(max(all.Loops, 1))).Seconds()
	r.result.Seconds += r.window
	r.server.total.self += all.CPU - r.server.window.self
	r.server.window.self = all.CPU
	r.server.memory(r.openNow(), r.result)
	r.sampler.setMeasured(false)
}

// endTimeout is how long messages under way, and then close handshakes, may take
// when a run ends: a second more for each thousand connections, which end at once.
func (p *Plan) endTimeout() time.Duration {
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

// awaitNone waits until a number of all loops is 0, as long as a run may take to
// end, and gives what is left of it.
func (r *run) awaitNone(ctx context.Context, of func(*loop) int) (left int, err error) {
	limited, cancel := context.WithTimeout(ctx, r.plan.endTimeout())
	defer cancel()
	_ = r.until(limited, func() bool { // left and ctx tell
		left = r.sum(of)
		return left == 0
	})
	return r.meet(meeting{At: "end of the wait", Left: left}).Left, ctx.Err()
}

// lost counts messages that awaitNone waited for in vain.
func (r *run) lost(what string, count int) {
	r.result.Troubles = addTroubles(r.result.Troubles,
		Trouble{What: fmt.Sprintf("lost: %s within %v of the end", what, r.plan.endTimeout()), Count: count})
}

// finish puts the result together.
func (r *run) finish() *Result {
	out := r.result
	service, late := NewLatency(), NewLatency()
	service.Merge(out.Service)
	add := func(m *meter) {
		m.addTo(out)
		out.Peak += m.peak
		service.Merge(m.service)
		late.Merge(m.late)
		r.cut += m.cut
	}
	for _, l := range r.loops {
		l.do(func() { add(&l.meter) })
	}
	for _, o := range r.children.outcomes() {
		for _, c := range o.Loops {
			add(c.meter())
		}
		out.Client.Memory += o.Memory
	}
	if out.Service = nil; service.Count() > 0 {
		out.Service = service
	}
	if late.Count() > 0 {
		out.Client.Late = late
	}
	if r.publication != nil {
		out.Skew = r.publication.skew
	}
	if n := r.cut; n > 0 {
		out.note(fmt.Sprintf("the server ended %d of the connections that read slowly", n))
	}
	out.Samples = r.sampler.samples
	if out.Seconds > 0 && out.PerSecond == 0 {
		out.PerSecond = float64(out.Count) / out.Seconds
	}
	r.server.report(out)
	out.Client.Available = runtime.GOMAXPROCS(0)
	out.Client.Bottleneck = bottleneck(out)
	slices.SortStableFunc(out.Troubles, func(a, b Trouble) int { return b.Count - a.Count })
	return out
}
