package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// takenOver is what a connection of net/http brings along.
type takenOver struct {
	accept   Accept
	request  *ws.Request
	response []byte
	unread   []byte

	settled chan *ws.Refusal // what has become of it: see settle
}

// settle says what becomes of the connection, if it is not said yet: nil, it is about to
// be opened.
func (t *takenOver) settle(why *ws.Refusal) {
	select {
	case t.settled <- why:
	default:
	}
}

// answered is a refusal that the client has got already, or can not be told.
type answered struct{ *ws.Refusal }

// takeOver takes the connection out of net/http, gives it to a loop, and waits until that
// has it. taken: the place that was reserved for it is its own.
func (s *Server) takeOver(w http.ResponseWriter, req *ws.Request, accept Accept) (taken bool, err error) {
	t := &takenOver{accept: accept, request: req, settled: make(chan *ws.Refusal, 1)}
	if t.response, err = s.appendUpgrade(nil, req, &t.accept, httpDate()); err != nil {
		return false, err
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.freeWindows(t.accept.deflate)
	}
	if errors.Is(err, http.ErrNotSupported) {
		return false, refuseNoHijack
	} else if err != nil {
		return false, fmt.Errorf("server: taking over from net/http: %w", err)
	}
	// From here on w is not to be written to.
	t.unread, _ = buffered.Reader.Peek(buffered.Reader.Buffered()) // what is buffered can be peeked
	if c := httpConnOf(conn); c != nil {
		s.takeFromNetHTTP(c, t)
	} else {
		s.attach(conn, t)
	}
	if refusal := <-t.settled; refusal != nil {
		return true, answered{refusal}
	}
	return true, nil
}

// attach moves a hijacked connection into a loop, or a bridge to it.
func (s *Server) attach(conn net.Conn, t *takenOver) {
	_ = conn.SetDeadline(time.Time{}) // net/http's own; Attach finds out if conn is broken
	unix := isUnix(conn.LocalAddr())
	fd, remote, err := s.engine.Attach(conn)
	switch {
	case err == nil:
		s.placeTaken(arrival{fd: fd, remote: remote, taken: t, unix: unix})
	case errors.Is(err, poller.ErrNotSupported) && !s.Runtime.LoopsOnly:
		b := newBridge(s, conn)
		b.secured, b.local, b.unix = t.request.TLSState, addrPortOf(conn.LocalAddr()), unix
		go b.run() // ends with the connection
		s.placeTaken(arrival{fd: -1, remote: remoteOf(conn), taken: t, bridge: b})
	default:
		s.notTaken(conn, t, err)
	}
}

// notTaken turns down an upgrade whose connection can not be watched.
func (s *Server) notTaken(conn net.Conn, t *takenOver, err error) {
	refusal := refuseTakeOver
	if errors.Is(err, poller.ErrExhausted) {
		refusal = refuseNoDescriptor // for now
		s.loops[0].counters.acceptErrors.Add(1)
	}
	s.log().Warn("connection not taken over", "remote", addrName(remoteOf(conn)), "err", err)
	s.refused(refusal, t.request.RemoteAddr, t.request)
	_, _ = conn.Write(appendRefusal(nil, nil, refusal))
	_ = conn.Close()
	s.giveBack()
	s.freeWindows(t.accept.deflate)
	t.settle(refusal)
}

// remoteOf is the address of conn's peer; the zero value unless it has one of
// TCP.
func remoteOf(conn net.Conn) netip.AddrPort { return addrPortOf(conn.RemoteAddr()) }

// addrPortOf is an address of net's, the zero value unless it is one of TCP.
func addrPortOf(addr net.Addr) netip.AddrPort {
	if a, ok := addr.(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// placeTaken gives a connection that was taken over to one of the loops.
func (s *Server) placeTaken(a arrival) {
	if client := a.taken.request.RemoteAddr; client.IsValid() {
		a.remote = client // maybe not the peer: proxies, or net/http's user, said so
	}
	l := s.pickLoop()
	l.counters.accepted.Add(1)
	l.offerOrDrop(a)
}

// begin goes on, in its first turn, with a connection that net/http had.
func (c *Conn) begin(w *worker) {
	switch {
	case c.in.taken != nil:
		c.openTaken(w)
	case c.in.back != nil:
		c.consumeReturned(w)
	case c.in.guest != nil:
		c.greet(w)
	}
}

// openTaken opens a connection that was taken over, in its first turn.
func (c *Conn) openTaken(w *worker) {
	t := c.in.taken
	c.in.taken = nil
	t.settle(nil)
	c.open(w, t.request, t.accept, t.response)
	if c.stateNow() == stateOpen && len(t.unread) > 0 {
		w.received.bytes += len(t.unread)
		c.consumeOpen(w, t.unread)
	}
	c.trimInbound()
}
