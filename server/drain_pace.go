package server

import (
	"math/rand/v2"
	"time"

	"github.com/millrace/millrace/poller"
)

// drainPace is a loop's share of a drain: which connection is closed when. It is
// the leader's.
//
// The window is cut into as many steps as there were connections, and one is
// closed in each, at a random moment: the rate is exact, and no two servers, nor
// two loops of one, keep time together. The cursor jumps through the table rather
// than walks, so that clients that came together do not go together.
type drainPace struct {
	start  time.Duration // on the engine's clock
	step   time.Duration // 0: all at once
	next   time.Duration // when the next one is due
	closed int           // connections taken so far
	cursor int           // places of the table looked at so far
	chunks int           // of the table, when it began: what came later gets no visit
	seed   uint64
}

// drainsARound bounds the connections closed in one go, so that the loop serves
// the others meanwhile.
const drainsARound = 512

func newDrainPace(t *table, window, now time.Duration) *drainPace {
	d := &drainPace{start: now, chunks: len(t.chunks), seed: rand.Uint64()}
	if t.used > 0 {
		d.step = window / time.Duration(t.used)
	}
	d.setNext()
	return d
}

// setNext sets the moment of the next one within its step.
func (d *drainPace) setNext() {
	random := (uint64(d.closed)*0x9e3779b97f4a7c15 ^ d.seed) * 0xbf58476d1ce4e5b9
	within := time.Duration(float64(d.step) * float64(random>>11) / (1 << 53))
	d.next = d.start + d.step*time.Duration(d.closed) + within
}

// take is the next connection; nil means that there are none left. Each place is
// looked at once in all: chunk by chunk, and in each chunk far from the last.
func (d *drainPace) take(t *table) *Conn {
	const jump = 1021 // prime to chunkSlots, or places would be left out
	for d.cursor < d.chunks*chunkSlots {
		chunk, i := d.cursor%d.chunks, d.cursor/d.chunks*jump%chunkSlots
		d.cursor++
		if c := t.chunks[chunk].conns[i]; c != nil {
			d.closed++
			d.setNext()
			return c
		}
	}
	return nil
}

// beginDrain begins to close what the loop has.
func (l *loop) beginDrain() {
	l.pace = newDrainPace(&l.table, l.srv.drain.window, l.engine.Now())
	for _, a := range l.listeners {
		l.closeSoon(a)
	}
}

// drainSome gives the connections whose time has come a turn to be closed in.
func (l *loop) drainSome() {
	now := l.engine.Now()
	for range drainsARound {
		if l.pace.next > now {
			return
		}
		c := l.pace.take(&l.table)
		if c == nil {
			l.pace = nil
			return
		}
		if c.lifeNow() < lifeOpen {
			l.setDue(c, min(l.table.due(c.slot), l.rightNow()+l.srv.limits.grace))
		}
		l.visits = append(l.visits, visit{conn: c, why: draining})
	}
}

// acceptRest is how long the queue of a listener that closes is taken from.
const acceptRest = time.Second

// closeSoon closes a listener once its queue is empty: who is in it has connected,
// and would be reset.
func (l *loop) closeSoon(a *acceptor) {
	a.closes = true
	a.closeBy = l.now() + ticksOf(acceptRest)
	l.accept(a)
}

// restAccepted says whether a listener that closes has been given enough, and
// closes it then. err is why Accept gave no connection, nil after one.
func (l *loop) restAccepted(a *acceptor, err error) bool {
	if !a.closes || err != poller.ErrAgain && l.now() < a.closeBy {
		return false
	}
	if err != poller.ErrAgain {
		l.srv.log().Warn("connections reset in the accept queue", "addr", a.ln.Addr(), "err", err)
	}
	l.closeListener(a)
	return true
}

const (
	// bridgeRest is how long a bridge's reader has found nothing when all that had
	// arrived has come over; so often it is looked at.
	bridgeRest       = tickTime
	bridgeLook ticks = 1
	// bridgeArrived is more than can have arrived, as systems are set up.
	bridgeArrived = 8 << 20
)

// arriving says whether a drain waits for what had arrived when it came to this
// connection: the peer may have sent it long ago. What comes later is not waited for.
func (c *Conn) arriving(w *worker) bool {
	if c.lifeNow() != lifeOpen {
		return false
	}
	switch state := c.state.Load(); {
	case state&pausedByHandler != 0:
		c.putOff()
		return c.drainsBy(c.loop.srv.limits.grace)
	case state&pausedByQueue != 0: // the write deadline bounds it
		c.putOff()
		c.in.drains, c.in.drainAt = true, 0
		return true
	case c.in != nil && c.in.putOff: // it was paused: a turn is to come
		c.in.drains = true
		return true
	}
	received, left := c.received(w), 0
	switch {
	case c.fd < 0:
		return c.arrivingOverBridge(w, received)
	case c.more&readable == 0: // the read came short
	case c.in == nil || c.in.drainMost == 0:
		left = c.unread()
	case received < c.in.drainMost:
		left = int(c.in.drainMost - received)
	}
	if left > 0 {
		c.partial().drainMost = received + uint64(left)
		c.more |= draining
	} else if c.in != nil {
		c.in.drainMost = 0
		c.dropHead()
	}
	return left > 0
}

// drainsBy puts a drain off for so long, for a handler to resume reading.
func (c *Conn) drainsBy(wait ticks) bool {
	if c.noTimeToDrain() {
		return false
	}
	in := c.in
	if !in.drains {
		in.drains, in.drainAt = true, c.loop.rightNow()+wait
		c.wantsDue = true
	}
	if in.drainAt == 0 || c.loop.rightNow() < in.drainAt {
		return true
	}
	in.drains, in.drainAt = false, 0
	return false
}

// noTimeToDrain says whether the drain's deadline is so near that peers are better told
// at once.
func (c *Conn) noTimeToDrain() bool {
	until := c.loop.srv.drain.until
	return !until.IsZero() && time.Until(until) < time.Second
}

// received is how many bytes have come, those of the turn under way included.
func (c *Conn) received(w *worker) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total(bytesIn) + uint64(w.received.bytes)
}

// arrivingOverBridge is arriving for a stream whose system is not ours to ask. What has
// arrived is there at once, whenever the reader is not waiting for a turn: the time that
// it has waited for its peer tells.
func (c *Conn) arrivingOverBridge(w *worker, received uint64) bool {
	b, ok := w.stream.(*bridge)
	if !ok || c.noTimeToDrain() {
		return false
	}
	in, waited := c.partial(), b.waitedForPeer()
	switch {
	case in.drainMost == 0:
		in.drainWaited, in.drainMost = waited+bridgeRest, received+bridgeArrived
	case waited >= in.drainWaited || received >= in.drainMost:
		in.drainAt, in.drainMost = 0, 0
		c.dropHead()
		return false
	}
	in.drainAt = c.loop.rightNow() + bridgeLook
	c.wantsDue = true
	return true
}

// letGo ends the connection for a drain: an open one politely, a request that has
// come in part with an answer. Of others something may still come.
func (c *Conn) letGo() {
	o := &c.loop.srv.drain.options
	switch life := c.lifeNow(); {
	case life == lifeOpen:
		_ = c.Close(o.Code, o.Reason) // always right: it is open, the code was checked
	case life == lifeHead && c.in != nil && c.in.head != nil:
		c.refuse(refuseStopping)
	}
}

// cutOff ends the connection because the server stops.
func (c *Conn) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteCut()
	c.endLocked(errStopped, endNow)
}

// noteCut notes that the connection ends now, if its last word is not said or not
// written. The caller holds mu.
func (c *Conn) noteCut() {
	if c.lifeNow() < lifeEnding || c.queue() != nil {
		c.remember().cut = true
	}
}

// countEnd counts the end of a connection while the server drains or stops.
func (l *loop) countEnd(c *Conn) {
	c.mu.Lock()
	cut := c.facts != nil && c.facts.cut
	c.mu.Unlock()
	if cut {
		l.counters.cut.Add(1)
	} else {
		l.counters.drained.Add(1)
	}
}

// handshakeTime is how long a connection has that is accepted now.
func (l *loop) handshakeTime() ticks {
	if l.stopSeen != 0 {
		return min(l.srv.limits.handshake, l.srv.limits.grace)
	}
	return l.srv.limits.handshake
}
