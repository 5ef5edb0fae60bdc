package server

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/proxyproto"
	"github.com/millrace/millrace/ws"
)

// # Guests
//
// A net.Conn of somebody else's listener that no loop can watch is a guest: a bridge
// carries it from its first byte on. All that may block (who its peer is, a PROXY header,
// the TLS handshake) the bridge's reader finds out before it reads. The connection is in
// its loop meanwhile, which knows no more of it than of any other that has said nothing:
// its handshake's time counts.
//
// Up to the upgrade the reader is paced: it reads on when a turn asks for more. So a plain
// request that came whole finds it at rest, and the net.Conn can be net/http's.

// guest is what a bridge's reader finds out before it reads.
type guest struct {
	met atomic.Bool // it has: what follows is the turn's from then on

	remote, local netip.AddrPort
	unix          bool
	header        *proxyproto.Header // nil: none is due
	tls           bool               // it begins with a handshake, which was done
	secured       *tls.ConnectionState
	err           error // why there is nothing to read
}

// newGuest is a bridge to conn, over which TLS is to be spoken if config is not nil.
func newGuest(s *Server, conn net.Conn, config *tls.Config) *bridge {
	if config != nil {
		conn = tls.Server(conn, config)
	}
	b := newBridge(s, conn)
	_, secure := conn.(*tls.Conn)
	b.paced, b.guest = true, &guest{tls: secure}
	return b
}

// firstState is where a guest begins.
func (g *guest) firstState(s *Server) connState {
	switch {
	case s.Proxy.Protocol:
		return stateProxy
	case g.tls:
		return stateSecure
	}
	return stateHead
}

// meet finds out who the guest is; false means that there is nothing to read. The reader
// calls it.
func (b *bridge) meet() bool {
	g := b.guest
	g.err = errCallback // if a callback ends the goroutine
	defer func() {
		if p := recover(); p != nil {
			b.conn.loop.callbackPanicked(p, b.conn.RemoteName())
		}
		g.met.Store(true)
		b.conn.wake()
	}()
	g.err = g.look(b.srv, b.far.(net.Conn))
	return g.err == nil
}

// look may block: an address, for one, may have to be read from the connection.
func (g *guest) look(s *Server, conn net.Conn) (err error) {
	secure, _ := conn.(*tls.Conn)
	if s.Proxy.Protocol {
		below := conn
		if secure != nil {
			below = secure.NetConn()
		}
		if g.remote = remoteOf(below); !s.mayProxy(g.remote.Addr()) {
			return &proxyError{errUntrusted}
		}
		if g.header, err = readProxyHeader(below, s.limits.proxyHeader); err != nil {
			return &proxyError{err}
		}
	}
	if secure != nil {
		if err := secure.Handshake(); err != nil {
			return err
		}
		state := secure.ConnectionState()
		g.secured = &state
	}
	local := conn.LocalAddr()
	g.remote, g.local, g.unix = remoteOf(conn), addrPortOf(local), isUnix(local)
	return nil
}

// proxyError is why there is no right PROXY header.
type proxyError struct{ error }

// shortestProxyHeader is the least that any has: "PROXY UNKNOWN\r\n".
const shortestProxyHeader = 15

// readProxyHeader reads a PROXY header, and no byte that stands behind it.
func readProxyHeader(conn io.Reader, most int) (*proxyproto.Header, error) {
	var head []byte
	for empty := 0; ; {
		missing := max(shortestProxyHeader-len(head), 1)
		if len(head) >= 16 && head[0] == '\r' { // of version 2, which has told its length
			missing = 16 + int(binary.BigEndian.Uint16(head[14:])) - len(head)
		}
		read := len(head)
		head = append(head, make([]byte, missing)...)
		n, err := conn.Read(head[read:])
		head = head[:read+n]
		h, size, wrong := proxyproto.Parse(head, most)
		switch {
		case wrong != nil:
			return nil, wrong
		case size > 0:
			return &h, nil
		case err != nil:
			return nil, err
		case n > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return nil, io.ErrNoProgress
			}
		}
	}
}

// speaksHTTP2 says whether that was agreed on; nil is no guest.
func (g *guest) speaksHTTP2() bool {
	return g != nil && g.secured != nil && g.secured.NegotiatedProtocol == protoHTTP2
}

// greet goes on, in a turn, with a guest whom the reader has met.
func (c *Conn) greet(w *worker) {
	g := c.in.guest
	if !g.met.Load() || c.stateNow() > stateHead {
		return // woken for another reason
	}
	c.in.guest = nil
	if g.err != nil {
		c.guestFailed(g)
		return
	}
	b := w.stream.(*bridge)
	c.mu.Lock()
	c.advance(stateHead)
	if b.local, b.unix, b.secured = g.local, g.unix, g.secured; g.unix {
		c.state.Or(unixSocket)
	}
	c.mu.Unlock()
	if g.tls {
		c.loop.counters.tlsDone.Add(1)
	}
	if client, ok := c.identify(g); !ok {
		c.turnDown(client, refuseUnread)
		return
	}
	switch {
	case !g.speaksHTTP2():
	case c.loop.srv.servesHTTP2():
		c.goSecured(protoHTTP2)
	default:
		c.refuseHTTP2(refuseNoHTTP2)
	}
}

// identify gives the connection its client's address, if there is room for one more from
// there: not ok, if not.
func (c *Conn) identify(g *guest) (client netip.AddrPort, ok bool) {
	if g.header == nil {
		return g.remote, c.setClientAddr(g.remote) == nil
	}
	if c.standForOneOf(g.remote, math.MaxInt32) != nil { // the proxy
		return g.remote, false
	}
	return clientOf(g.header), c.passProxy(g.header)
}

// guestFailed ends a connection whose reader has nothing to read.
func (c *Conn) guestFailed(g *guest) {
	var header *proxyError
	if errors.As(g.err, &header) {
		c.loop.proxyRefused(g.remote, header.error)
		c.end(errNoProxyHeader, endNow)
		return
	}
	c.loop.handshakeFailed(c.RemoteName(), g.err.Error())
	c.end(fmt.Errorf("%w: TLS handshake: %w", errGone, g.err), endNow)
}

var refuseNoHTTP2 = &ws.Refusal{Status: http.StatusHTTPVersionNotSupported, Reason: "HTTP/2 was agreed on, and nobody serves it"}

// connectionStater is a connection that speaks TLS, as net/http knows it.
type connectionStater interface{ ConnectionState() tls.ConnectionState }

// requestTLS is what the TLS handshake of a request's connection has agreed on, nil if
// it had none.
func (c *Conn) requestTLS(b *bridge) *tls.ConnectionState {
	if far, ok := b.far.(connectionStater); ok && b.secured == nil {
		state := far.ConnectionState() // it wraps a tls.Conn, which has given bytes
		c.mu.Lock()
		b.secured = &state
		c.mu.Unlock()
	}
	return b.secured
}

// handGuest gives net/http the net.Conn that a bridge has carried so far.
func (c *Conn) handGuest(in []byte, frame requestFraming) {
	l := c.loop
	c.mu.Lock()
	b := c.stream().(*bridge)
	conn := b.far.(net.Conn)
	c.state.Or(inHTTP)
	end := newHTTPSocket(l.srv, conn, c.remote(), true)
	handed := newHTTPConn(end, end, frame, append([]byte(nil), in...))
	handed.viaTLS, handed.anonymous = c.in != nil && c.in.secure, c.is(anonymousClient)
	c.facts.stream = nil
	c.mu.Unlock()
	l.counters.bridged.Add(-1)
	l.counters.handedToHTTP.Add(1)
	given := net.Conn(handed)
	switch far, secure := conn.(connectionStater); {
	case in == nil: // of HTTP/2, for which net/http wants the *tls.Conn itself
		given = conn
		l.srv.netHTTP.guests.Store(conn, handed)
	case secure:
		given = tlsHTTPConn{handed, far}
	}
	b.handOver(func(rest []byte) {
		handed.unread = append(handed.unread, rest...)
		if !l.srv.startNetHTTP() {
			_ = handed.Close() // the server is closing: the peer sees just that
			return
		}
		l.srv.netHTTP.offered.Add(1)
		l.srv.netHTTP.conns.Offer(given)
	})
}

// takeGuest is the bridge over which a connection that net/http had comes back to a loop.
// The caller holds the httpConn's mu.
func (c *httpConn) takeGuest(first bool) *bridge {
	s, conn := c.end.srv, c.end.conn
	_ = conn.SetDeadline(time.Time{}) // the reader finds out if it is broken
	b := newBridge(s, conn)
	local := conn.LocalAddr()
	b.paced, b.local, b.unix = first, addrPortOf(local), isUnix(local)
	if far, ok := conn.(connectionStater); ok {
		state := far.ConnectionState()
		b.secured = &state
	}
	go b.run() // ends with the connection
	return b
}
