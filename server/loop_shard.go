package server

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
)

// # Loops and connections
//
// Who runs when is package loop's: it gives connections their turns, keeps their
// deadlines, and hands a loop over when a handler is slow. What a connection does in
// its turn is told here. The two meet in this file: a shard is a loop with its share
// of the server, a member is a connection as its loop sees it.

// reason says why a connection gets a turn; several may come together.
type reason = loop.Reason

const (
	readable = loop.Readable
	writable = loop.Writable
	hangup   = loop.Hangup
	woken    = loop.Woken
	expired  = loop.Expired
	draining = loop.Draining
	stopped  = loop.Stopped
	emptied  = loop.Flushed // the queue was written out beside its slow turn
)

// tick is a time in tenths of a second on the engine's clock, ticks a duration.
type (
	tick  = loop.Tick
	ticks = loop.Ticks
)

const noDue = loop.NoDue

// newGroup is the server's loops to be, and what leads them.
func (s *Server) newGroup() *loop.Group {
	return loop.NewGroup(loop.Config{
		Clock: s.engine, Log: s.log(), Batch: s.limits.eventsPerBatch, MaxWorkers: s.limits.workers,
		NewWorker: s.newWorker,
	})
}

// endGroup ends the group when nothing is left that may need a turn.
func (s *Server) endGroup() {
	s.loopsDone.Wait()
	s.handshakes.over.Wait() // their connections are closed: they end soon
	s.group.End()
}

// shard is a loop with its share of the server. There is one for each processor.
type shard struct {
	loop.Loop[*member]
	srv    *Server
	index  uint32 // in Server.loops
	engine poller.Engine
	poll   poller.Poller
	coming atomic.Int64 // arrivals that were posted, and not admitted yet

	// The leader's.
	listeners []*acceptor
	roomLook  tick // when to look for silent TLS handshakes; noDue: nobody waits for one

	queues     holders // of the outbound account
	unfinished holders // of the inbound one
	counters   loopCounters
	groups     groupLog
}

func newShard(s *Server, p poller.Poller) *shard {
	l := &shard{srv: s, index: uint32(len(s.loops)), engine: s.engine, poll: p, roomLook: noDue}
	l.Init(s.group, l, p)
	l.groups.init(l)
	return l
}

// Round implements loop.Host.
func (l *shard) Round() {
	l.srv.logLimits(l.Now())
	l.lookForRoom(l.Now())
}

// Stopping implements loop.Host: it has the listeners closed.
func (l *shard) Stopping(why reason) {
	for _, a := range l.listeners {
		if why&stopped != 0 {
			l.closeListener(a, ErrServerClosed)
		} else {
			l.closeSoon(a)
		}
	}
}

// Ended implements loop.Host.
func (l *shard) Ended() { l.srv.loopsDone.Done() }

// member is a Conn as its loop sees it: a type of its own, or what a loop calls would
// be methods of Conn that everybody sees.
type member Conn

// member is c for its loop.
func (c *Conn) member() *member { return (*member)(c) }

// Seat implements loop.Member.
func (m *member) Seat() *loop.Seat { return &m.seat }

// Failed implements loop.Member: the handler, or the Upgrade hook, has panicked or
// called runtime.Goexit.
func (m *member) Failed(w *loop.Worker, panicked any) {
	c := (*Conn)(m)
	c.loop.logPanic(panicked, c.RemoteName())
	w.HostData.(*worker).decoder = c.loop.srv.newDecoder()
	c.endPanicked()
}

// logPanic counts and logs a panic of the application's code, while the stack is still there.
func (l *shard) logPanic(panicked any, remote string) {
	stack := make([]byte, 16<<10)
	stack = stack[:runtime.Stack(stack, false)]
	l.counters.panics.Add(1)
	l.srv.log().Error("handler panicked", "panic", fmt.Sprintf("%+v", panicked), "at", panickedAt(), "remote", remote, "stack", string(stack))
}

// panickedAt is the line that has panicked, or called runtime.Goexit, as "function
// file:line": in the stack it stands below the frames that found out. It is called while
// the stack is still there.
func panickedAt() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	for below := false; ; {
		frame, more := frames.Next()
		ofRuntime := strings.HasPrefix(frame.Function, "runtime.")
		switch {
		case below && !ofRuntime:
			return fmt.Sprintf("%s %s:%d", frame.Function, frame.File, frame.Line)
		case frame.Function == "runtime.gopanic" || frame.Function == "runtime.Goexit":
			below = true
		}
		if !more {
			return ""
		}
	}
}

// LostLoop implements loop.Member: what the slow handler has sent goes out.
func (m *member) LostLoop() {
	c := (*Conn)(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncork()
	c.tellOvertaken()
	if c.queue() != nil {
		c.wake() // for the write deadline, see MissedWhileAway
	}
}

// MissedWhileAway implements loop.Member: the leader goes on writing the queue, for which the
// slow handler may be waiting, watches its deadline, and ends the context of the
// connection, or of a slow Upgrade hook.
func (m *member) MissedWhileAway(why reason) (more reason) {
	c := (*Conn)(m)
	if why&writable != 0 && c.flushAway() {
		more = emptied
	}
	if why&(woken|expired) != 0 {
		c.watchAway()
	}
	c.tellAway(why)
	return more
}

// Drains implements loop.Member: a connection that is not open yet has a little time
// to bring the request that may be on its way.
func (m *member) Drains() {
	c := (*Conn)(m)
	if l := c.loop; c.stateNow() < stateOpen {
		l.SetDue(m, min(l.Due(&c.seat), l.RightNow()+l.srv.limits.grace))
	}
}

// NextDue implements loop.Member.
func (m *member) NextDue() tick { return (*Conn)(m).nextDue() }

// Left implements loop.Member.
func (m *member) Left() { m.loop.discard((*Conn)(m)) }
