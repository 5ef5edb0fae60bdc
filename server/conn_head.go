package server

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// consumeHead takes the request head from in, answers it, and returns what is left:
// frames that came in the same segment. A head that is not whole yet is kept.
func (c *Conn) consumeHead(w *worker, in []byte) (rest []byte) {
	var scanner ws.HeadScanner
	if c.in != nil && c.in.head != nil {
		c.in.head = c.in.head.Grow(len(in))
		c.in.head.B = append(c.in.head.B, in...)
		scanner, in = c.in.scanner, c.in.head.B
	}
	end, err := scanner.Scan(in, c.loop.srv.limits.head)
	switch {
	case err != nil:
		c.refuseHead(in, err)
		return nil
	case end == 0:
		c.keepHead(scanner, in)
		return nil
	}
	if c.answer(w, in, end, &scanner); c.waitsForHook() {
		return nil
	}
	return in[end:]
}

// What is no request, but something that somebody has set up wrongly.
var (
	refuseTLS   = &ws.Refusal{Status: http.StatusBadRequest, Reason: "a TLS handshake where none is expected"}
	refuseProxy = &ws.Refusal{Status: http.StatusBadRequest, Reason: "a PROXY header where none is expected"}
)

// keepHead keeps an unfinished head, or PROXY header, for the next turn.
func (c *Conn) keepHead(scanner ws.HeadScanner, in []byte) {
	p := c.ensureInbound()
	if p.head == nil {
		p.head = buffer.Get(len(in))
		p.head.B = append(p.head.B, in...)
	}
	p.scanner = scanner
}

// answer decides what becomes of a request: an open connection, a connection of
// net/http, or a refusal. in holds its head and what came behind it.
func (c *Conn) answer(w *worker, in []byte, end int, scanner *ws.HeadScanner) {
	r := &w.request
	r.Reset()
	err := r.ParseScanned(in[:end], scanner)
	peer := c.RemoteAddr()
	if c.waitsForHook() {
		peer = c.in.hook.peer // the same request as before: forwarded headers count as then
	}
	r.RemoteAddr = peer
	r.TLS = c.in != nil && c.in.secure
	switch s := w.stream.(type) {
	case *tlsStream:
		r.TLS, r.TLSState = true, s.connectionState()
	case *bridge:
		if r.TLSState = c.requestTLS(s); r.TLSState != nil {
			r.TLS = true
		}
	}
	if err == nil && !c.is(anonymousClient) {
		err = c.loop.srv.trustForwarded(r, c.is(unixSocket))
	}
	switch {
	case err != nil:
	case c.loop.srv.forHook(r):
		if err = c.upgrade(w, r); err != nil && errors.Is(err, ErrUseHTTP) {
			err = c.toHTTP(r, in, end, refuseNoHTTP)
		}
	default:
		err = c.toHTTP(r, in, end, nil)
	}
	if err == errWaits {
		c.awaitHook(w, in, scanner, peer)
	} else if err != nil {
		c.refuseRequest(r, in[:end], err)
	}
}

// toHTTP has Server.HTTP serve the request, or says why not: none if there is no HTTP, or
// what is right for a plain request then.
func (c *Conn) toHTTP(r *ws.Request, in []byte, end int, none *ws.Refusal) error {
	switch {
	case c.loop.srv.HTTP != nil:
	case none != nil:
		return none
	default:
		return c.loop.srv.refusePlain(r)
	}
	if err := c.loop.srv.reserveHTTP(); err != nil {
		return err
	}
	c.handToHTTP(in, frameOf(r, end))
	return nil
}

// forHook says whether a request is for a WebSocket, or an event stream of ours.
func (s *Server) forHook(r *ws.Request) bool {
	return r.WantsUpgrade() || s.EventStreams && r.EventStream()
}

// checkOpening judges such a request.
func checkOpening(r *ws.Request) error {
	if r.WantsUpgrade() {
		return r.CheckUpgrade()
	}
	return r.CheckEventStream()
}

// upgrade opens the connection, or says why not.
func (c *Conn) upgrade(w *worker, r *ws.Request) error {
	if err := checkOpening(r); err != nil {
		return err
	}
	s := c.loop.srv
	if s.stopping.Load() {
		return refuseStopping
	}
	if s.trustsSomebody() && r.RemoteAddr.IsValid() {
		if err := c.setClientAddr(r.RemoteAddr); err != nil {
			return err
		}
		s.warnUncounted(c.RemoteAddr())
	}
	asks := s.asks()
	if asks {
		if err := c.enterHook(); err != nil {
			return err
		}
	}
	if err := s.reserve(); err != nil {
		if asks {
			s.hooks.leave()
		}
		return err
	}
	defer func() {
		if c.handler == nil { // refused, or the hook panicked
			s.giveBack()
		}
	}()
	var accept Accept
	var err error
	if asks {
		accept, err = w.decideIn(c, r)
		w.noteSlow(c, "Upgrade")
	} else {
		accept, err = s.decide(r)
	}
	if err != nil {
		return err
	}
	w.plain, err = s.appendUpgrade(w.plain[:0], r, &accept, w.date(c.loop.Now()))
	if err != nil {
		accept.abandon()
		return err
	}
	s.admission.handshakes.Add(-1)
	c.open(w, r, accept, w.plain)
	return nil
}

// appendUpgrade appends the 101 that accepts r, having decided on compression, or the 200.
// What that takes is freed by compression.release, or here after an error.
func (s *Server) appendUpgrade(dst []byte, r *ws.Request, accept *Accept, date string) ([]byte, error) {
	if accept.EventStream {
		return ws.AppendEventStream(dst, &ws.Response{Subprotocol: accept.Subprotocol, Header: accept.Header, Date: date})
	}
	resp := s.responseTo(r, accept)
	resp.Date = date
	dst, err := ws.AppendUpgrade(dst, r, &resp)
	if err != nil {
		s.freeWindows(accept.deflate)
	}
	return dst, err
}

// responseTo is the answer to r, with what accept then holds of compression.
func (s *Server) responseTo(r *ws.Request, accept *Accept) ws.Response {
	resp := ws.Response{Subprotocol: accept.Subprotocol, Header: accept.Header}
	if s.compression != nil && !accept.NoDeflate {
		var full bool
		resp.Deflate, accept.deflate, full = s.compression.negotiate(r)
		if full {
			s.hit(LimitWindows)
		}
	}
	return resp
}

// asks says whether something of the application's is asked, which may be slow.
func (s *Server) asks() bool { return s.Upgrade != nil || s.Origin.Check != nil }

// decide asks whether the request is let through, and then the hook.
func (s *Server) decide(r *ws.Request) (accept Accept, err error) {
	if err := s.admit(r); err != nil {
		return accept, err
	}
	if s.Upgrade != nil {
		if accept, err = s.Upgrade(r); err != nil {
			return accept, err
		}
		if s.stopping.Load() { // the hook may have taken its time
			accept.abandon()
			return accept, refuseStopping
		}
	} else {
		accept.EventStream = !r.WantsUpgrade()
	}
	filled, err := s.withDefaults(r, accept)
	if err != nil {
		accept.abandon()
	}
	return filled, err
}

// abandon says that no connection is opened.
func (a *Accept) abandon() {
	if a.Abandoned != nil {
		a.Abandoned()
	}
}

// withDefaults fills in what a hook left open. The error says that it can not be so.
func (s *Server) withDefaults(r *ws.Request, accept Accept) (_ Accept, err error) {
	switch events := !r.WantsUpgrade(); {
	case events && !accept.EventStream:
		return accept, errNoEventStream
	case !events && accept.EventStream:
		return accept, errNoWebSocket
	case accept.Handler == nil && s.Handler == nil:
		s.warnUnhandled()
	}
	if accept.shared, err = s.handlingFor(accept.Handler, accept.MissedNotice); err != nil {
		return accept, err
	}
	if accept.Subprotocol == "" && len(s.Subprotocols) > 0 && !accept.EventStream {
		accept.Subprotocol = r.SelectSubprotocol(s.Subprotocols...)
	}
	if accept.Limits != nil {
		_, streams := accept.shared.Handler.(StreamHandler)
		compressed := s.Deflate != nil && !accept.NoDeflate
		accept.own, err = s.ownLimits(*accept.Limits, !streams || compressed)
	}
	return accept, err
}

// open makes the connection a WebSocket, or an event stream: response is the 101 to send, or the 200.
func (c *Conn) open(w *worker, r *ws.Request, accept Accept, response []byte) {
	c.handler = accept.shared
	c.seat.DueChanged()
	c.countOpened(accept.EventStream)

	c.mu.Lock()
	c.advance(stateOpen)
	c.state.Or(accept.bits())
	if c.queue() != nil {
		c.fitQueue() // it is of the TLS handshake
	}
	if accept.EventStream {
		response = append(response, sse.Comment...) // nginx passes no head on over HTTP/2 without a body
	}
	c.putHTTP(response)
	c.value = accept.Value
	if c.facts == nil {
		c.facts = &w.facts
	}
	c.facts.request = r
	c.facts.subprotocol = accept.Subprotocol
	c.facts.deflate = accept.deflate
	w.deflate = accept.deflate
	if accept.own != nil {
		c.useLimits(accept.own)
	}
	w.limits = c.limits()
	if w.limits.idle > 0 && !accept.EventStream {
		c.facts.messageAt = c.loop.RightNow()
	}
	w.pacing.rates = nil
	if w.limits.paced() && !accept.EventStream {
		w.pacing.rates = c.loop.newRates()
	}
	c.facts.rates = w.pacing.rates
	c.beginContext(w)
	c.mu.Unlock()

	defer c.afterOpen(w, accept.KeepRequest) // also if Open panics: w.facts is the worker's
	c.handler.Open(c)
	w.noteSlow(c, "Open")
}

// bits are those of Conn.state for what the connection becomes.
func (a *Accept) bits() (what uint32) {
	if _, streams := a.shared.Handler.(StreamHandler); streams {
		what |= streaming
	}
	if a.EventStream {
		what |= eventStream
	}
	if a.Enveloped {
		what |= enveloped
	}
	return what
}

// afterOpen keeps the facts that are worth it with the connection.
func (c *Conn) afterOpen(w *worker, keepRequest bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.facts
	if keepRequest {
		f.request = f.request.Clone()
	} else {
		f.request = nil
	}
	if f != &w.facts {
		return
	}
	shared := (f.deflate == nil || f.deflate.facts != nil) && *f == (facts{deflate: f.deflate, limits: f.limits})
	if shared && !c.limits().alone() {
		c.facts = c.loop.srv.sharedFacts(f.deflate, f.limits)
	} else {
		kept := *f
		c.facts = &kept
	}
	*f = facts{}
}

// ignore is the Handler of a server that has none.
type ignore struct{}

func (ignore) Open(*Conn)                {}
func (ignore) Message(*Conn, ws.Message) {}
func (ignore) Close(*Conn, error)        {}

// headSoFar is what there is of the request's head, between turns.
func (c *Conn) headSoFar() []byte {
	if c.in == nil || c.in.head == nil || c.stateNow() != stateHead {
		return nil
	}
	return c.in.head.B
}

// refuseFrom is refuseRequest for a client whose address is known otherwise.
func (c *Conn) refuseFrom(remote netip.AddrPort, r *ws.Request, head []byte, err error) {
	s := c.loop.srv
	refusal := s.refusalOf(err, remote)
	s.refused(refusal, remote, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(refusal, endLinger)
	c.putHTTP(appendRefusal(nil, head, refusal))
}

// putHTTP sends bytes that are no frames, the first of the connection. The
// caller holds mu.
func (c *Conn) putHTTP(b []byte) {
	c.sentBytes(len(b))
	if c.out != nil && c.out.corked {
		c.out.cork = append(c.out.cork, b...)
		c.out.plain = len(c.out.cork)
		return
	}
	if c.out != nil {
		c.out.Add(b, nil, len(b), 0) // of the TLS handshake
		c.charge()
		return
	}
	c.writeOut(b, nil, len(b), nil) // the turn was slow: the cork is gone
}
