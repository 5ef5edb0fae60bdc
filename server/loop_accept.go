package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// acceptsPerTurn bounds the connections accepted in one go, so that a storm of
// them does not keep the open ones waiting.
const acceptsPerTurn = 64

// acceptor is a listener in the first loop; the connections it accepts are
// spread over all loops.
type acceptor struct {
	entrance
	ln   poller.Listener
	loop *shard // the one that accepts
	unix bool   // a Unix socket's

	closes  bool // as soon as the queue is empty
	closeBy tick // or from this time on,
	rest    int  // when so many have been taken
}

// entrance is what a listener's connections have to know of it.
type entrance struct {
	addr      net.Addr
	tls       *tls.Config // nil: they are not secure
	elsewhere *tls.Config // the same for those that a bridge carries
}

// listening is what is accepted from.
type listening interface{ listenAddr() net.Addr }

func (e *entrance) listenAddr() net.Addr { return e.addr }

// arrival is a connection on its way into a loop.
type arrival struct {
	to     *shard // while it is on its way there
	fd     int    // -1: bridge carries it
	remote netip.AddrPort
	taken  *takenOver // from net/http; nil: just accepted
	back   *returned  // given back by net/http; with taken: for its stream
	bridge *bridge
	from   *entrance // nil: from net/http
	unix   bool      // a Unix socket

	refusal *ws.Refusal // it is over a bound, and gets to read this; nil: welcome
}

// secure says whether the connection is to speak TLS on its loop.
func (a *arrival) secure() bool { return a.bridge == nil && a.from != nil && a.from.tls != nil }

// guest says whether a bridge carries the connection from its first request on.
func (a *arrival) guest() bool { return a.bridge != nil && a.bridge.guest != nil }

// returns says whether net/http gives the connection back, which brings its address's
// place along.
func (a *arrival) returns() bool { return a.back != nil && a.taken == nil }

// addListener begins to accept from a's listener.
func (l *shard) addListener(a *acceptor) {
	if l.StopSeen()&stopped != 0 {
		l.srv.listenerClosed(a, ErrServerClosed)
		return
	}
	if err := l.Watch(a.ln.FD(), a); err != nil {
		l.srv.listenerClosed(a, fmt.Errorf("server: watching %v: %w", a.addr, err))
		return
	}
	l.listeners = append(l.listeners, a)
	l.srv.accepting.Store(true)
	if l.StopSeen() != 0 {
		l.closeSoon(a)
	}
}

// Do implements loop.Task: it begins to accept. The loop is the first.
func (a *acceptor) Do() (again bool) {
	a.loop.addListener(a)
	return false
}

// Ready implements loop.Source.
func (a *acceptor) Ready() { a.loop.accept(a) }

// acceptMore goes on accepting, as a loop.Task.
type acceptMore struct{ *acceptor }

// Do implements loop.Task.
func (a acceptMore) Do() (again bool) {
	a.Ready()
	return false
}

// accept takes connections off the listener's queue.
func (l *shard) accept(a *acceptor) {
	for range acceptsPerTurn {
		fd, remote, err := a.ln.Accept()
		switch {
		case err == nil:
			l.spread(a, fd, remote)
		case err == poller.ErrAgain:
			l.restAccepted(a, err)
			return
		case errors.Is(err, poller.ErrClosed):
			return
		default:
			l.acceptFailed(a, err)
			return
		}
	}
	a.rest -= acceptsPerTurn
	if !l.restAccepted(a, nil) {
		l.NextRoundTask(acceptMore{a}) // the rest of the queue has no edge of its own
	}
}

// acceptFailed pauses: no event tells when the machine has room again, and
// asking at full speed would take the processor from those who are in.
func (l *shard) acceptFailed(a *acceptor, err error) {
	l.logAcceptFailed(a.addr, err)
	if l.restAccepted(a, err) {
		return
	}
	l.Retry(a, l.Now()+l.srv.limits.acceptRetry)
}

// logAcceptFailed counts a failure to accept, and logs one in a hundred.
func (l *shard) logAcceptFailed(at net.Addr, err error) {
	if failures := l.counters.acceptErrors.Add(1); failures%100 == 1 {
		l.srv.log().Warn("accepting failed", "addr", at, "err", err, "failures", failures)
	}
}

// spread gives an accepted connection to one of the loops.
func (l *shard) spread(from *acceptor, fd int, remote netip.AddrPort) {
	l.counters.accepted.Add(1)
	if l.srv.Proxy.Protocol && !l.srv.mayProxy(remote.Addr()) {
		l.proxyRefused(remote, errUntrusted)
		l.closeFD(fd)
		return
	}
	a := arrival{fd: fd, remote: remote, from: &from.entrance, unix: from.unix}
	if !l.srv.judge(&a) {
		l.closeFD(fd)
		return
	}
	to := l.srv.pickLoop()
	if to == l || !to.offer(a) {
		l.admit(a) // also if the other loop has drained already
	}
}

// arrivals are those on their way to another loop. They are pooled, since the garbage of
// a storm of them would stay resident until the first collection.
var arrivals = sync.Pool{New: func() any { return new(arrival) }}

// offer posts an arrival to the loop; false means that the loop has ended.
func (l *shard) offer(a arrival) bool {
	posted := arrivals.Get().(*arrival)
	*posted = a
	posted.to = l
	l.coming.Add(1)
	if l.PostTask(posted) {
		return true
	}
	l.coming.Add(-1)
	posted.take()
	return false
}

// take gives what was posted, once.
func (a *arrival) take() arrival {
	taken := *a
	*a = arrival{}
	arrivals.Put(a)
	return taken
}

// offerOrDrop is offer; if the loop has ended, it undoes the counts and closes.
func (l *shard) offerOrDrop(a arrival) {
	if !l.offer(a) {
		l.srv.forget(&a)
		l.drop(&a)
	}
}

// drop closes what does not get in.
func (l *shard) drop(a *arrival) {
	if a.bridge != nil {
		a.bridge.abandon(a.refusal)
		return
	}
	l.closeFD(a.fd)
}

// admit makes a connection of an arrival; nil means that it is refused, and
// nothing more is to be done about it.
func (l *shard) admit(a arrival) *Conn {
	if !l.srv.judgeAddr(&a) {
		l.drop(&a)
		return nil
	}
	if a.bridge != nil && !a.bridge.paced && a.refusal != nil {
		l.srv.forget(&a)
		l.drop(&a) // the bridge gives the answer
		return nil
	}
	c := &Conn{loop: l, fd: int32(a.fd)}
	c.setRemote(a.remote)
	c.state.Store(uint32(l.srv.firstState(&a)))
	if a.unix {
		c.state.Or(unixSocket)
	}
	if a.secure() {
		c.value = a.from
	}
	if a.back != nil {
		c.comeBack(a.back)
	}
	c.active.Store(uint32(l.Now()))
	token := l.Enter(c.member())
	if err := l.watch(&a, token); err != nil {
		l.Withdraw(c.member())
		l.closeFD(a.fd)
		l.srv.forgetAddr(&a)
		if a.taken != nil {
			a.taken.settle(refuseNoDescriptor)
		}
		l.srv.forget(&a)
		l.counters.acceptErrors.Add(1)
		l.srv.log().Warn("connection not watched", "remote", addrName(a.remote), "err", err)
		return nil
	}
	l.counters.open.Add(1)
	l.counters.states[c.stateNow()].Add(1)
	l.SetDue(c.member(), l.RightNow()+l.handshakeTime()) // the batch may have been long
	if a.bridge != nil {
		a.bridge.begin(c)
	}
	if a.refusal != nil {
		l.turnAway(c, a.refusal)
		return nil
	}
	switch {
	case a.guest():
		c.ensureInbound().guest = a.bridge.guest
	case a.taken != nil:
		c.ensureInbound().taken = a.taken
	case a.back != nil:
		in := c.ensureInbound()
		in.back, in.secure = a.back, a.back.viaTLS
	}
	return c
}

// Do implements loop.Task: it takes the arrival in.
func (a *arrival) Do() (again bool) {
	to := a.to
	to.arrive(a.take())
	return false
}

// arrive takes in a connection that another loop accepted or that net/http hands
// over.
func (l *shard) arrive(a arrival) {
	l.coming.Add(-1)
	if l.StopSeen()&stopped != 0 {
		if a.returns() {
			l.srv.forgetAddr(&a)
		}
		l.srv.forget(&a)
		l.drop(&a)
		return
	}
	if a.returns() {
		l.counters.returned.Add(1)
	}
	if c := l.admit(a); c != nil && (a.taken != nil || a.back != nil) {
		l.ThisRound(c.member(), woken|readable|l.StopSeen())
	}
}

// watch lets the poller watch a descriptor. A bridge tells by itself.
func (l *shard) watch(a *arrival, token poller.Token) error {
	if a.bridge != nil {
		return nil
	}
	return l.poll.Add(a.fd, token)
}

func (l *shard) closeFD(fd int) {
	l.logUnclosed(l.engine.Close(fd))
}

// logUnclosed logs that closing a descriptor has failed, if it has.
func (l *shard) logUnclosed(err error) {
	if err != nil {
		l.srv.log().Error("descriptor not closed", "err", err)
	}
}

// abandonListener is closeListener for one that its owner has closed.
func (l *shard) abandonListener(a *acceptor) {
	if slices.Contains(l.listeners, a) {
		l.closeListener(a, fmt.Errorf("server: accepting from %v: %w", a.addr, net.ErrClosed))
	}
}

// closeListener stops accepting and lets Serve return why.
func (l *shard) closeListener(a *acceptor, why error) {
	if err := l.Unwatch(a.ln.FD(), a); err != nil {
		l.srv.log().Error("listener not removed", "addr", a.addr, "err", err)
	}
	l.listeners = slices.DeleteFunc(slices.Clone(l.listeners), func(b *acceptor) bool { return b == a })
	l.srv.listenerClosed(a, why)
}

// listenerClosed closes a's listener and lets its Serve return why.
func (s *Server) listenerClosed(a *acceptor, why error) {
	s.logListenerClosed(a.addr, a.ln.Close())
	s.mu.Lock()
	defer s.mu.Unlock()
	if done := s.listeners[a]; done != nil {
		delete(s.listeners, a)
		done <- why
	}
}

// logListenerClosed logs that closing a listener has failed, if it has.
func (s *Server) logListenerClosed(addr net.Addr, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.log().Error("listener not closed", "addr", addr, "err", err)
	}
}
