package server

import (
	"bytes"
	"errors"
	"net/http"
	"net/netip"

	"github.com/millrace/millrace/internal/tlsrecord"
	"github.com/millrace/millrace/ws"
)

// refuseHead refuses a head that is none, or too much of one.
func (c *Conn) refuseHead(head []byte, err error) {
	var refusal *ws.Refusal
	switch {
	case !errors.As(err, &refusal):
	case refusal.Status == http.StatusRequestHeaderFieldsTooLarge, refusal.Status == http.StatusRequestURITooLong:
		c.loop.srv.hit(LimitHead)
	case bytes.HasPrefix(head, []byte{tlsrecord.Handshake, 3}), len(head) == 1 && head[0] == tlsrecord.Handshake:
		err = refuseTLS
	case bytes.HasPrefix(head, []byte("PROXY ")), bytes.HasPrefix(head, []byte("\r\n\r\n\x00")):
		err = refuseProxy
	}
	c.refuseRequest(nil, head, err)
}

// refuse answers with an HTTP error and ends the connection, having let the peer
// read the answer.
func (c *Conn) refuse(err error) {
	c.refuseRequest(nil, c.headSoFar(), err)
}

// refuseRequest is refuse for a request that is known, or whose head is at least
// begun.
func (c *Conn) refuseRequest(r *ws.Request, head []byte, err error) {
	remote := c.RemoteAddr()
	if r != nil && r.RemoteAddr.IsValid() {
		remote = r.RemoteAddr // of the client, also where the refusal came before setClientAddr
	}
	c.refuseFrom(remote, r, head, err)
}

// refusalOf is the answer to an error; one that is no refusal is ours.
func (s *Server) refusalOf(err error, remote netip.AddrPort) *ws.Refusal {
	var refusal *ws.Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	s.log().Error("upgrade failed", "remote", addrName(remote), "err", err.Error()) // as long as err may look at the request
	return refuseInternal
}

// refused counts and logs a refusal. Of a connection that is turned away before anybody
// has read what it asks for, only the limit counts.
func (s *Server) refused(refusal *ws.Refusal, remote netip.AddrPort, r *ws.Request) {
	if refusal != refuseHandshakes && refusal != refuseUnread {
		s.refusals.add(refusal.Status)
	}
	s.logRefusal(refusal, remote, r)
}

var refuseInternal = &ws.Refusal{Status: http.StatusInternalServerError, Reason: "internal server error"}

// headTimedOut ends a connection that did not bring its request head in time.
func (c *Conn) headTimedOut() {
	refusal := refuseLate
	switch {
	case c.loop.srv.stopping.Load():
		refusal = refuseStopping
	case c.waitsForHook():
		refusal = refuseHooks
		fallthrough
	default:
		c.loop.srv.hit(LimitHandshakeTimeout)
	}
	if c.in == nil || c.in.head == nil || c.stateNow() < stateHead {
		c.end(errTooLate, endNow) // it said nothing and gets no answer
		return
	}
	c.refuse(refusal)
}

var refuseLate = &ws.Refusal{Status: http.StatusRequestTimeout, Reason: "request not complete in time"}

// appendRefusal appends the whole answer to a request whose head, or its beginning,
// is head; nil if it is not known.
func appendRefusal(dst, head []byte, refusal *ws.Refusal) []byte {
	method := ""
	if bytes.HasPrefix(bytes.TrimPrefix(head, emptyLine), []byte(http.MethodHead+" ")) {
		method = http.MethodHead
	}
	return ws.AppendRefusalTo(dst, method, httpDate(), refusal)
}
