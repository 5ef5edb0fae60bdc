package server

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/ws"
)

// worker is a goroutine that leads a loop, or waits on standby to lead one. It
// owns the buffers of the turn it runs: what a connection must keep beyond its
// turn moves to the connection.
type worker struct {
	srv     *Server
	loops   chan *loop // the loop to lead next
	in      []byte     // what a read fills
	raw     []byte     // what a read of a TLS connection fills, nil until there is one
	out     outbound   // what the turn's connection sends: the cork
	decoder *ws.Decoder
	request ws.Request
	plain   []byte // the 101 response being made
	facts   facts  // of the connection being opened, see Conn.Request
	dated   string // the Date of answers
	datedAt tick   // when that was asked for

	turn     uint64     // the turn word of the turn under way
	noted    uint64     // the last turn of which noteSlow has told
	hooked   *Conn      // whose Upgrade hook is under way
	since    tick       // when its connection came; set where that counts, for expire
	stream   stream     // of its connection, nil: the descriptor
	deflate  *deflation // likewise, nil: no compression
	pacing   pacing     // of its connection
	round    round      // of the loop, since the worker leads it
	received turnStats
	takenAt  atomic.Int64 // when the watchdog last took a loop from it, as a time since started
}

func newWorker(s *Server) *worker {
	w := &worker{srv: s, loops: make(chan *loop, 1)}
	w.out.corked = true
	w.in = make([]byte, s.limits.readBuffer)
	w.decoder = s.newDecoder()
	return w
}

// rawRoom is room for received records, for one call.
func (w *worker) rawRoom() []byte {
	if w.raw == nil {
		w.raw = make([]byte, rawRoom)
	}
	return w.raw
}

// run leads loops until there is no more use for the worker.
func (w *worker) run() {
	for l := range w.loops {
		l.lead(w)
		if !w.srv.crew.putBack(w) {
			return
		}
	}
}

// rescue ends the turn of a handler that panicked, or called runtime.Goexit
// (panicked is nil then, and this goroutine is about to end: another takes its
// place).
func (w *worker) rescue(c *Conn, panicked any) {
	l := c.loop
	stack := make([]byte, 16<<10)
	stack = stack[:runtime.Stack(stack, false)]
	l.counters.panics.Add(1)
	l.srv.log().Error("handler panicked", "panic", fmt.Sprintf("%+v", panicked), "remote", c.RemoteName(), "stack", string(stack))
	w.decoder = w.srv.newDecoder()
	c.endPanicked()
	if panicked != nil {
		c.takeTurn(w, 0) // the handler's Close is due
		return
	}
	successor := newWorker(w.srv)
	successor.turn = w.turn
	successor.received, successor.out.sent = w.received, w.out.sent
	go func() {
		c.takeTurn(successor, 0)
		if l.finishTurn(c, w.turn) {
			l.lead(successor)
		}
		if w.srv.crew.putBack(successor) {
			successor.run()
		}
	}()
}

// reportPeriod is the least time between two reports of the same trouble.
const reportPeriod = 10 * time.Second

// reportShortage logs, once a period, that all workers are held by slow
// handlers, with the stack of one.
func (cr *crew) reportShortage() {
	cr.mu.Lock()
	now := time.Now()
	due := now.Sub(cr.lastReport) >= reportPeriod
	if due {
		cr.lastReport = now
	}
	cr.mu.Unlock()
	if due {
		cr.srv.log().Warn("all workers held by slow handlers",
			"workers", cr.srv.limits.workers, "stack", slowStack())
	}
}

// slowStack is the stack of a goroutine that is in a handler.
func slowStack() string {
	all := make([]byte, 256<<10)
	all = all[:runtime.Stack(all, true)]
	for stack := range bytes.SplitSeq(all, []byte("\n\n")) {
		if bytes.Contains(stack, []byte("server.(*Conn).takeTurn")) {
			return string(stack)
		}
	}
	return "none found in the first 256 KiB of stacks"
}

// started is what times of the watchdog count from: deadlines have another clock,
// which a test may move.
var started = time.Now()

// noteSlow tells, once a turn, that it has lost its loop, and in which callback of the
// application: the one that has just returned.
func (w *worker) noteSlow(c *Conn, callback string) {
	if c.loop.turnWord.Load() != w.turn {
		w.tellSlow(c, callback)
	}
}

func (w *worker) tellSlow(c *Conn, callback string) {
	if w.noted != w.turn {
		w.noted = w.turn
		c.logSlow(callback, time.Since(started)-time.Duration(w.takenAt.Load())+watchdogPeriod)
	}
}
