package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/millrace/millrace/internal/load"
)

// slicer is a client that loads its server only while it is told to.
type slicer struct {
	*process
	stdin   *os.File
	orders  *json.Encoder
	answers chan *load.Slice // closed at the end of its output
	gone    chan struct{}    // closed when nobody listens any more
}

// startSlicer starts one. Whoever does closes it.
func startSlicer(argv []string) (*slicer, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	defer theirOut.Close()
	p, err := start(argv, theirIn, theirOut)
	if err != nil {
		_, _ = in.Close(), out.Close()
		return nil, err
	}
	c := &slicer{process: p, stdin: in, orders: json.NewEncoder(in), answers: make(chan *load.Slice), gone: make(chan struct{})}
	go c.listen(out)
	return c, nil
}

// listen takes what the client says until it ends.
func (c *slicer) listen(out *os.File) {
	defer out.Close()
	defer close(c.answers)
	for decoder := json.NewDecoder(out); ; {
		var s load.Slice
		if err := decoder.Decode(&s); err != nil || s.Result == nil {
			return
		}
		select {
		case c.answers <- &s:
		case <-c.gone:
			return
		}
	}
}

// order asks for a slice, and gives it. The error is why it does not count.
func (c *slicer) order(ctx context.Context, o load.Order) (*load.Slice, error) {
	if err := c.orders.Encode(o); err != nil {
		return nil, c.silent()
	}
	return c.answer(ctx)
}

// answer is the next slice.
func (c *slicer) answer(ctx context.Context) (*load.Slice, error) {
	select {
	case s, ok := <-c.answers:
		if !ok {
			return nil, c.silent()
		}
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *slicer) silent() error {
	if !c.endsWithin(pipeLimit) {
		return fmt.Errorf("client said what makes no sense")
	}
	return fmt.Errorf("client gave no result: %s", c.fate())
}

// close ends the client.
func (c *slicer) close() {
	close(c.gone)
	_ = c.stdin.Close()
	c.stop()
}

// fits is how often what a server takes for 99 of 100 units has to fit into a slice. In
// a shorter one most would be under way at its begin or its end, and chance would say
// how many come back in it.
const fits = 4

// seat is a server that takes turns with others, and its client.
type seat struct {
	*started
	client *slicer
	rounds []Slice
	empty  int       // of them: nothing came back in them
	result *measured // of the last slice
	err    error     // why nothing of it counts
}

// sit starts the servers of a scenario, in this order, each with a client whose
// connections stay open, and has them loaded in turn, in slices. An idle one costs the
// others nothing. Slices are longer if one of the servers, as it is warmed up, takes too
// long for them, up to all of the duration: then it shows what it would in a run by
// itself. Base is the place of the one that ratios are to. It gives what each did; when
// ctx is over, what was done by then.
func (l *lab) sit(ctx context.Context, servers []*server, base int, sc scenario, repetition int) []Run {
	var seats []*seat
	for _, s := range servers {
		seat := l.seat(ctx, s, sc)
		defer seat.leave()
		seats = append(seats, seat)
	}
	slice := l.slice
	if l.warmup > 0 {
		for _, s := range seats {
			if got := l.turn(ctx, s, load.Order{Measure: l.warmup}); got != nil {
				slice = max(slice, min(fits*got.P99, l.duration))
			}
		}
	}
	rounds, turn := int((l.duration+slice-1)/slice), 0
	for round := 1; round <= rounds && ctx.Err() == nil; round++ {
		for _, i := range turns(len(seats), base, repetition, round) {
			s := seats[i]
			turn++
			theft := watchSteal(l.mostStolen, l.serverCPUs, l.clientCPUs)
			theft.begin()
			if got := l.turn(ctx, s, load.Order{Settle: settle, Measure: slice}); got != nil {
				s.keep(got, Slice{Turn: turn, Measured: slice, ThrownAway: theft.end(got.Taken)})
			}
		}
	}
	var runs []Run
	for i, s := range seats {
		if ctx.Err() != nil && len(s.rounds) == 0 {
			continue // it was cut short
		}
		run := s.run()
		run.Server, run.Repetition = servers[i].name, repetition
		runs = append(runs, run)
	}
	return runs
}

// seat starts a server and its client, and waits for the connections.
func (l *lab) seat(ctx context.Context, s *server, sc scenario) *seat {
	ctx, cancel := l.limited(ctx)
	defer cancel()
	seat := &seat{}
	if seat.started, seat.err = l.startServer(s, sc); seat.err != nil {
		return seat
	}
	ctx, release := seat.bound(ctx)
	defer release()
	if seat.err = l.listening(ctx, seat.address()); seat.err == nil {
		seat.client, seat.err = startSlicer(slices.Concat(l.clientPin, l.generator.slices(sc, seat.target)))
	}
	if seat.err == nil {
		var opened *load.Slice
		if opened, seat.err = seat.client.answer(ctx); seat.err == nil {
			seat.err = trouble(opened.Result)
		}
	}
	seat.fail(seat.err)
	return seat
}

// fail notes why nothing of a server counts, if it is so, and ends it: it may be busy
// still.
func (s *seat) fail(err error) {
	if s.err = s.why(err); s.err != nil {
		s.leave()
	}
}

// turn gives a server a slice; nil: nothing of it counts.
func (l *lab) turn(ctx context.Context, s *seat, o load.Order) *load.Slice {
	if s.err != nil || ctx.Err() != nil {
		return nil
	}
	limited, cancel := l.limited(ctx)
	defer cancel()
	whileItLives, release := s.bound(limited)
	defer release()
	got, err := s.client.order(whileItLives, o)
	if err == nil {
		err = trouble(got.Result)
	}
	if err != nil && ctx.Err() == nil { // else it was cut short
		s.fail(err)
	}
	if err != nil {
		return nil
	}
	return got
}

// keep keeps a slice, or why it is thrown away. One in which nothing came back has a
// rate of 0: without it, a server would be the better for not answering.
func (s *seat) keep(got *load.Slice, slice Slice) {
	s.result = figuresOf(got.Result)
	slice.Bottleneck = s.result.bottleneck
	if slice.ThrownAway == "" {
		slice.Figures = s.result.figures
		if got.Result.Count == 0 {
			s.empty++
		}
	}
	s.rounds = append(s.rounds, slice)
}

// leave ends a server and its client, if that is not done.
func (s *seat) leave() {
	if s.client != nil {
		s.client.close()
		s.client = nil
	}
	if s.started != nil {
		s.stop()
	}
}

// run is what all slices say together: the median of each figure. That of the rate is
// none if nothing came back in most of them.
func (s *seat) run() Run {
	if s.err != nil {
		return Run{Error: s.err.Error()}
	}
	run := Run{Slices: s.rounds, Figures: map[string]float64{}, machine: s.result.machine}
	values, good, bound := map[string][]float64{}, 0, 0
	for _, slice := range s.rounds {
		if slice.ThrownAway != "" {
			continue
		}
		good++
		for name, v := range slice.Figures {
			values[name] = append(values[name], v)
		}
		if slice.Bottleneck != "" {
			bound++
			run.Bottleneck = slice.Bottleneck
		}
	}
	switch {
	case s.empty > 0 && s.empty == good:
		return Run{Error: errNothing.Error()}
	case 2*s.empty > good:
		return Run{Error: fmt.Sprintf("%v in %d of %d slices", errNothing, s.empty, good)}
	}
	if 2*bound < good {
		run.Bottleneck = ""
	}
	for name, v := range values {
		run.Figures[name] = estimate(v).Median
	}
	return run
}
