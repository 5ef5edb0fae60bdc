package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// childVariable is set in the environment of child processes.
const childVariable = "MILLBENCH_CHILD"

// RunChild does a child's share of a run, if this process is a child: Run starts
// the same program again if Plan.Processes asks for that. So main calls it before
// all else, and nothing may be written to the standard output before:
//
//	if isChild, exitCode := bench.RunChild(); isChild {
//		os.Exit(exitCode)
//	}
//
// In other processes it does nothing.
func RunChild() (isChild bool, exitCode int) {
	if os.Getenv(childVariable) == "" {
		return false, 0
	}
	// These reach all processes of a terminal. The parent, which gets them too,
	// says when to stop, by the end of the standard input.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return true, 1
	}
	return true, 0
}

// work does the share that the first order gives.
func work() error {
	orders := json.NewDecoder(os.Stdin)
	boss := &parent{met: make(chan meeting, 1), out: json.NewEncoder(os.Stdout)}
	var first order
	switch err := orders.Decode(&first); {
	case err == io.EOF: // stopped already
		boss.say(report{End: &outcome{}})
		return nil
	case err != nil:
		return fmt.Errorf("bench: a child process has no parent: %w", err)
	case first.Begin == nil:
		return errors.New("bench: a child process has no plan")
	}
	p := &first.Begin.Plan
	p.ServerPID = -1 // the parent watches the server
	if _, _, err := poller.RaiseDescriptorLimit(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t, err := newTarget(ctx, p)
	if err != nil {
		return err
	}
	r, err := newRun(p, t, Watch{})
	if err != nil {
		return err
	}
	boss.ctx, boss.run = ctx, r
	r.team = boss
	if err := r.startLoops(first.Begin.Index, p.Processes); err != nil {
		return err
	}
	r.watchServer()
	go func() {
		boss.obey(orders)
		cancel()
	}()
	if err := r.scenario()(ctx); err != nil && err != errNothingOpen && ctx.Err() == nil {
		return err
	}
	boss.say(report{End: r.outcome()})
	return nil
}

// outcome ends the loops and gives what they did.
func (r *run) outcome() *outcome {
	for _, l := range r.loops {
		l.stop()
	}
	r.ended.Wait()
	o := &outcome{Memory: r.result.Client.Memory}
	for _, l := range r.loops {
		o.Loops = append(o.Loops, l.meter.counted())
	}
	return o
}

// parent is the parent as its child sees it: the team that it is in.
type parent struct {
	ctx context.Context // ends when the parent wants no more
	run *run
	met chan meeting

	mu  sync.Mutex
	out *json.Encoder
}

// say gives a report.
func (p *parent) say(r report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(r) // without a parent there is no one to tell
}

// obey does what the parent says, until it says no more.
func (p *parent) obey(orders *json.Decoder) {
	interval := NewLatency()
	for {
		var o order
		switch err := orders.Decode(&o); {
		case err != nil:
			return
		case o.Met != nil:
			p.met <- *o.Met // one at a time, and awaited
		case o.Sample:
			var s Sample
			interval.Histogram.Reset()
			p.run.gather(&s, interval)
			p.say(report{Sample: &moment{Connections: s.Connections, Count: s.Count, Latency: interval}})
		}
	}
}

// meet tells the parent and waits for its word, or for the end.
func (p *parent) meet(m meeting) meeting {
	m.Open = p.run.openNow()
	p.say(report{Met: &m})
	select {
	case all := <-p.met:
		return all
	case <-p.ctx.Done():
		return m
	}
}

func (p *parent) empty() bool {
	p.say(report{Empty: true})
	return false // the parent ends the run if others say so too
}
