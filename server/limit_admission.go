package server

import (
	"math"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/millrace/millrace/internal/addrcount"
	"github.com/millrace/millrace/internal/rate"
	"github.com/millrace/millrace/ws"
)

// # Who gets in
//
// A connection passes the bounds where it costs least to say no and yet a plain
// request, a balancer's health check perhaps, is still answered:
//
//   - accepted: Limits.Handshakes, of those that hold a descriptor and are no WebSocket;
//   - its address known: Limits.ConnsPerAddr, again when a proxy tells another one;
//   - asking for a plain page: Limits.HTTPConns;
//   - asking for the upgrade, before anything is asked of the application:
//     Limits.Conns, then Limits.HandshakeRate.
//
// Each count goes down in one place, when the connection's slot is freed
// (loop.leave), or, if it never got one, in Server.forget. A connection of net/http
// keeps its address's place, and has one among Limits.HTTPConns, until its httpSocket is
// closed or gives it back to a loop.
type admission struct {
	conns      atomic.Int64 // WebSockets, those about to be opened included; counted with Limits.Conns only
	handshakes atomic.Int64 // accepted and no WebSocket, answered ones included until they are gone
	turnedAway atomic.Int64 // refused when they came, and not gone yet; not among handshakes
	upgrades   rate.Bucket
	addresses  *addrcount.Counts // used with Limits.ConnsPerAddr only
}

// maxTurnedAway bounds the connections that were refused when they came and are
// given the time to read why. Those beyond are just closed.
const maxTurnedAway = 1024

func busy(reason, retryAfter string) *ws.Refusal {
	return &ws.Refusal{
		Status: http.StatusServiceUnavailable,
		Reason: reason,
		Header: http.Header{"Retry-After": {retryAfter}},
	}
}

var (
	refuseHandshakes = busy("too many handshakes at once", "1")
	refusePlain      = busy("too many plain connections", "1")
	refuseRate       = busy("too many handshakes a second", "1")
	refuseConns      = busy("too many connections", "5")
	refuseAddr       = busy("too many connections from your address", "5")
	refuseUnread     = busy(refuseAddr.Reason, "5") // the same, before its request was read
)

// countIn counts one more, unless there are most already; most 0 is no bound.
func countIn(n *atomic.Int64, most int) bool {
	for {
		now := n.Load()
		if most > 0 && now >= int64(most) {
			return false
		}
		if n.CompareAndSwap(now, now+1) {
			return true
		}
	}
}

// judge lets an accepted connection in, to be refused with a.refusal, or not at
// all.
func (s *Server) judge(a *arrival) (in bool) {
	if countIn(&s.admission.handshakes, s.limits.handshakes) {
		return true
	}
	s.hit(LimitHandshakes)
	a.refusal = refuseHandshakes
	return countIn(&s.admission.turnedAway, maxTurnedAway)
}

// judgeAddr is judge for the address, which is counted with the connection from
// here on.
func (s *Server) judgeAddr(a *arrival) (in bool) {
	if s.limits.connsPerAddr == 0 || !a.remote.IsValid() || a.refusal != nil || a.returns() {
		return true
	}
	most := s.mostFrom(a.remote.Addr())
	if s.firstState(a) == stateProxy {
		most = math.MaxInt32 // the PROXY header will name the client, and setClientAddr counts it
	}
	if s.admission.addresses.Enter(a.remote.Addr(), most) {
		return true
	}
	s.hit(LimitConnsPerAddr)
	refusal := refuseUnread
	if a.taken != nil {
		refusal = refuseAddr
		a.taken.settle(refusal)
	}
	s.forget(a)
	a.taken = nil
	a.refusal = refusal
	return countIn(&s.admission.turnedAway, maxTurnedAway)
}

// mostFrom bounds the connections from an address. Proxies have many: their
// connections count for the client as soon as it is known, see Conn.setClientAddr.
func (s *Server) mostFrom(addr netip.Addr) int {
	if s.trusts(addr) {
		return math.MaxInt32
	}
	return s.limits.connsPerAddr
}

// warnUncounted tells, once, that a client has opened a WebSocket from an address of the
// trusted proxies, which ConnsPerAddr does not bound: most likely the client and the
// balancer are on one machine, or Trusted is all of their network.
func (s *Server) warnUncounted(client netip.AddrPort) {
	if s.limits.connsPerAddr == 0 || !s.trusts(client.Addr()) {
		return
	}
	s.uncounted.Do(func() {
		s.log().Warn("client not counted by its address", "remote", addrName(client),
			"why", "its address is among the trusted proxies", "remedy", "trust the balancers' addresses alone")
	})
}

// forget takes off the counts a connection that does not get into a loop.
func (s *Server) forget(a *arrival) {
	switch {
	case a.refusal != nil:
		s.admission.turnedAway.Add(-1)
	case a.taken != nil:
		s.giveBack()
		s.freeWindows(a.taken.accept.deflate)
		a.taken.settle(refuseStopping) // if nothing else is said: no loop goes on
	default:
		s.admission.handshakes.Add(-1)
	}
}

// forgetAddr takes one whose address judgeAddr has counted off that count.
func (s *Server) forgetAddr(a *arrival) {
	if a.refusal == nil {
		s.leaveAddr(a.remote)
	}
}

func (s *Server) leaveAddr(remote netip.AddrPort) {
	if s.limits.connsPerAddr > 0 && remote.IsValid() {
		s.admission.addresses.Leave(remote.Addr())
	}
}

// leave takes a connection that is gone off the counts.
func (l *shard) leave(c *Conn) {
	s := l.srv
	switch {
	case c.handler != nil:
		s.giveBack()
	case c.facts != nil && c.facts.turnedAway: // never opened, so nobody else has c
		s.admission.turnedAway.Add(-1)
		return
	default:
		s.admission.handshakes.Add(-1)
	}
	if s.limits.connsPerAddr > 0 && !c.is(inHTTP) {
		s.leaveAddr(c.RemoteAddr())
	}
}

// reserve takes a place among the WebSockets, or says why there is none.
// giveBack frees it.
func (s *Server) reserve() error {
	if s.limits.conns > 0 && !countIn(&s.admission.conns, s.limits.conns) {
		s.hit(LimitConns)
		return refuseConns
	}
	if s.limits.upgrades.Limited() && !s.admission.upgrades.Take(s.limits.upgrades, s.engine.Now()) {
		s.giveBack()
		s.hit(LimitHandshakeRate)
		return refuseRate
	}
	return nil
}

// reserveHTTP takes a place among the connections of net/http, or says why there is
// none. httpSocket gives it back.
func (s *Server) reserveHTTP() error {
	if !countIn(&s.netHTTP.open, s.limits.httpConns) {
		s.hit(LimitHTTPConns)
		return refusePlain
	}
	return nil
}

func (s *Server) giveBack() {
	if s.limits.conns > 0 {
		s.admission.conns.Add(-1)
	}
}

// turnAway answers a connection that was accepted in vain. The leader calls it,
// before the first turn.
func (l *shard) turnAway(c *Conn, refusal *ws.Refusal) {
	c.ownFacts().turnedAway = true
	c.turnDown(c.RemoteAddr(), refusal)
	l.NextRound(c.member(), woken)
}
