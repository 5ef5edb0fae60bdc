package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/millrace/millrace/proxyproto"
	"github.com/millrace/millrace/ws"
)

// errUntrusted ends a connection that does not come from a trusted proxy.
var errUntrusted = errors.New("server: not from a trusted proxy")

// firstState is where an arrival begins.
func (s *Server) firstState(a *arrival) connState {
	switch {
	case a.back != nil:
	case a.guest():
		return a.bridge.guest.firstState(s)
	case s.Proxy.Protocol && a.taken == nil:
		return stateProxy
	case a.secure():
		return stateSecure
	}
	return stateHead
}

// mayProxy tells whether a PROXY header from this address counts. A Unix socket
// has none; who may connect to it, its file says.
func (s *Server) mayProxy(from netip.Addr) bool {
	return !s.trustsSomebody() || !from.IsValid() || s.trusts(from)
}

func (s *Server) trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(s.Proxy.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// consumeProxy takes the PROXY header from in and returns what is left for the next
// stage. A header that is not whole yet is kept.
func (c *Conn) consumeProxy(in []byte) (rest []byte) {
	all := in
	if c.in != nil {
		c.in.head = c.in.head.Grow(len(in))
		c.in.head.B = append(c.in.head.B, in...)
		all = c.in.head.B
	}
	h, size, err := proxyproto.Parse(all, c.loop.srv.limits.proxyHeader)
	switch {
	case err != nil:
		c.loop.proxyRefused(c.RemoteAddr(), err)
		c.end(errNoProxyHeader, endNow)
		return nil
	case size == 0:
		c.keepHead(ws.HeadScanner{}, all)
		return nil
	}
	if !c.passProxy(&h) {
		c.turnDown(clientOf(&h), refuseUnread)
		return nil
	}
	return in[len(in)-(len(all)-size):] // the header was not whole before in came
}

// passProxy goes on to the next stage, with the client's address if the header
// has one: otherwise the connection is the proxy's own, or nobody knows whose, and
// its address is the proxy's. What Forwarded or X-Forwarded-For say then is the
// client's word, not the proxy's, and not believed. Not ok: there is no room for one more
// of this client.
func (c *Conn) passProxy(h *proxyproto.Header) (ok bool) {
	ssl, _ := h.SSL()
	c.dropInbound()
	if ssl.TLS {
		c.ensureInbound().secure = true
	}
	c.mu.Lock()
	if c.advance(stateSecure); c.value == nil {
		c.advance(stateHead)
	}
	if !h.Source.IsValid() {
		c.state.Or(anonymousClient)
	}
	c.mu.Unlock()
	return !h.Source.IsValid() || c.setClientAddr(clientOf(h)) == nil
}

// clientOf is the address of the client that a header names; invalid for none.
func clientOf(h *proxyproto.Header) netip.AddrPort {
	return netip.AddrPortFrom(h.Source.Addr().Unmap(), h.Source.Port())
}

// setClientAddr gives the connection the address of its client in place of a proxy's,
// if there is room for one more from there. Which address a connection counts
// for is always its RemoteAddr.
func (c *Conn) setClientAddr(client netip.AddrPort) error {
	return c.standForOneOf(client, c.loop.srv.mostFrom(client.Addr()))
}

// standForOneOf is setClientAddr where there may be so many from the address.
func (c *Conn) standForOneOf(client netip.AddrPort, most int) error {
	s, before := c.loop.srv, c.RemoteAddr()
	if client == before {
		return nil
	}
	if s.limits.connsPerAddr > 0 && client.Addr() != before.Addr() {
		if client.IsValid() && !s.admission.addresses.Enter(client.Addr(), most) {
			s.hit(LimitConnsPerAddr)
			return refuseAddr
		}
		s.leaveAddr(before)
	}
	c.mu.Lock()
	c.setRemote(client)
	c.mu.Unlock()
	return nil
}

// proxyRefused counts a connection that is closed for want of a right PROXY
// header. The peer is told nothing, so the log tells the operator, who may have
// forgotten the balancer's half of it.
func (l *shard) proxyRefused(remote netip.AddrPort, err error) {
	if n := l.counters.proxyRefused.Add(1); n%100 == 1 {
		l.srv.log().Warn("PROXY header refused", "remote", addrName(remote), "err", err, "refused", n)
	}
}

// trustNetHTTP is trustForwarded for a request that net/http has.
func (s *Server) trustNetHTTP(r *http.Request, req *ws.Request) error {
	if r.Context().Value(anonymousKey{}) != nil {
		return nil
	}
	return s.trustForwarded(req, onUnix(r))
}

// remoteKey is the context key of who the client is, where net/http does not know it.
type remoteKey struct{}

// anonymousKey is the context key of connections whose client nobody knows.
type anonymousKey struct{}

// noteProxied notes for net/http what a PROXY header has said of the connection.
func (s *Server) noteProxied(ctx context.Context, conn net.Conn) context.Context {
	viaTLS, anonymous := false, false
	if c := httpConnOf(conn); c != nil {
		viaTLS, anonymous = c.viaTLS, c.anonymous
		ctx = context.WithValue(ctx, httpConnKey{}, c)
	} else if c, ok := s.netHTTP.guests.Load(conn); ok { // of HTTP/2
		c := c.(*httpConn)
		viaTLS, anonymous = c.viaTLS, c.anonymous
		ctx = context.WithValue(ctx, remoteKey{}, c.end.RemoteAddr().String())
	} else if secured, ok := conn.(*tls.Conn); ok { // of HTTP/2
		t, ok := secured.NetConn().(*transport)
		anonymous = ok && t.conn.is(anonymousClient)
	}
	if viaTLS {
		ctx = context.WithValue(ctx, securedKey{}, true)
	}
	if anonymous {
		ctx = context.WithValue(ctx, anonymousKey{}, true)
	}
	return ctx
}

// trustForwarded sets who the client of r is, and what it asked for, if trusted
// proxies say so. unix: the peer is on a Unix socket.
func (s *Server) trustForwarded(r *ws.Request, unix bool) error {
	trusted := s.Proxy.Trusted
	if s.Proxy.TrustUnix && unix && !r.RemoteAddr.IsValid() {
		trusted = append(slices.Clip(trusted), netip.Prefix{}) // see ws.Request.TrustForwarded
	}
	if len(trusted) == 0 {
		return nil
	}
	return r.TrustForwarded(trusted)
}

// trustsSomebody says whether the client may be another than the peer.
func (s *Server) trustsSomebody() bool { return len(s.Proxy.Trusted) > 0 || s.Proxy.TrustUnix }
