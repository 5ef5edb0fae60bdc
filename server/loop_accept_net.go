package server

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/poller"
)

// netAcceptor accepts from a listener that no loop can watch. Its goroutine is the one
// that has called ServeListener. It keeps the first loop from ending, so that who comes
// late is told by somebody.
type netAcceptor struct {
	entrance
	srv *Server
	ln  net.Listener

	began   time.Time
	waits   atomic.Int64  // since when its Accept has not returned, as a time since began; 0: it has
	ending  chan struct{} // closed when the server drains or stops
	end     sync.Once
	closing sync.Once
	held    atomic.Bool // it keeps the first loop
}

const (
	// acceptQuiet is how long an Accept waits where there is nothing to accept; so often it
	// is looked at.
	acceptQuiet = 20 * time.Millisecond
	acceptLook  = 5 * time.Millisecond
	// acceptPause is the first pause behind an error that is temporary, each next one is
	// twice as long, up to acceptRest.
	acceptPause = 5 * time.Millisecond
)

// serve accepts until the listener is closed, and says why.
func (n *netAcceptor) serve() {
	l := n.srv.loops[0]
	if l.Hold() {
		n.held.Store(true)
	} else {
		n.endSoon()
	}
	n.srv.accepting.Store(true)
	why := n.acceptAll()
	n.close()
	n.srv.mu.Lock()
	done := n.srv.listeners[n]
	delete(n.srv.listeners, n)
	n.srv.mu.Unlock()
	n.release()
	done <- why
}

// release lets the first loop end.
func (n *netAcceptor) release() {
	if n.held.CompareAndSwap(true, false) {
		n.srv.loops[0].Release()
	}
}

// acceptAll returns why nothing more can be accepted.
func (n *netAcceptor) acceptAll() error {
	pause := acceptPause
	for {
		n.waits.Store(max(int64(time.Since(n.began)), 1))
		conn, err := n.ln.Accept()
		n.waits.Store(0)
		if err == nil {
			_ = n.srv.welcome(conn, &n.entrance) // counted, and the client is told
			pause = acceptPause
			continue
		}
		var temporary interface{ Temporary() bool }
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			select {
			case <-n.ending:
				return ErrServerClosed
			default:
				return err
			}
		}
		n.srv.loops[0].logAcceptFailed(n.addr, err)
		n.rest(pause)
		pause = min(2*pause, acceptRest)
	}
}

// rest pauses. Who drains, or stops, waits for no more than a look.
func (n *netAcceptor) rest(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.ending:
		time.Sleep(min(pause, acceptLook))
	}
}

// endSoon has the listener closed once its queue is empty, or at once if the server
// stops. It does not block.
func (n *netAcceptor) endSoon() {
	n.end.Do(func() {
		close(n.ending)
		go n.closeWhenQuiet() // ends in a second
	})
}

func (n *netAcceptor) closeWhenQuiet() {
	defer func() {
		n.close()
		time.AfterFunc(acceptRest, n.release) // an Accept that outlasts Close keeps no drain
	}()
	look := time.NewTicker(acceptLook)
	defer look.Stop()
	for began := time.Now(); time.Since(began) < acceptRest; {
		select {
		case <-n.srv.halt:
			return
		case <-look.C:
		}
		waits := time.Duration(n.waits.Load())
		if waits != 0 && time.Since(n.began)-waits >= acceptQuiet && time.Since(began) >= acceptQuiet {
			return
		}
	}
}

func (n *netAcceptor) close() {
	n.closing.Do(func() { n.srv.logListenerClosed(n.addr, n.ln.Close()) })
}

// welcome gives a connection that somebody else has accepted to a loop, itself or a bridge
// to it. An error is why it does not get in; it is closed, or about to be.
func (s *Server) welcome(conn net.Conn, from *entrance) error {
	l := s.loops[0]
	l.counters.accepted.Add(1)
	a := arrival{fd: -1, from: from}
	fd, remote, err := s.engine.Attach(conn)
	bridged := errors.Is(err, poller.ErrNotSupported)
	switch {
	case err == nil:
		a.fd, a.remote, a.unix = fd, remote, isUnix(conn.LocalAddr())
	case !bridged:
		l.logAcceptFailed(conn.LocalAddr(), err)
		return closeUnserved(conn, err)
	}
	if !bridged && s.Proxy.Protocol && !s.mayProxy(remote.Addr()) {
		l.proxyRefused(remote, errUntrusted)
		l.closeFD(fd)
		return errUntrusted
	}
	in := false
	if bridged && s.Runtime.LoopsOnly {
		a.refusal = refuseTakeOver
		in = countIn(&s.admission.turnedAway, maxTurnedAway)
	} else {
		in = s.judge(&a)
	}
	if bridged {
		a.bridge = newGuest(s, conn, from.elsewhere)
		go a.bridge.run() // ends with the connection
	}
	refusal := a.refusal
	switch {
	case !in:
		a.refusal = nil // nobody has the time to read it
		l.drop(&a)
	case !s.offer(a):
		return ErrServerClosed
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// offer gives an arrival to one of the loops; false means that none goes on, and it is
// dropped.
func (s *Server) offer(a arrival) bool {
	if s.pickLoop().offer(a) || slices.ContainsFunc(s.loops, func(l *shard) bool { return l.offer(a) }) {
		return true
	}
	if a.returns() && a.refusal == nil {
		s.leaveAddr(a.remote)
	}
	s.forget(&a)
	s.loops[0].drop(&a)
	return false
}
