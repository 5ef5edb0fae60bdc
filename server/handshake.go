package server

import (
	"container/list"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/ws"
)

// handshake is what a secure has only during its handshake. Conn.mu guards it, but
// for place.
type handshake struct {
	cond    sync.Cond     // on Conn.mu: there is a whole record, or there will be none
	place   *list.Element // in the line or among those that wait for their peer, guarded by handshakes.mu
	since   tick          // when it began to wait for its peer, guarded by handshakes.mu
	yields  atomic.Bool   // it is to end: others wait, and its peer takes too long
	stalled bool          // raw is at its bound: kick when there is room
	ended   bool          // the peer has ended its direction
	cut     bool          // a callback has closed the connection
}

// ready says whether the goroutine can go on.
func (h *handshake) ready(s *secure) bool {
	return s.state == secureGone || h.ended || h.cut || wholeRecords(s.raw.B) > 0
}

// handshakes lets a bounded number of handshakes go on at once, and fewer of them
// compute: the loops are not to wait for them.
type handshakes struct {
	max int
	cpu chan struct{} // an element for each that computes

	mu      sync.Mutex // no other lock is taken under it; Conn.mu may be held
	running int
	line    list.List // of *secure: those that wait for their turn, first come first served
	silent  list.List // of *secure: those whose peer is awaited, the longest first
	over    sync.WaitGroup
}

// yieldTime is how long a peer may keep its handshake waiting while there is a
// line. Peers that all say nothing more would otherwise keep everybody out until
// the handshake timeout.
const yieldTime = 2 * time.Second

func (h *handshakes) init(s *Server) {
	h.max = s.limits.tlsAtOnce
	h.cpu = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
}

// begin starts the handshake of s, or puts it in the line. Conn.mu is held.
func (h *handshakes) begin(s *secure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running >= h.max {
		s.shake.place = h.line.PushBack(s)
		h.yield(s.conn.loop.rightNow())
		return
	}
	h.running++
	h.over.Add(1)
	go h.run(s)
}

// yield ends the handshake that waits for its peer the longest, if that is too
// long. h.mu is held.
func (h *handshakes) yield(now tick) {
	front := h.silent.Front()
	if front == nil {
		return
	}
	if s := front.Value.(*secure); now >= s.shake.since+timeoutTicks(yieldTime) {
		h.silent.Remove(front)
		s.shake.place = nil
		s.shake.yields.Store(true)
		s.conn.kick() // its turn does it: that connection's lock may not be taken here
	}
}

// await notes that the peer of s is awaited; heard, that it is not any more. Conn.mu
// is held.
func (h *handshakes) await(s *secure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.shake.since = s.conn.loop.rightNow()
	s.shake.place = h.silent.PushBack(s)
}

func (h *handshakes) heard(s *secure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.shake.place != nil {
		h.silent.Remove(s.shake.place)
		s.shake.place = nil
	}
}

// forget takes s out of the line, if it is there. Conn.mu is held.
func (h *handshakes) forget(s *secure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.state == secureQueued && s.shake.place != nil {
		h.line.Remove(s.shake.place)
		s.shake.place = nil
	}
}

// run does handshakes, first that of s, until nobody waits for one.
func (h *handshakes) run(s *secure) {
	defer func() {
		if s != nil { // a callback has ended the goroutine
			h.over.Add(1)
			go h.run(h.next())
		}
		h.over.Done()
	}()
	for s != nil {
		s.doHandshake(h)
		s = h.next()
	}
}

// next takes the first in the line, nil if there is none.
func (h *handshakes) next() *secure {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.line.Front()
	if first == nil {
		h.running--
		return nil
	}
	s := h.line.Remove(first).(*secure)
	s.shake.place = nil
	return s
}

// compute waits for a share of the processors; pause gives it up while its holder
// waits for something else.
func (h *handshakes) compute() { h.cpu <- struct{}{} }
func (h *handshakes) pause()   { <-h.cpu }

// beginHandshake makes the connection's stream, with what was received so far.
func (c *Conn) beginHandshake(w *worker, in []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.value.(*acceptor)
	c.value = nil
	s := &secure{conn: c, local: from.ln.Addr(), shake: &handshake{cond: sync.Cond{L: &c.mu}}}
	s.tls = tls.Server((*transport)(s), from.tls)
	s.raw = buffer.Get(len(in) + splitRoom)
	s.raw.B = splitFirst(s.raw.B, in)
	c.remember().stream = s
	w.stream = s
	w.srv.handshakes.begin(s)
}

// doHandshake is the work of the handshake's goroutine.
func (s *secure) doHandshake(h *handshakes) {
	c := s.conn
	c.mu.Lock()
	gone := s.state == secureGone
	if !gone {
		s.state = secureShaking
	}
	c.mu.Unlock()
	if gone {
		return
	}
	err := s.shakeHands(h)
	c.mu.Lock()
	s.endHandshake(err)
	c.mu.Unlock()
	c.kick()
}

// shakeHands runs crypto/tls and the callbacks of the configuration.
func (s *secure) shakeHands(h *handshakes) (err error) {
	h.compute()
	defer h.pause()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	return s.tls.Handshake()
}

func (s *secure) panicked(p any) error {
	stack := make([]byte, 16<<10)
	stack = stack[:runtime.Stack(stack, false)]
	s.conn.loop.counters.panics.Add(1)
	s.server().log().Error("TLS callback panicked", "panic", fmt.Sprintf("%+v", p), "remote", s.conn.RemoteName(), "stack", string(stack))
	return errCallback
}

// errSilent is the cause of a handshake that had to make room for others.
var errSilent = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "the peer kept its TLS handshake, and others, waiting"}

var errCallback = errors.New("a callback of the TLS configuration panicked")

// endHandshake hands the stream from the goroutine to whoever holds Conn.mu, as
// does its caller.
func (s *secure) endHandshake(err error) {
	if s.state == secureGone {
		return
	}
	s.shake = nil
	if s.state = secureEstablished; err != nil {
		s.state = secureBroken
		s.over = &brokenStream{fmt.Errorf("%w: TLS handshake: %w", errGone, err)}
	}
	if len(s.raw.B) == 0 {
		s.keepRaw(nil)
	}
}

// secured goes on, in a turn, with a connection whose handshake may be over.
func (c *Conn) secured() {
	switch done, proto, broken := c.takeHandshake(); {
	case !done: // it has only made room
	case broken == errSilent:
		c.end(broken, endNow)
	case broken != nil:
		c.loop.counters.tlsFailed.Add(1)
		c.loop.srv.log().Debug("TLS handshake failed", "remote", c.RemoteName(), "err", broken)
		c.broke(broken)
	default:
		c.loop.counters.tlsDone.Add(1)
		c.goSecured(proto)
	}
}

// goSecured goes on with a connection whose handshake has agreed on a protocol.
// HTTP/2 is net/http's; where that has no room, there is no telling why.
func (c *Conn) goSecured(proto string) {
	if proto != "h2" {
		return
	}
	if err := c.loop.srv.roomForHTTP(); err != nil {
		c.end(err, endNow)
		return
	}
	c.handToHTTP(nil, webFrame{})
}

// takeHandshake moves the connection on if its handshake is over, and says which
// protocol was agreed on.
func (c *Conn) takeHandshake() (done bool, proto string, broken error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.stream().(*secure)
	switch {
	case !ok:
		return false, "", nil
	case s.state <= secureShaking && s.shake.yields.Load():
		return true, "", errSilent
	case s.state <= secureShaking:
		return false, "", nil
	case s.state == secureBroken:
		return true, "", s.over
	}
	c.setLife(lifeHead)
	return true, s.tls.ConnectionState().NegotiatedProtocol, nil
}
