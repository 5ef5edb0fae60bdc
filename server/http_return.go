package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/tlsrecord"
	"github.com/millrace/millrace/ws"
)

// returned is what a connection brings along that net/http gives back to a loop.
type returned struct {
	unread    []byte     // decrypted, if it is TLS
	stream    *tlsStream // nil: plain
	viaTLS    bool
	anonymous bool
}

var httpRequests = sync.Pool{New: func() any { return new(ws.Request) }}

// readNext reads the next request, for net/http if it is one for it. Otherwise a loop
// gets the connection, and net/http an end of the stream.
func (c *httpConn) readNext(p []byte) (n int, err error) {
	in := c.unread
	if len(in) == 0 {
		if n, err = c.Conn.Read(p); n == 0 {
			return 0, err
		}
		in = p[:n]
	}
	var scanner ws.HeadScanner
	end, bad := scanner.Scan(in, c.end.srv.limits.head)
	if bad == nil && end == 0 && (n == len(p) || n == 0) {
		end, bad = c.readRest(in, &scanner)
		in = c.unread
	}
	if bad != nil || end == 0 || !c.vet(in[:end], &scanner) {
		return 0, c.returnToLoop(in)
	}
	if len(c.unread) > 0 {
		return c.readRequest(p)
	}
	n, c.flaw = c.frame.take(in)
	c.unread = append(c.unread, in[n:]...)
	return n, nil
}

// restTime is how long the rest of a head may take that has filled a buffer: most
// likely it is there.
const restTime = 10 * time.Millisecond

// readRest reads the rest of a head, of which in is the beginning, into unread.
func (c *httpConn) readRest(in []byte, scanner *ws.HeadScanner) (end int, bad error) {
	limits := c.end.srv.limits.head
	c.unread = append(make([]byte, 0, 2*len(in)), in...)
	by := time.Now().Add(restTime)
	defer func() { _ = c.setReadDeadline(func() { c.by = time.Time{} }) }() // a failure shows when it is read
	if c.setReadDeadline(func() { c.by = by }) != nil {
		return 0, nil
	}
	for end == 0 && bad == nil && len(c.unread) < limits.Bytes {
		size := len(c.unread)
		c.unread = slices.Grow(c.unread, min(max(size, readAhead), limits.Bytes-size))
		n, err := c.Conn.Read(c.unread[size:min(cap(c.unread), limits.Bytes)])
		c.unread = c.unread[:size+n]
		if end, bad = scanner.Scan(c.unread, limits); err != nil {
			break
		}
	}
	c.unread = slices.Clip(c.unread)
	return end, bad
}

// vet says whether head, which is whole, is that of a request for net/http, by the
// rules of a connection's first one, and begins that request.
func (c *httpConn) vet(head []byte, scanner *ws.HeadScanner) bool {
	s := c.end.srv
	if head[0] == '\r' {
		return false // what an empty line does, a loop knows
	}
	r := httpRequests.Get().(*ws.Request)
	defer httpRequests.Put(r)
	defer r.Reset()
	if r.ParseScanned(head, scanner) != nil || s.forHook(r) {
		return false
	}
	r.RemoteAddr = c.end.remote
	if !c.anonymous && s.trustForwarded(r, isUnix(c.end.LocalAddr())) != nil {
		return false
	}
	c.begin(frameOf(r, len(head)))
	return true
}

// returnToLoop gives the connection, with what was read of it, to a loop.
func (c *httpConn) returnToLoop(in []byte) error {
	s, e := c.end.srv, c.end
	if s.stopping.Load() && !slices.ContainsFunc(s.loops, func(l *shard) bool { return !l.IsOver() }) {
		return c.turnDown(in, refuseStopping)
	}
	a := arrival{remote: e.remote, unix: isUnix(e.LocalAddr())}
	switch err := c.attach(&a, in); {
	case errors.Is(err, net.ErrClosed):
		return err
	case err != nil:
		s.loops[0].counters.acceptErrors.Add(1)
		s.log().Warn("connection not taken back", "remote", addrName(e.remote), "err", err)
		return c.turnDown(in, refuseNoDescriptor)
	}
	if !s.judge(&a) {
		e.leaveAddr()
		a.refusal = nil // nobody has the time to read it
		s.loops[0].drop(&a)
		return io.EOF
	}
	if a.refusal != nil {
		e.leaveAddr() // those who are turned away do not count
	}
	s.offer(a)
	return io.EOF
}

// attach takes the connection out of net/http's hands. What the application reads
// first is in.
func (c *httpConn) attach(a *arrival, in []byte) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if c.end.guest {
		a.fd, a.bridge = -1, c.takeGuest(a.taken == nil)
	} else if a.fd, _, err = c.end.srv.engine.Attach(c.end.conn); err != nil {
		return err
	}
	c.away = true
	c.end.leaveHTTP()
	a.back = &returned{unread: slices.Clone(in), stream: c.stream, viaTLS: c.viaTLS, anonymous: c.anonymous}
	if c.stream != nil {
		a.back.unread = append(a.back.unread, c.stream.reattach()...)
	}
	return nil
}

// turnDown answers a request for which no loop is there.
func (c *httpConn) turnDown(in []byte, refusal *ws.Refusal) error {
	s := c.end.srv
	s.refused(refusal, c.end.remote, nil)
	_, _ = c.Conn.Write(appendRefusal(nil, in, refusal)) // best effort
	return io.EOF
}

// comeBack makes c what it was before net/http had it. Nobody else knows c yet.
func (c *Conn) comeBack(back *returned) {
	if back.anonymous {
		c.state.Or(anonymousClient)
	}
	if s := back.stream; s != nil {
		s.conn = c
		c.ownFacts().stream = s
	}
}

// consumeReturned goes on, in its first turn, with what net/http has not read.
func (c *Conn) consumeReturned(w *worker) {
	back := c.in.back
	c.in.back = nil
	w.received.bytes += len(back.unread)
	c.consume(w, back.unread)
}

// reattach takes the stream back from net/http, and gives what was decrypted and not
// read: nobody else uses it now.
func (s *tlsStream) reattach() (unread []byte) {
	rest := s.blocking.Rest()
	s.blocking, s.state = nil, secureEstablished
	var err error
	for p := make([]byte, tlsrecord.MaxPlaintext); err == nil; {
		var n int
		n, err = s.tls.Read(p)
		unread = append(unread, p[:n]...)
	}
	if err != errNothingYet {
		_ = s.readFailed(err) // the next read tells of it
	}
	if len(rest) > 0 {
		s.raw = buffer.Get(len(rest))
		s.raw.B = append(s.raw.B, rest...)
	}
	return unread
}

// takeFromNetHTTP is attach of Server for a connection that net/http had from us.
func (s *Server) takeFromNetHTTP(c *httpConn, t *takenOver) {
	a := arrival{remote: c.end.remote, unix: isUnix(c.end.LocalAddr()), taken: t}
	if err := c.attach(&a, nil); err != nil {
		s.notTaken(c, t, err)
		return
	}
	t.unread = slices.Concat(t.unread, c.unread, a.back.unread)
	c.end.leaveAddr() // the loop counts it for its client
	s.placeTaken(a)
}

// follow keeps the counts in step with net/http.
func (web *netHTTP) follow(conn net.Conn, state http.ConnState) {
	c := httpConnOf(conn)
	if state != http.StateNew && state != http.StateActive {
		web.begun(c)
	}
	switch {
	case c == nil && state == http.StateNew: // of HTTP/2, which finishes what it has read
		web.offered.Add(-1)
	case c == nil && state == http.StateClosed:
		if g, ok := web.guests.LoadAndDelete(conn); ok {
			end := g.(*httpConn).end
			end.leaveHTTP()
			end.leaveAddr()
		}
	case c == nil:
	case state == http.StateIdle:
		if c.last || !c.frame.over() {
			panic(http.ErrAbortHandler) // net/http closes the connection, whose body may be in its own buffer
		}
		c.between = true
	case state == http.StateHijacked:
		c.end.SetFree()
		c.free.Store(true)
		c.end.leaveHTTP()
	}
}
