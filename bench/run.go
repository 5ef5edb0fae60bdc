package bench

import (
	"context"
	crand "crypto/rand"
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
	r.watchServer()
	r.startSampling(limited)
	err = r.scenario()(limited)
	r.stopSampling()
	switch {
	case ctx.Err() != nil:
		r.result.note("interrupted: the figures are of what was done by then")
	case limited.Err() != nil:
		r.trouble("the run did not end within %v", p.Timeout)
	case err != nil && err != errNothingOpen:
		r.trouble("%v", err)
	}
	return r.finish(), nil
}

// run is one run of a plan.
type run struct {
	*shared
	loops   []*loop
	watch   Watch
	started time.Duration // on the engine's clock
	result  *Result
	server  serverProcess
	sampler sampler
	ended   sync.WaitGroup // the loops

	windowBegan time.Duration
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
	r := &run{
		shared: &shared{plan: p, engine: dialer, target: t, content: newContent(p), sources: newSources(p, t.address.Addr())},
		watch:  watch, started: dialer.Now(),
		result: &Result{Plan: *p, Started: time.Now(), Unit: "message", Latency: NewLatency(), Connect: NewLatency(), Machine: thisMachine()},
	}
	first := 0
	for i := range p.Loops {
		share := part(p.Connections, p.Loops, i)
		var seed [32]byte
		_, _ = crand.Read(seed[:]) // never fails
		l, err := newLoop(r.shared, first, share, seed)
		if err != nil {
			r.stop()
			return nil, err
		}
		l.connects.handshakes = max(1, part(p.Handshakes, p.Loops, i))
		if p.ConnectRate > 0 {
			l.connects.gap = time.Duration(float64(time.Second) * float64(p.Loops) / p.ConnectRate)
		}
		first += share
		r.loops = append(r.loops, l)
		r.ended.Go(l.run)
	}
	return r, nil
}

// part is the i-th of n nearly equal parts of whole.
func part(whole, n, i int) int { return whole*(i+1)/n - whole*i/n }

func (r *run) stop() {
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

// openNow is how many connections are open.
func (r *run) openNow() int { return r.sum(func(l *loop) int { return l.meter.open }) }

func (r *run) enter(phase string) {
	if r.watch.Phase != nil {
		r.watch.Phase(phase)
	}
}

func (r *run) trouble(format string, args ...any) {
	r.result.Troubles = addTroubles(r.result.Troubles, Trouble{What: fmt.Sprintf(format, args...), Count: 1})
}

// until waits for a condition, looked at every few milliseconds.
func (r *run) until(ctx context.Context, condition func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
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

// last waits for d, or until no connection is open.
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
			if r.openNow() == 0 {
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
		return r.sum(func(l *loop) int { return len(l.connects.queue) + l.connects.opening }) == 0
	}); err != nil {
		return err
	}
	if r.openNow() == 0 {
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

// beginWindow opens the measured window.
func (r *run) beginWindow() {
	r.server.begin()
	from := r.engine.Now()
	r.windowBegan = from
	r.each(func(l *loop) { l.meter.from, l.meter.until = from, never })
	r.sampler.setMeasured(true)
}

func (r *run) endWindow() {
	until := r.engine.Now()
	r.each(func(l *loop) { l.meter.until = until })
	r.result.Seconds += (until - r.windowBegan).Seconds()
	r.server.end()
	r.server.memory(r.openNow(), r.result)
	r.sampler.setMeasured(false)
}

// takeStep gives what was counted and measured in the last window, alone.
func (r *run) takeStep(name string, offered, seconds float64) Step {
	s := Step{Name: name, Offered: offered, Seconds: seconds, Latency: NewLatency()}
	count := int64(0)
	for _, l := range r.loops {
		l.do(func() {
			s.Latency.Merge(l.meter.latency)
			r.result.Latency.Merge(l.meter.latency)
			l.meter.latency.Histogram.Reset()
			count += l.meter.count
			r.result.Count += l.meter.count
			l.meter.count = 0
		})
	}
	if seconds > 0 {
		s.PerSecond = float64(count) / seconds
	}
	r.result.Steps = append(r.result.Steps, s)
	return s
}

// drainTimeout is how long messages under way may take when a run ends.
const drainTimeout = 5 * time.Second

// closeAll lets the messages under way come back, and closes.
func (r *run) closeAll(ctx context.Context) error {
	r.enter("close")
	if err := r.drain(ctx); err != nil {
		return err
	}
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
	underWay := func() int {
		return r.sum(func(l *loop) (n int) {
			for i := range l.conns {
				if c := &l.conns[i]; c.state == open && !c.slow {
					n += c.underWay()
				}
			}
			return n
		})
	}
	limited, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := r.until(limited, func() bool { return underWay() == 0 }); err == nil {
		return nil
	}
	if n := underWay(); n > 0 {
		r.result.Troubles = addTroubles(r.result.Troubles,
			Trouble{What: fmt.Sprintf("lost: messages that did not come back within %v of the end", drainTimeout), Count: n})
	}
	return ctx.Err()
}

// finish puts the result together.
func (r *run) finish() *Result {
	out := r.result
	service, late := NewLatency(), NewLatency()
	for _, l := range r.loops {
		l.do(func() {
			l.meter.addTo(out)
			service.Merge(l.meter.service)
			late.Merge(l.meter.late)
			r.cut += l.meter.cut
		})
	}
	if service.Count() > 0 {
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
	out.Peak = r.sampler.peak
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
