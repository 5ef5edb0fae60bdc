package load

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

	"github.com/millrace/millrace/bench/result"
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

// work does the share that the first command gives.
func work() error {
	commands := json.NewDecoder(os.Stdin)
	others := &parent{reached: make(chan barrier, 1), out: json.NewEncoder(os.Stdout)}
	var first command
	switch err := commands.Decode(&first); {
	case err == io.EOF: // stopped already
		others.send(report{End: &outcome{}})
		return nil
	case err != nil:
		return fmt.Errorf("bench: a child process has no parent: %w", err)
	case first.Begin == nil:
		return errors.New("bench: a child process has no plan")
	}
	p := &plan{first.Begin.Plan}
	p.ServerPID = -1 // the parent watches the server
	if _, _, err := poller.RaiseDescriptorLimit(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t, err := newTarget(ctx, p, first.Begin.Address)
	if err != nil {
		return err
	}
	h, err := thisHost(p)
	if err != nil {
		return err
	}
	h.stolen = nil // the parent looks
	r := newRun(p, h, t, Watch{})
	others.ctx, others.run = ctx, r
	r.group = others
	if err := r.startLoops(first.Begin.Index, p.Processes); err != nil {
		return err
	}
	r.watchServer()
	go func() {
		others.receive(commands)
		cancel()
	}()
	if err := r.scenario()(ctx); err != nil && !errors.Is(err, errNothingOpen) && ctx.Err() == nil {
		return err
	}
	others.end()
	return nil
}

// outcome ends the loops and gives what they did.
func (r *run) outcome() *outcome {
	for _, l := range r.loops {
		l.stop()
	}
	r.ended.Wait()
	o := &outcome{Memory: r.result.Client.Memory, Settled: r.publication.tellParent(), PublishWindow: r.publication.window()}
	if r.publication != nil {
		o.GivenUp = r.publication.givenUp.Load()
	}
	for _, l := range r.loops {
		o.Loops = append(o.Loops, l.meter.counted())
	}
	return o
}

// parent is the parent as its child sees it: the way to the other processes.
type parent struct {
	ctx     context.Context // ends when the parent wants no more
	run     *run
	reached chan barrier // by all

	mu  sync.Mutex
	out *json.Encoder

	// telling is held while what is known since the last time is taken and sent, so that
	// nothing of it follows the end, behind which nobody listens. mu may be taken under it.
	telling sync.Mutex
	ended   bool
}

// send sends a report.
func (p *parent) send(r report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(r) // without a parent there is no one to tell
}

// receive does what the parent's commands ask for, until the last.
func (p *parent) receive(commands *json.Decoder) {
	for {
		var c command
		switch err := commands.Decode(&c); {
		case err != nil:
			return
		case c.Reached != nil:
			p.reached <- *c.Reached // one at a time, and awaited
		case c.Sample:
			p.sample()
		}
	}
}

// sample answers command.Sample, before the end.
func (p *parent) sample() {
	p.telling.Lock()
	defer p.telling.Unlock()
	if p.ended {
		return
	}
	var s result.Sample
	var times tally
	is := p.run.gather(&s, &times)
	p.send(report{Sample: &moment{
		Connections: s.Connections, Count: s.Count, Times: times.sparse(), Seen: is,
		Orphaned: p.run.publication.orphans(), Settled: p.run.publication.tellParent(),
	}})
}

// end is this process's last word.
func (p *parent) end() {
	p.telling.Lock()
	defer p.telling.Unlock()
	p.ended = true
	p.send(report{End: p.run.outcome()})
}

// await reports that this process has reached a barrier, and waits until all have,
// or for the end.
func (p *parent) await(b barrier) barrier {
	b.Open = p.run.openNow()
	p.send(report{Reached: &b})
	select {
	case all := <-p.reached:
		return all
	case <-p.ctx.Done():
		return b
	}
}

func (p *parent) noneOpen() bool {
	p.send(report{NoneOpen: true})
	return false // the parent ends the run if others say so too
}
