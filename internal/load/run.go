package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/poller"
)

// Watch follows a run while it lasts. Its functions may be nil; they are called
// one at a time and should return soon.
type Watch struct {
	// Sample is called about once a second, with the samples of it joined.
	Sample func(result.Sample)
	// Phase is called when the run begins something else: "connect", "warm up",
	// "measure", "close".
	Phase func(name string)
}

// Run does what a plan says. It blocks until that is done, the plan's Timeout is
// over or ctx is, or the server has ended or does not answer; then the result has what
// was measured until then, and EndedEarly says why. What goes
// wrong with connections is in Result.Troubles. An error says that nothing was
// run: *PlanError if the plan is at fault.
func Run(ctx context.Context, asked result.Plan, watch Watch) (*result.Result, error) {
	return runOn(ctx, thisHost, asked, watch)
}

// runOn is Run on a host of the caller's choice.
func runOn(ctx context.Context, choose func(*plan) (host, error), asked result.Plan, watch Watch) (*result.Result, error) {
	p := &plan{asked}
	if err := p.complete(); err != nil {
		return nil, err
	}
	if err := p.checkProcesses(); err != nil {
		return nil, err
	}
	t, err := newTarget(ctx, p, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	h, err := choose(p)
	if err != nil {
		return nil, err
	}
	r := newRun(p, h, t, watch)
	defer r.stop()
	if r.result.Address = t.address.String(); t.chosen != "" {
		r.note(t.chosen)
	}
	limited, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	useful, abort := context.WithCancelCause(limited)
	defer abort(nil)
	r.abort = abort
	if p.Processes > 1 {
		err = r.startChildren(useful)
	} else {
		err = r.startLoops(0, 1)
	}
	if err != nil {
		return nil, err
	}
	r.watchServer()
	r.startSampling(useful)
	err = r.scenario()(useful)
	r.stopSampling()
	r.awaitChildren(err == nil)
	r.conclude(ctx, limited, useful, err)
	return r.finish(), nil
}

// run is one run of a plan.
type run struct {
	*shared
	loops   []*loop
	started time.Duration // on the engine's clock
	abort   context.CancelCauseFunc

	watching sync.Mutex // one function of watch at a time; guards what follows
	watch    Watch
	phase    string
	entered  time.Duration // when it began

	result  *result.Result
	server  serverProcess
	sampler sampler
	vigil   vigil          // the sampler's
	ended   sync.WaitGroup // the loops

	group    group    // nil: this process is the only one
	children children // of a parent

	opened      int           // connections, in all processes, by the end of the last phase that opened some
	window      float64       // seconds of the last one
	openThen    int           // connections, at its end
	waiting     time.Duration // as in meter, of the steps
	publication *publication  // of broadcast
	missing     int64         // messages of one that never arrived
	cut         int           // slow connections that the server ended
}

// errNothingOpen: no connection is open, so there is nothing to load. The
// troubles say why. The others say more of it.
var (
	errNothingOpen = errors.New("all connections had ended")
	errNoneOpened  = nothingOpen("no connection could be opened")
	errNoneAgain   = nothingOpen("no connection could be opened again,")
	errNoPublisher = nothingOpen("no connection that publishes was open,")
	errNoStream    = nothingOpen("no event stream was open,")
)

// nothingOpen is an errNothingOpen.
type nothingOpen string

func (n nothingOpen) Error() string       { return string(n) }
func (n nothingOpen) Is(other error) bool { return other == errNothingOpen }

func newRun(p *plan, h host, t *target, watch Watch) *run {
	r := &run{
		shared: &shared{host: h, plan: p, target: t},
		watch:  watch,
		result: newResult(p),
		server: serverProcess{read: h.usage},
	}
	if p.Processes > 1 {
		r.zero = poller.MachineTime() - h.engine.Now()
	}
	if p.Scenario == result.Broadcast {
		r.publication = newPublication(r)
	}
	return r
}

func newResult(p *plan) *result.Result {
	return &result.Result{
		Plan: p.Plan, Started: time.Now(), Unit: "message", Machine: ThisMachine(),
		Latency: result.NewLatency(), Connect: result.NewLatency(),
	}
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
		result.Echo: r.echo, result.Rate: r.rate, result.Sweep: r.sweep, result.Idle: r.idle, result.Storm: r.storm,
		result.Churn: r.churn, result.Wave: r.wave, result.Slow: r.slow, result.Broadcast: r.broadcast, result.Receive: r.receive,
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
// barrier.
func (r *run) openNow() int {
	return r.sum(func(l *loop) int { return l.meter.open }) + r.children.open()
}

func (r *run) enter(phase string) {
	r.await(barrier{At: phase})
	r.watching.Lock()
	defer r.watching.Unlock()
	r.phase, r.entered = phase, r.engine.Now()
	if r.watch.Phase != nil {
		r.watch.Phase(phase)
	}
}

func (r *run) note(text string) { addNote(r.result, text) }

func (r *run) trouble(format string, args ...any) {
	r.result.Troubles = addTroubles(r.result.Troubles, result.Trouble{What: fmt.Sprintf(format, args...), Count: 1})
}
