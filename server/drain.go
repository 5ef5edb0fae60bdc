package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/ws"
)

// # Drain
//
// A server drains in phases, and only forward. Unready: Ready is false, all else
// goes on, so that balancers notice. Draining: what waits to be accepted is taken,
// the listeners close, upgrades are refused with 503, and each loop closes its
// share of the open connections at its share of the pace (drain_conn.go). When
// the last is gone net/http's part ends. Stopped: nothing is left, or it was cut.
//
// One goroutine, Server.drain's, goes through the phases and reports; it ends
// with them. The loops do the rest by themselves.

// Phase says where a server stands in its life.
type Phase uint32

const (
	PhaseServing  Phase = iota // or not yet, see Server.Ready
	PhaseUnready               // serving on for DrainOptions.Delay, with Ready false
	PhaseDraining              // accepting nothing, closing what is open
	PhaseStopped               // all is closed, or cut
)

var phaseNames = [...]string{"serving", "unready", "draining", "stopped"}

// String is the phase's name in logs and metrics.
func (p Phase) String() string {
	if int(p) >= len(phaseNames) {
		return "unknown"
	}
	return phaseNames[p]
}

// DrainOptions say how Drain goes about it. With the zero value all connections
// are closed at once with 1001, and all the time is the context's.
type DrainOptions struct {
	// Delay is how long the server serves on with Ready false before it does
	// anything, for balancers to notice; 0 is not at all.
	Delay time.Duration
	// Rate is how many connections are closed a second, jittered; 0 is all at
	// once. It is raised as far as it takes to close all before the deadline.
	Rate int
	// Timeout is the time for all connections to end, after the delay; what is
	// left then is cut. 0 leaves the deadline to the context.
	Timeout time.Duration
	// Code is that of the close frames: 0 is 1001 (going away). Peers that get
	// 1012 (service restart) should wait some seconds before they come back.
	Code ws.Code
	// Reason is theirs too; "" is "server shutting down".
	Reason string
}

// complete fills in the defaults, or says what can not be meant.
func (o *DrainOptions) complete() error {
	o.Code = cmp.Or(o.Code, ws.CodeGoingAway)
	o.Reason = cmp.Or(o.Reason, "server shutting down")
	var v validation
	atLeast0(&v, "DrainOptions.Delay", o.Delay)
	atLeast0(&v, "DrainOptions.Rate", o.Rate)
	atLeast0(&v, "DrainOptions.Timeout", o.Timeout)
	switch {
	case len(v.wrong) > 0:
		return errors.Join(v.wrong...)
	case !o.Code.Sendable():
		return fmt.Errorf("server: close code %d may not be sent", o.Code)
	case len(o.Reason) > ws.MaxControlPayload-2 || !utf8.ValidString(o.Reason):
		return fmt.Errorf("server: a close frame's reason has at most %d bytes of UTF-8: %q", ws.MaxControlPayload-2, shorten(o.Reason))
	}
	return nil
}

// DrainProgress is how far a drain has come.
type DrainProgress struct {
	Phase  Phase
	Closed uint64 // connections that have ended since draining began, those cut aside
	Cut    uint64 // those that did not end politely in time: by the deadline, Close, or a timeout of the server's
	Left   int64  // connections in the loops now
	HTTP   int64  // connections that net/http has now, of those that came in by the server's own port
}

// Ready is for readiness probes: true from when a first listener is accepted
// from, until Drain, Shutdown or Close begins. (For a server that is only mounted
// in a router of net/http, see DrainProgress's Phase.)
func (s *Server) Ready() bool {
	return s.accepting.Load() && s.phaseNow() == PhaseServing
}

// DrainProgress may be called at any time.
func (s *Server) DrainProgress() DrainProgress {
	p := DrainProgress{Phase: s.phaseNow()}
	if !s.started.Load() {
		return p
	}
	for _, l := range s.loops {
		p.Closed += l.counters.drained.Load()
		p.Cut += l.counters.cut.Load()
		p.Left += l.counters.open.Load()
	}
	p.HTTP = s.netHTTP.open.Load()
	return p
}

// Drain stops the server so that clients and balancers hardly notice: Ready turns
// false, after o.Delay the listeners close (what had connected by then is served
// or told) and the open connections get a close frame each, at a pace, and
// Timeouts.Close for their answer. A handler that is running is waited for, its
// connection is closed after it; so are requests in net/http. Handshakes under
// way get 503, or are closed if nothing has come for two seconds. An event stream gets a
// time to wait of 1 to 5 s, another one for each, and the event "close".
//
// It returns nil when all connections are closed. When ctx is done or o.Timeout
// over first, the rest is cut as by Close, and the error is ctx's or
// context.DeadlineExceeded. In the end the Logger's handler has up to a second to
// write what was logged, within ctx. A Drain or Shutdown while one is under way changes
// nothing about it: it waits for it within its own ctx. Close ends it at once.
func (s *Server) Drain(ctx context.Context, o DrainOptions) error {
	if err := o.complete(); err != nil {
		return err
	}
	if !s.neverStarts() {
		return nil
	}
	d := s.joinDrain(ctx, o)
	if d == nil {
		s.awaitLoops()
		s.flushLog(ctx)
		return nil
	}
	select {
	case <-d.done:
		s.flushLog(ctx)
		return d.err
	case <-ctx.Done():
		_ = s.Close() // always nil
		return ctx.Err()
	}
}

// drain is a drain under way.
type drain struct {
	srv     *Server
	options DrainOptions
	until   time.Time     // the deadline of the context that began it; zero: none
	window  time.Duration // in which the loops close their connections; set before they are told to
	began   time.Time
	err     error         // what Drain returns, set before done
	done    chan struct{} // closed when it is over
}

// joinDrain is the drain under way, or else a new one; nil after Close.
func (s *Server) joinDrain(ctx context.Context, o DrainOptions) *drain {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain == nil && !s.halted {
		until, _ := ctx.Deadline()
		s.drain = &drain{srv: s, options: o, until: until, began: time.Now(), done: make(chan struct{})}
		go s.drain.run()
	}
	return s.drain
}

// run goes through the phases.
func (d *drain) run() {
	s := d.srv
	d.enter(PhaseUnready)
	if d.rest() {
		d.close()
		d.see()
	}
	s.awaitLoops() // which Close may have ended
	s.enter(PhaseStopped)
	p := s.DrainProgress()
	s.log().Info("drain over", "closed", p.Closed, "cut", p.Cut, "left", p.Left, "http", p.HTTP,
		"took", time.Since(d.began).Round(time.Millisecond))
	close(d.done)
}

func (d *drain) enter(phase Phase) {
	d.srv.enter(phase)
	o, p := d.options, d.srv.DrainProgress()
	d.srv.log().Info("drain phase", "phase", phase.String(), "connections", p.Left, "http", p.HTTP,
		"delay", o.Delay, "rate", o.Rate, "timeout", o.Timeout, "code", int(o.Code))
}

// rest waits out the delay; false means that Close came first.
func (d *drain) rest() bool {
	if d.options.Delay <= 0 {
		return true
	}
	delay := time.NewTimer(d.options.Delay)
	defer delay.Stop()
	select {
	case <-delay.C:
		return true
	case <-d.srv.halt:
		return false
	}
}

// close lets the loops close what they have.
func (d *drain) close() {
	if t := d.options.Timeout; t > 0 {
		if end := time.Now().Add(t); d.until.IsZero() || end.Before(d.until) {
			d.until = end
		}
	}
	d.plan()
	d.srv.stop(draining, d.window)
	d.enter(PhaseDraining) // once all loops are told
}

// plan sets the window: as the rate asks, and so that peers closed last still have
// time to answer before the deadline: Timeouts.Close, or else a quarter of it all.
func (d *drain) plan() {
	open := d.srv.DrainProgress().Left
	if d.options.Rate <= 0 || open == 0 {
		return
	}
	d.window = time.Duration(min(float64(open)/float64(d.options.Rate)*float64(time.Second), math.MaxInt64/2))
	if d.until.IsZero() {
		return
	}
	left := max(time.Until(d.until), 0)
	if most := left - min(d.srv.limits.closing.Time(), left/4); d.window > most {
		d.window = most
		d.srv.log().Warn("drain sped up to be done in time", "connections", open, "rate", d.options.Rate,
			"needed", int(float64(open)/max(most.Seconds(), 1e-3)), "left", left.Round(time.Millisecond))
	}
}

// drainReport is the period of reports on a drain under way.
const drainReport = time.Second

// see waits for the end of all connections, for the deadline or for Close, and
// reports meanwhile.
func (d *drain) see() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	go func() { // ends with the last handler
		<-d.srv.group.Done()
		_ = d.srv.shutdownNetHTTP(ctx) // the error is ctx's, which ends only after this drain
		close(ended)
	}()
	var overdue <-chan time.Time
	if !d.until.IsZero() {
		timer := time.NewTimer(time.Until(d.until))
		defer timer.Stop()
		overdue = timer.C
	}
	report := time.NewTicker(drainReport)
	defer report.Stop()
	for {
		select {
		case <-ended:
			return
		case <-d.srv.halt:
			return
		case <-overdue:
			d.err = context.DeadlineExceeded
			d.srv.log().Warn("drain deadline passed", "left", d.srv.DrainProgress().Left)
			d.srv.closeAll()
			return
		case <-report.C:
			d.report()
		}
	}
}

func (d *drain) report() {
	p := d.srv.DrainProgress()
	d.srv.log().Info("drain goes on",
		"closed", p.Closed, "cut", p.Cut, "left", p.Left, "http", p.HTTP)
}

// phaseWord holds a Phase that only grows.
type phaseWord struct{ word atomic.Uint32 }

func (s *Server) phaseNow() Phase { return Phase(s.phase.word.Load()) }

// enter moves the server on to a phase, never back.
func (s *Server) enter(phase Phase) {
	for {
		now := s.phase.word.Load()
		if now >= uint32(phase) || s.phase.word.CompareAndSwap(now, uint32(phase)) {
			return
		}
	}
}
