package server

import (
	"container/list"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/addrcount"
	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/tlsrecord"
	"github.com/millrace/millrace/ws"
)

// handshake is what a secure has only during its handshake. Conn.mu guards it, but
// for the line's.
type handshake struct {
	conn    *Conn
	cond    sync.Cond   // on Conn.mu: there is a whole record, or there will be none
	yields  atomic.Bool // it is to end: others wait, and its peer takes too long
	stalled bool        // raw is at its bound: wake when there is room
	ended   bool        // the peer has ended its direction
	cut     bool        // a callback has closed the connection

	// The line's, guarded by line.mu.
	source  *source       // whose it is; does not change
	waits   *list.Element // in source.waiting: it has no place yet
	silent  int           // in line.silent; -1: the peer is not awaited
	since   tick          // since when it is
	awaited ticks         // how long it was before, in all
	due     tick          // when that is too long
}

// ready says whether the goroutine can go on.
func (h *handshake) ready(s *tlsStream) bool {
	return s.state == secureGone || h.ended || h.cut || tlsrecord.Whole(s.raw.B) > 0
}

// handshakes lets a bounded number of handshakes go on at once, and fewer of them
// compute: the loops are not to wait for them.
type handshakes struct {
	line
	shares shares
	over   sync.WaitGroup
}

func (h *handshakes) init(s *Server) {
	h.max = s.limits.tlsAtOnce
	h.sources = make(map[addrcount.Key]*source)
	h.shares.free = max(1, runtime.GOMAXPROCS(0)/2)
}

// begin starts the handshake of s, or puts it in the line. Conn.mu is held.
func (h *handshakes) begin(s *tlsStream) {
	key, known := s.conn.sourceKey()
	next, waits := h.enter(s, key, known)
	h.start(next)
	if waits {
		s.conn.loop.PostTask(lookSoon{s.conn.loop})
	}
}

// sourceKey is the address that the connection's handshake counts for, if there is
// one. The caller holds mu.
func (c *Conn) sourceKey() (key addrcount.Key, known bool) {
	addr := c.remote().Addr()
	if !addr.IsValid() || c.is(anonymousClient) || c.loop.srv.trusts(addr) {
		return addrcount.Key{}, false
	}
	return addrcount.KeyOf(addr), true
}

// start begins the handshake of one that has just got a place; nil is nobody.
func (h *handshakes) start(s *tlsStream) {
	if s != nil {
		h.over.Add(1)
		go h.run(s)
	}
}

// run does handshakes, first that of s, until nobody has a place for one.
func (h *handshakes) run(s *tlsStream) {
	k := s.shake
	defer func() {
		if s != nil { // a callback has ended the goroutine
			h.start(h.finish(k))
		}
		h.over.Done()
	}()
	for s != nil {
		s.doHandshake(h)
		if s = h.finish(k); s != nil {
			k = s.shake
		}
	}
}

// lookSoon is a loop.Task for a loop that has somebody in the line.
type lookSoon struct{ *shard }

// Do implements loop.Task.
func (l lookSoon) Do() (again bool) {
	l.roomLook = min(l.roomLook, l.Now()+roomLook)
	l.RoundBy(l.roomLook)
	return false
}

// lookForRoom has the line looked at, if it is time.
func (l *shard) lookForRoom(now tick) {
	if l.roomLook <= now {
		h := &l.srv.handshakes
		next, again := h.look(l.RightNow())
		h.start(next)
		l.roomLook = again
	}
	l.RoundBy(l.roomLook)
}

// beginHandshake makes the connection's stream, of a ClientHello and what came behind
// it.
func (c *Conn) beginHandshake(w *worker, hello, behind []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.value.(*entrance)
	c.value = nil
	s := &tlsStream{conn: c, local: from.addr}
	s.shake = &handshake{conn: c, cond: sync.Cond{L: &c.mu}, silent: -1}
	s.tls = tls.Server((*transport)(s), from.tls)
	s.raw = buffer.Get(len(hello) + tlsrecord.SplitRoom + len(behind))
	s.raw.B = append(tlsrecord.SplitHello(s.raw.B, hello), behind...)
	c.ownFacts().stream = s
	w.stream = s
	w.srv.handshakes.begin(s)
}

// doHandshake is the work of the handshake's goroutine.
func (s *tlsStream) doHandshake(h *handshakes) {
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
	c.wake()
}

// shakeHands runs crypto/tls and the callbacks of the configuration.
func (s *tlsStream) shakeHands(h *handshakes) (err error) {
	h.shares.compute(s.shake.source)
	defer h.shares.pause()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	return s.tls.Handshake()
}

func (s *tlsStream) panicked(p any) error {
	s.conn.loop.callbackPanicked(p, s.conn.RemoteName())
	return errCallback
}

// callbackPanicked counts and logs that a callback of a TLS configuration has panicked, in
// its goroutine.
func (l *shard) callbackPanicked(p any, remote string) {
	stack := make([]byte, 16<<10)
	stack = stack[:runtime.Stack(stack, false)]
	l.counters.panics.Add(1)
	l.srv.log().Error("TLS callback panicked", "panic", fmt.Sprintf("%+v", p), "remote", remote, "stack", string(stack))
}

// errSilent is the cause of a handshake that had to make room for others.
var errSilent = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "the peer kept its TLS handshake, and others, waiting"}

var errCallback = errors.New("a callback of the TLS configuration panicked")

// endHandshake hands the stream from the goroutine to whoever holds Conn.mu, as
// does its caller.
func (s *tlsStream) endHandshake(err error) {
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
		c.loop.srv.hit(LimitTLSHandshakes)
		c.end(broken, endNow)
	case broken != nil:
		why := strings.TrimPrefix(broken.Error(), errGone.Error()+": ") // it may be us who refused
		c.loop.handshakeFailed(c.RemoteName(), why)
		c.broke(broken)
	default:
		c.loop.counters.tlsDone.Add(1)
		c.goSecured(proto)
	}
}

// handshakeFailed counts and logs a TLS handshake that has failed.
func (l *shard) handshakeFailed(remote, why string) {
	l.counters.tlsFailed.Add(1)
	l.srv.log().Debug("TLS handshake failed", "remote", remote, "err", why)
}

// goSecured goes on with a connection whose handshake has agreed on a protocol.
// HTTP/2 is net/http's.
func (c *Conn) goSecured(proto string) {
	if proto != protoHTTP2 {
		return
	}
	if err := c.loop.srv.reserveHTTP(); err != nil {
		c.refuseHTTP2(err)
		return
	}
	c.handToHTTP(nil, requestFraming{})
}

// refuseHTTP2 is refuse in HTTP/2: the peer reads why in a GOAWAY, and that none of
// its requests was looked at (RFC 9113 sections 3.4 and 6.8).
func (c *Conn) refuseHTTP2(err error) {
	s, remote := c.loop.srv, c.RemoteAddr()
	refusal := s.refusalOf(err, remote)
	s.refused(refusal, remote, nil)
	const enhanceYourCalm = "\x00\x00\x00\x0b"
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	goAway := "\x00\x00" + string([]byte{byte(8 + len(refusal.Reason))}) + "\x07\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x00" + enhanceYourCalm + refusal.Reason
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(refusal, endLinger)
	c.putHTTP([]byte(settings + goAway))
}

// takeHandshake moves the connection on if its handshake is over, and says which
// protocol was agreed on.
func (c *Conn) takeHandshake() (done bool, proto string, broken error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.stream().(*tlsStream)
	switch {
	case !ok:
		return false, "", nil
	case s.state <= secureShaking && s.shake.yields.Load():
		c.loop.srv.handshakes.remember(s)
		return true, "", errSilent
	case s.state <= secureShaking:
		return false, "", nil
	case s.state == secureBroken:
		return true, "", s.over
	}
	c.advance(stateHead)
	return true, s.tls.ConnectionState().NegotiatedProtocol, nil
}
