package server

import (
	"container/list"
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// # Slow hooks
//
// An Upgrade hook runs in its connection's turn, and may ask a database. While it is
// slow it holds a worker, as a handler does. So that newcomers do not hold all of them,
// hooks have places of their own, half of Runtime.Workers: a connection that finds none
// waits in a line, with its request, and is woken when a place is free. Meanwhile it is
// not read.
//
// What happens to a connection in a slow hook its loop's leader sees: the peer is gone,
// the handshake's time is over, the server stops. Then the hook's context ends.

// hooks are the places of a server's hooks.
type hooks struct {
	max     int
	running atomic.Int64
	waiting atomic.Int64 // as many as are in line

	mu   sync.Mutex // no other lock is taken under it; Conn.mu may be held
	line list.List  // of *hookWait
}

// hookWait is a connection that waits.
type hookWait struct {
	conn    *Conn
	peer    netip.AddrPort // the connection's, before it stood for its client
	element *list.Element  // in the line; nil: it has a place. Guarded by hooks.mu
}

// init leaves each loop a worker.
func (h *hooks) init(workers, loops int) { h.max = max(min(workers/2, workers-loops), 1) }

// enter takes a place, if there is one.
func (h *hooks) enter() bool { return countIn(&h.running, h.max) }

// leave frees a place.
func (h *hooks) leave() {
	h.running.Add(-1)
	h.wake()
}

// wait puts c in the line.
func (h *hooks) wait(c *Conn, peer netip.AddrPort) *hookWait {
	w := &hookWait{conn: c, peer: peer}
	h.mu.Lock()
	w.element = h.line.PushBack(w)
	h.mu.Unlock()
	h.waiting.Add(1)
	h.wake() // a place may have become free before
	return w
}

// wake gives places that are free to those in line.
func (h *hooks) wake() {
	for h.waiting.Load() > 0 && h.enter() {
		if c := h.next(); c != nil {
			c.wake()
		} else {
			h.running.Add(-1)
		}
	}
}

func (h *hooks) next() *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.line.Front()
	if first == nil {
		return nil
	}
	h.waiting.Add(-1)
	w := h.line.Remove(first).(*hookWait)
	w.element = nil
	return w.conn
}

// has says whether the connection that waited has a place now.
func (h *hooks) has(w *hookWait) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.element == nil
}

// forget gives up the place, in the line or not, of a connection that ends.
func (h *hooks) forget(w *hookWait) {
	h.mu.Lock()
	inLine := w.element != nil
	if inLine {
		h.line.Remove(w.element)
		h.waiting.Add(-1)
	}
	h.mu.Unlock()
	if !inLine {
		h.leave()
	}
}

// errWaits says that an upgrade waits for a place of the hooks.
var errWaits = errors.New("server: the upgrade waits")

var (
	refuseHooks    = busy("too many upgrades at once", "1")
	refuseSlowHook = busy("the upgrade took too long", "1")
	refuseLeft     = busy("the client has left", "1")
)

// enterHook takes a place for the upgrade, or says that it has to wait.
func (c *Conn) enterHook() error {
	h := &c.loop.srv.hooks
	if c.in != nil && c.in.hook != nil { // it has waited
		c.in.hook = nil
		return nil
	}
	if h.enter() {
		return nil
	}
	return errWaits
}

// awaitHook waits for a place with the bytes received so far, the head and what is
// behind it.
func (c *Conn) awaitHook(w *worker, in []byte, scanner *ws.HeadScanner, peer netip.AddrPort) {
	c.keepHead(*scanner, in)
	w.readAhead()
	c.in.hook = c.loop.srv.hooks.wait(c, peer)
}

// waitsForHook says whether the connection waits for a place: it is not read then.
func (c *Conn) waitsForHook() bool { return c.in != nil && c.in.hook != nil }

// maxBehind bounds what is kept of what comes behind a request that waits.
const maxBehind = 64 << 10

// lookForEnd reads on behind a request that waits, to see whether the peer is gone.
func (c *Conn) lookForEnd(w *worker) {
	if len(c.in.head.B) > maxBehind {
		return
	}
	n, _, err := c.receive(w)
	switch {
	case err == nil:
		w.received.bytes += n
		c.in.head = c.in.head.Grow(n)
		c.in.head.B = append(c.in.head.B, w.in[:n]...)
		c.seat.Again(readable | hangup) // to the end
	case err != poller.ErrAgain:
		c.end(errGone, endNow)
	}
}

// resumeHook goes on with an upgrade whose place has come.
func (c *Conn) resumeHook(w *worker) {
	if c.stateNow() != stateHead || !c.loop.srv.hooks.has(c.in.hook) {
		return // it has ended, or was woken for another reason
	}
	if rest := c.consumeHead(w, nil); c.stateNow() == stateOpen {
		c.consumeOpen(w, rest)
	}
	c.trimInbound()
	c.seat.Again(readable | hangup) // it was not read
}

// decideIn is decide in a turn, which has a place for it, and gives the hook a context.
func (w *worker) decideIn(c *Conn, r *ws.Request) (accept Accept, err error) {
	w.hooked, r.Ctx = c, w
	w.readAhead()
	gone := readable // of a bridge, whose reader may have met the end behind the request
	if c.is(hungUp) {
		gone = hangup
	}
	c.tellAway(gone)
	var over error
	defer func() { w.endHook(c, r) }() // also if it panics
	accept, err = c.loop.srv.decide(r)
	c.mu.Lock()
	if c.facts != nil && c.facts.context != nil {
		over = c.facts.context.over
	}
	c.mu.Unlock()
	return accept, c.loop.srv.hookAnswer(err, over)
}

// readAhead has somebody look whether the peer is still there, where no poller does.
func (w *worker) readAhead() {
	if b, ok := w.stream.(*bridge); ok {
		b.readAhead()
	}
}

// hookAnswer is the answer to a hook's error: another one than err where it gave up
// because its context ended. cause is why that has ended, nil if it has not.
func (s *Server) hookAnswer(err, cause error) error {
	if err == nil || cause == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, cause) {
		return err
	}
	switch cause {
	case errTooLate:
		s.hit(LimitHandshakeTimeout)
		return refuseSlowHook
	case errStopped:
		return refuseStopping
	}
	return refuseLeft // and reads no answer
}

// endHook gives the place back, and lets those go that wait for the context.
func (w *worker) endHook(c *Conn, r *ws.Request) {
	w.hooked, r.Ctx = nil, nil
	var end context.CancelCauseFunc
	c.mu.Lock()
	if f := c.facts; f != nil && f.context != nil {
		end = f.context.end
		f.context = nil
	}
	c.mu.Unlock()
	if end != nil {
		end(context.Canceled)
	}
	c.loop.srv.hooks.leave()
}

// Context is that of the hook which the worker is in. It is made when it is asked for.
func (w *worker) Context() context.Context {
	c := w.hooked
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.contextPlace().get()
}
