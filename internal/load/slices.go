package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// Order asks for a slice of load: some time to settle, and then so much to measure.
type Order struct {
	Settle  time.Duration `json:"settle_ns"`
	Measure time.Duration `json:"measure_ns"`
}

// Slice is the answer to an Order. Before the first it says that the connections are
// open, or why they are not.
type Slice struct {
	// Result is of this slice alone. Counts are of what came back while it was measured.
	// Times are of what was sent then (of churn: begun), also if it came back later, since
	// else those that take long would be in no slice.
	// The server's CPU time and cores are those of the whole slice, from the first
	// message sent to the last that came back, for all its messages: it did nothing
	// before, and does nothing after.
	Result *result.Result `json:"result"`
	// P99 is how long 99 of 100 units took at most, of all that ended since the slice
	// began: those before and after what was measured too. A slice that is not much
	// longer tells little of the server.
	P99 time.Duration `json:"p99_ns"`
	// Taken is the share of the measured time in which the client had something to do
	// and did not run: the machine had given its cores to something else.
	Taken float64 `json:"taken"`
}

// sliced is how a scenario is loaded in slices.
type sliced struct {
	unit       string
	open       bool // its connections stay open in between
	begin, end func(*run)
	left       func(*loop) int // what is still under way after the end
}

// inSlices are the scenarios that can be loaded in slices.
var inSlices = map[string]sliced{
	result.Echo:  {"message", true, (*run).beginEcho, (*run).endEcho, (*loop).underWay},
	result.Rate:  {"message", true, func(r *run) { r.beginRate(r.plan.Rate) }, (*run).endRate, (*loop).underWay},
	result.Churn: {"connection", false, (*run).beginChurn, (*run).endChurn, (*loop).alive},
}

// Sliceable tells whether Slices can load a scenario.
func Sliceable(scenario string) bool { return inSlices[scenario].begin != nil }

// Slices opens the connections of a plan once and loads the server only while told
// to: it reads an [Order] a line from in, and writes a [Slice] a line to out, first the
// one of opening. In between nothing is under way. So servers can take turns of less
// than a second. The plan's Warmup, Duration, Processes and Timeout do not count.
//
// It ends when in does or ctx is over, and closes the connections at once. Of in, what
// comes next is read then, in a goroutine that ends with it. An error says that nothing
// was run, as Run's, or that an order made no sense; what else goes wrong is in the
// slices.
func Slices(ctx context.Context, asked result.Plan, in io.Reader, out io.Writer) error {
	return slicesOn(ctx, thisHost, asked, in, out)
}

// slicesOn is Slices on a host of the caller's choice.
func slicesOn(ctx context.Context, choose func(*plan) (host, error), asked result.Plan, in io.Reader, out io.Writer) error {
	p := &plan{asked}
	if err := p.complete(); err != nil {
		return err
	}
	how, ok := inSlices[p.Scenario]
	if !ok {
		return wrong("Scenario", "%q can not be loaded in slices", p.Scenario)
	}
	t, err := newTarget(ctx, p, netip.AddrPort{})
	if err != nil {
		return err
	}
	h, err := choose(p)
	if err != nil {
		return err
	}
	r := newRun(p, h, t, Watch{})
	r.slicing = true
	defer r.stop()
	ctx, r.abort = context.WithCancelCause(ctx)
	defer r.abort(nil)
	if err := r.startLoops(0, 1); err != nil {
		return err
	}
	r.watchServer()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if how.open {
		err = r.connectAll(ctx)
	}
	answers := json.NewEncoder(out)
	if told := answers.Encode(Slice{Result: r.takeSlice(0)}); told != nil || err != nil {
		return nil // what is wrong is told, or nobody wants to know
	}
	return r.obey(ctx, how, in, answers)
}

// obey does what is ordered until that ends.
func (r *run) obey(ctx context.Context, how sliced, in io.Reader, answers *json.Encoder) error {
	orders, failed := make(chan Order), make(chan error, 1)
	go func() {
		for decoder := json.NewDecoder(in); ; {
			var o Order
			if err := decoder.Decode(&o); err != nil {
				failed <- err
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if err == io.EOF {
				return nil
			}
			return fmt.Errorf("bench: an order of a slice: %w", err)
		case o := <-orders:
			s, err := r.slice(ctx, how, o)
			if err != nil || answers.Encode(s) != nil {
				return nil // it is over, or nobody wants to know
			}
		}
	}
}

// slice loads the server as long as ordered, and waits for what is under way. An error
// is ctx's.
func (r *run) slice(ctx context.Context, how sliced, o Order) (*Slice, error) {
	r.each(func(l *loop) { l.meter.intervalCount, l.meter.interval = 0, tally{} })
	r.server.begin()
	began := r.engine.Now()
	how.begin(r)
	if err := pause(ctx, o.Settle); err != nil {
		return nil, err
	}
	r.openMeters()
	before := r.effort()
	if err := pause(ctx, o.Measure); err != nil {
		return nil, err
	}
	wall := r.closeMeters()
	used := r.effort().since(before)
	how.end(r)
	left, err := r.awaitNone(ctx, how.left)
	if err != nil {
		return nil, err
	}
	whole := r.engine.Now() - began
	if left > 0 {
		r.lost(how.unit+"s that did not come to their end", left)
		if !how.open {
			r.each((*loop).dropAll) // the next slice begins anew
		}
	}
	// The kernel knows to the nanosecond what a process ran once it sleeps.
	if err := pause(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	r.server.end()
	out := r.takeSlice(wall / time.Duration(len(r.loops)))
	out.Unit = how.unit
	out.Server = r.server.inSlice(whole, r.sum(func(l *loop) int { return int(l.meter.intervalCount) }))
	out.Client.Cores = used.cores(out.Seconds)
	out.Client.Available = runtime.GOMAXPROCS(0)
	out.Client.Bottleneck = bottleneck(out)
	return &Slice{Result: out, P99: r.p99(), Taken: used.taken(wall)}, nil
}

// p99 is of all units since the slice began; 0: there is none.
func (r *run) p99() time.Duration {
	var times tally
	for _, l := range r.loops {
		l.do(func() { times.add(&l.meter.interval) })
	}
	if times.total == 0 {
		return 0
	}
	return time.Duration(times.quantile(0.99) * 1e3)
}

// effort is what the client has done so far: how long its loops waited for events, in
// sum, and the CPU time of its process; 0: it is not known.
type effort struct{ waited, cpu time.Duration }

func (r *run) effort() effort {
	used, _ := r.server.usage(r.server.self)
	return effort{
		waited: time.Duration(r.sum(func(l *loop) int { return int(l.waited) })),
		cpu:    used.CPU,
	}
}

func (e effort) since(before effort) effort {
	return effort{e.waited - before.waited, e.cpu - before.cpu}
}

// cores is how many cores the client kept busy in so many seconds, where that is known.
func (e effort) cores(seconds float64) float64 {
	if e.cpu <= 0 {
		return result.Unknown()
	}
	return e.cpu.Seconds() / seconds
}

// taken is the share of the time in which the loops neither waited nor ran, where CPU
// times are known.
func (e effort) taken(wall time.Duration) float64 {
	if e.cpu <= 0 || wall == 0 {
		return 0
	}
	return max(0, (wall-e.waited-e.cpu).Seconds()/wall.Seconds())
}

// takeSlice gives what the loops have to tell since the last one, of a window of that
// length, and begins anew.
func (r *run) takeSlice(window time.Duration) *result.Result {
	r.window = window.Seconds()
	r.only(r.takeStep("", 0))
	out := r.result
	out.Steps = nil
	var counts extras
	for _, l := range r.loops {
		l.do(func() {
			m := &l.meter
			m.addTo(out)
			counts.add(m.extras)
			m.extras = extras{}
			m.opened, m.failed, m.lost, m.troubles, m.notes = 0, 0, 0, nil, nil
			m.connect.Histogram.Reset()
		})
	}
	r.reportStream(counts)
	if out.Service.Count() == 0 {
		out.Service = nil
	}
	if out.Client.Late.Count() == 0 {
		out.Client.Late = nil
	}
	r.result = newResult(r.plan)
	return out
}

// inSlice is what the server used in a slice for so many units; nil: it is not known.
func (s *serverProcess) inSlice(whole time.Duration, units int) *result.ServerUse {
	if s.server == nil || !s.window.serverKnown {
		return nil
	}
	use := s.use
	use.CPU, use.Cores = result.Unknown(), s.window.server.Seconds()/whole.Seconds()
	if units > 0 {
		use.CPU = s.window.server.Seconds() * 1e6 / float64(units)
	}
	return &use
}
