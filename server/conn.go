package server

import (
	"crypto/tls"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// connState is where a connection stands; it only grows.
type connState uint8

const (
	stateProxy     connState = iota // a PROXY header is awaited
	stateSecure                     // the TLS handshake is under way
	stateHead                       // its request head is being read
	stateOpen                       // upgraded
	stateClosing                    // our close frame is out, the peer's is awaited
	stateEnding                     // over: Handler.Close is due, if it was opened
	stateFlushing                   // Handler.Close was called: what is queued is being written
	stateLingering                  // our direction is ended: the peer has the time to read
	stateClosed                     // the descriptor is gone, or handed to net/http
)

// Conn is a WebSocket connection, or an event stream (IsEventStream). All methods may be called from any goroutine, also
// after it is closed; none but WaitBuffered blocks. None calls a handler, so the caller
// may hold a lock that handlers take. A Conn is never reused for another peer.
type Conn struct {
	// It is small, since most connections are idle: what only a busy one needs hangs on
	// it while it is needed (in, out, facts).

	loop    *shard
	handler *handling // set at the upgrade, before Open

	// The turn's: only the worker whose turn it is touches these.
	in       *inbound // unfinished bytes
	fd       int32    // Send uses it under mu before stateClosed; -1: handed to net/http, or a bridge's
	pingedAt tick     // when a keepalive ping, or an event stream's comment, went out since the last sign of life; 0: none did

	seat   loop.Seat     // its place in the loop, and what its turn leaves to the leader
	active atomic.Uint32 // tick of the last sign of life from the peer
	state  atomic.Uint32 // a connState, a manner from bit 8, why it is paused, and what it is; written under mu, read anywhere

	mu     sync.Mutex // guards what follows
	out    *outbound  // the cork or the queue; nil: Send writes right away
	facts  *facts
	value  any // the application's, or *grouped; before the handshake of a secure connection its *entrance
	counts [numCounts]count
	port   uint16 // the peer's, or that of the client behind it
	ipv4   [4]byte
}

// facts are what only some connections have to remember.
type facts struct {
	subprotocol   string
	request       *ws.Request
	remote        netip.Addr        // see Conn.ipv4: if that is zero
	cause         error             // why the connection ends, for Handler.Close
	broken        error             // of a write: send nothing more, read what came before
	stream        stream            // nil: the descriptor
	closeAt       tick              // the deadline of its end
	lastWrittenAt tick              // when our last word was written; 0: it is not
	acked         int64             // what the peer's side had when its progress was last seen
	ackedAt       tick              // and when that was
	missedAt      tick              // when MissedHandler was last told
	pingedTo      int64             // what the peer's side has once it has our ping; 0: not noted
	behind        bool              // bytes that the peer had not acknowledged went out before our ping, or last word
	turnedAway    bool              // refused when it came: see admission
	shared        bool              // they are those of many: see Conn.ownFacts
	cut           bool              // it did not end as it should, see DrainProgress
	carries       [numCounts]uint32 // the high halves of Conn.counts
	messageAt     tick              // with Timeouts.Idle: when the last message came
	missed        uint32            // messages of groups of which MissedHandler is to be told
	limits        *ownLimits        // nil: the server's
	rates         *rates            // the turn's; nil without such limits
	deflate       *deflation        // nil: no compression
	context       *connContext      // or that of a slow Upgrade hook; nil: nobody has asked
	left          poller.Token      // ^token, for ID once the slot is free; 0: it still has its slot
}

// count is the low half of a counter; its high half is a carry in the
// connection's facts, which a connection has only once it has counted far.
type count uint32

const (
	messagesIn = iota
	messagesOut
	bytesIn
	bytesOut
	numCounts
)

// tally adds n to one of the connection's counts. The caller holds mu.
func (c *Conn) tally(which, n int) {
	before := c.counts[which]
	c.counts[which] += count(n)
	if carry := (uint64(before) + uint64(n)) >> 32; carry > 0 {
		c.ownFacts().carries[which] += uint32(carry)
	}
}

// untally takes n, which was added, off one of the connection's counts. The caller holds mu.
func (c *Conn) untally(which, n int) {
	now := c.total(which) - uint64(n)
	c.counts[which] = count(now)
	if c.facts != nil && uint64(c.facts.carries[which]) != now>>32 {
		c.ownFacts().carries[which] = uint32(now >> 32)
	}
}

// total is one of the connection's counts. The caller holds mu.
func (c *Conn) total(which int) uint64 {
	n := uint64(c.counts[which])
	if c.facts != nil {
		n += uint64(c.facts.carries[which]) << 32
	}
	return n
}

// Stats are a connection's counts since it was accepted.
type Stats struct {
	MessagesIn, MessagesOut uint64 // text and binary
	BytesIn, BytesOut       uint64 // all bytes, the handshake included; out: accepted for sending, without what was dropped from the queue
	Queued                  int    // bytes that wait in the outbound queue
}

func (c *Conn) stateNow() connState { return connState(c.state.Load()) }

// What a connection is: bits of Conn.state.
const (
	unixSocket      uint32 = 1 << 18 // its descriptor is a Unix socket
	anonymousClient uint32 = 1 << 19 // a PROXY header has named no client
	inHTTP          uint32 = 1 << 20 // net/http has it, and its address's place with it
	hungUp          uint32 = 1 << 21 // its peer has ended its direction
	streaming       uint32 = 1 << 22 // its handler is a StreamHandler
	limited         uint32 = 1 << 23 // it has limits of its own: facts.limits
	newLimits       uint32 = 1 << 24 // and its next turn is to take them up
	eventStream     uint32 = 1 << 25 // it is an event stream, and no WebSocket
	enveloped       uint32 = 1 << 26 // messages of groups come to it in their envelopes
	isBits                 = unixSocket | anonymousClient | inHTTP | hungUp | streaming | limited | newLimits | eventStream | enveloped
)

func (c *Conn) is(what uint32) bool { return c.state.Load()&what != 0 }

// over says whether the connection is finished: the leader frees its slot.
func (c *Conn) over() bool { return c.stateNow() == stateClosed }

// RemoteAddr is the client's address: the peer's, or what the PROXY header
// (Server.Proxy.Protocol) or trusted proxies (Server.Proxy.Trusted) say, with port
// 0 if they name none. It is the zero value on a Unix socket, whose name
// RemoteName is.
func (c *Conn) RemoteAddr() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote()
}

// remote is RemoteAddr. The caller holds mu.
func (c *Conn) remote() netip.AddrPort {
	switch {
	case c.ipv4 != [4]byte{}:
		return netip.AddrPortFrom(netip.AddrFrom4(c.ipv4), c.port)
	case c.facts == nil:
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(c.facts.remote, c.port)
}

// LocalAddr is the address that the peer has reached: of this machine, also where the
// peer is a proxy. It is the zero value on a Unix socket, when the connection is closed,
// and where the engine is no poller.Namer. The system is asked each time.
func (c *Conn) LocalAddr() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stateNow() >= stateClosed || c.is(unixSocket) {
		return netip.AddrPort{}
	}
	if b, ok := c.stream().(*bridge); ok {
		return b.local
	}
	namer, ok := c.loop.engine.(poller.Namer)
	if !ok {
		return netip.AddrPort{}
	}
	local, _ := namer.LocalAddr(int(c.fd)) // zero on an error: some systems tell none after a reset
	return local
}

// setRemote changes it. The caller holds mu, or nobody else has c yet.
func (c *Conn) setRemote(remote netip.AddrPort) {
	c.port, c.ipv4 = remote.Port(), [4]byte{}
	if remote.Addr().Is4() && remote.Addr() != netip.IPv4Unspecified() {
		c.ipv4 = remote.Addr().As4()
	} else if remote.IsValid() {
		c.ownFacts().remote = remote.Addr()
	}
}

// Subprotocol is the one selected at the upgrade, "" if none.
func (c *Conn) Subprotocol() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.facts == nil {
		return ""
	}
	return c.facts.subprotocol
}

// Request is the upgrade request: always within Handler.Open, where it is valid
// until Open returns; after it only if Accept.KeepRequest was set, nil
// otherwise.
func (c *Conn) Request() *ws.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.facts == nil {
		return nil
	}
	return c.facts.request
}

// Value is what SetValue or Accept.Value left here: the application's own.
func (c *Conn) Value() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.grouped(); g != nil {
		return g.value
	}
	return c.value
}

// SetValue keeps v with the connection.
func (c *Conn) SetValue(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.grouped(); g != nil {
		g.value = v
	} else {
		c.value = v
	}
}

// Server is the server that c is of.
func (c *Conn) Server() *Server { return c.loop.srv }

// Value returns c's Value as a T; ok is false if it is none.
func Value[T any](c *Conn) (value T, ok bool) {
	value, ok = c.Value().(T)
	return value, ok
}

// TLSState is what the client's TLS handshake agreed on, nil if the server has not
// done one: the connection is plain, or a proxy has ended TLS, or it is closed.
func (c *Conn) TLSState() *tls.ConnectionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.stream().(interface{ tlsState() *tls.ConnectionState }); ok && c.stateNow() < stateClosed {
		return s.tlsState()
	}
	return nil
}

// Buffered is how many bytes wait in the outbound queue: accepted by Send and
// not yet taken by the kernel, whose own buffers, and the peer's, come first.
func (c *Conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued()
}

// queued is Buffered. The caller holds mu.
func (c *Conn) queued() int {
	if c.out == nil {
		return 0
	}
	return c.out.size() + c.held()
}

// Stats are the connection's counts so far; those of a turn under way are added
// when it ends.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		MessagesIn: c.total(messagesIn), MessagesOut: c.total(messagesOut),
		BytesIn: c.total(bytesIn), BytesOut: c.total(bytesOut),
		Queued: c.queued(),
	}
}

// SetNoDelay turns Nagle's algorithm off (true, the default) or on.
func (c *Conn) SetNoDelay(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stateNow() >= stateClosed {
		return ErrClosed
	}
	if b, ok := c.stream().(*bridge); ok {
		c.mu.Unlock() // it is somebody else's connection, which may take its time
		defer c.mu.Lock()
		return b.setNoDelay(on)
	}
	return c.loop.engine.SetNoDelay(int(c.fd), on)
}

// writeBroken says that a write has failed. The caller holds mu.
func (c *Conn) writeBroken() bool { return c.facts != nil && c.facts.broken != nil }

// ownFacts returns the connection's own facts, to be changed under mu.
func (c *Conn) ownFacts() *facts {
	switch {
	case c.facts == nil:
		c.facts = &facts{}
	case c.facts.shared:
		own := *c.facts
		own.shared = false
		c.facts = &own
	}
	return c.facts
}

// wake asks for a turn, from any goroutine.
func (c *Conn) wake() { c.loop.Post(c.member(), woken) }
