package server

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// QueuePolicy says what a Send does when the connection's outbound queue is at
// its bound.
type QueuePolicy uint8

const (
	// CloseWhenFull closes the connection with 1008; Send answers ErrQueueFull.
	CloseWhenFull QueuePolicy = iota
	// DropNewest does not take the message and counts it; Send answers
	// ErrQueueFull and the connection goes on.
	DropNewest
)

// Server is a WebSocket server. Its zero value serves an empty Handler on
// ":8080"; set the fields before the first use and do not change them after. A value
// that can not work is an error when the server starts: see Validate. Times are from 1
// ms to 366 days; none is over early, or more than two tenths of a second late. All
// methods may be called from any goroutine.
type Server struct {
	// Addr is where to listen: a TCP address, "host:port", or a Unix socket,
	// "unix:/path"; "" is ":8080".
	Addr string
	// SocketMode are the permissions of a Unix socket's file: who may write to it may
	// connect. They are in place before anybody can. 0 is 0660.
	SocketMode fs.FileMode
	// Handler is called for connections whose Accept names none; nil reads and
	// ignores messages, which is logged once as a warning.
	Handler Handler
	// Upgrade decides on each upgrade request, after the checks of RFC 6455
	// section 4.2.1 and of the origin. An error refuses: a *ws.Refusal with its
	// status, any other with 500 and a log line. It may block: the request's Context
	// ends when there is nobody to wait for any more. Half of MaxWorkers may be in a
	// hook at once, other upgrades wait, within HandshakeTimeout, and then get 503. The
	// request is valid until the hook returns (Clone keeps it). nil accepts all.
	// Mux.Upgrade is such a hook.
	Upgrade func(r *ws.Request) (Accept, error)
	// CheckOrigin decides on the request's Origin; false refuses with 403. nil
	// accepts requests without one, from the same origin (scheme, host and port)
	// or from one of Origins.
	CheckOrigin func(r *ws.Request) bool
	// Origins are allowed besides the same origin: "https://example.com",
	// "https://*.example.com", "http://localhost:*", "capacitor://localhost", "null",
	// "*" for all; ws.ParseOriginPattern has the rules. Behind a balancer that ends TLS,
	// and does not tell (TrustedProxies), the page's own origin belongs here, and so
	// does that of a client that is no browser and sends http:// over TLS. CheckOrigin
	// takes their place.
	Origins []string
	// Hosts are those that upgrades may be for: "example.com", "*.example.com",
	// "[::1]:8080"; ws.ParseHostPattern has the rules. Others get 421, before the hook.
	// What counts is ws.Request.PublicHost: where a trusted proxy tells which host the
	// client asked for, that one. Empty is all, and then a page whose name its owner lets
	// point to this server (DNS rebinding) is of the same origin. Plain requests are
	// HTTP's own business.
	Hosts []string
	// Subprotocols the server speaks; the client's first offer among them is
	// selected unless the hook selects one.
	Subprotocols []string
	// Deflate compresses messages with clients that offer it; nil does not.
	Deflate *Deflate
	// HTTP serves requests that are not WebSocket upgrades, through net/http, on
	// the same port; nil answers them with 426.
	HTTP http.Handler
	// LoopsOnly refuses, with 501, what net/http can not hand over to an event
	// loop: see ServeHTTP. By default goroutines serve it.
	LoopsOnly bool

	// ProxyProtocol: each connection begins with a PROXY header, version 1 or 2, in
	// which a balancer says whose it is. One without is closed at once; there is no
	// guessing. It holds for all listeners of the server, not for connections that
	// net/http hands over.
	ProxyProtocol bool
	// TrustedProxies are those whose word counts. With ProxyProtocol only they may
	// connect; empty then stands for everybody (and so does a Unix socket, which
	// has no address). Forwarded, X-Forwarded-For, -Proto, -Host and -Port count from
	// them alone, empty is from nobody: see ws.Request.TrustForwarded. They do not count behind a PROXY
	// header that names no client (LOCAL, UNKNOWN, a Unix socket's), where the
	// connection is the proxy's: it has not written them.
	TrustedProxies []netip.Prefix
	// TrustUnix has peers on Unix sockets, which have no address, count among
	// TrustedProxies: their Forwarded headers are believed. Nobody but the balancer may
	// be able to connect then. With ProxyProtocol nobody with an address may, unless
	// TrustedProxies has it.
	TrustUnix bool
	// MaxProxyHeader bounds a PROXY header of version 2 in bytes, at least 52 (with IPv6
	// addresses); 0 is 65,551, the longest there can be.
	MaxProxyHeader int

	// MaxConns bounds the WebSockets that are open at once; an upgrade beyond it
	// is refused with 503 and Retry-After, plain requests are not. 0 is no bound but
	// the descriptors the process may have (see poller.RaiseDescriptorLimit).
	MaxConns int
	// MaxConnsPerAddr bounds the connections from one client address at once, the
	// first 64 bits of an IPv6 address standing for all of it; those beyond are
	// refused with 503 and Retry-After. Those that HTTP has count too. WebSockets of
	// TrustedProxies count for their clients, their plain requests do not; behind a
	// balancer that the server is not told of, all come from one address. 0 is no bound.
	MaxConnsPerAddr int
	// MaxHandshakes bounds the connections that are accepted and are no WebSocket
	// yet, refused ones included until they are gone. Those beyond are refused with
	// 503 and Retry-After as they come, or, from 1,024 such on, just closed. 0 is
	// 16,384, below 0 no bound.
	MaxHandshakes int
	// MaxHTTPConns bounds the connections that HTTP has at once, idle ones included: a
	// plain request on one more is refused with 503 and Retry-After, or GOAWAY. 0 is
	// 16,384, below 0 no bound.
	MaxHTTPConns int
	// MaxHTTPStreams bounds the plain requests that HTTP has under way at once over
	// HTTP/2, where one connection may carry 250, each with a goroutine: one more is
	// refused with 503 and Retry-After. 0 is 16,384, below 0 no bound.
	MaxHTTPStreams int
	// HandshakeRate bounds the upgrades a second, whether the hook accepts them or
	// not; HandshakeBurst is how many may come at once, 0 is as many as a second
	// has. Those beyond are refused with 503 and Retry-After. 0 is no bound.
	HandshakeRate, HandshakeBurst int
	// MaxHead bounds a request head in bytes, at least 135, the shortest handshake; 0 is
	// 16 KiB. A longer one gets 431, or 414 if it is the target's fault.
	MaxHead int
	// MaxHeadLines bounds its lines, at least 6; 0 is 100.
	MaxHeadLines int
	// HandshakeTimeout is the time from accept to upgrade, whatever comes before
	// it; 0 is 10 s.
	HandshakeTimeout time.Duration
	// MaxMessage bounds a message in bytes (1009); 0 is 1 MiB.
	MaxMessage int64
	// MaxEmptyFragments bounds the empty fragments of a message (1008); 0 is
	// 1,000.
	MaxEmptyFragments int
	// MessageRate bounds the messages a second of a connection, pings and pongs
	// included; MessageBurst is how many may come at once, 0 is as many as a second
	// has. The first beyond it closes the connection with 1008. 0 is no bound.
	MessageRate, MessageBurst int
	// ByteRate bounds the bytes a second that a connection sends, headers included;
	// ByteBurst is how many may come at once, at least what MaxMessage and its header
	// need; 0 is as many as a second has or MaxMessage needs. What is within is handled; the first byte beyond it closes
	// the connection with 1008. 0 is no bound.
	ByteRate, ByteBurst int64
	// Stream gives messages to Handler.Message in pieces, as their bytes arrive:
	// Message.More is set on all but the last.
	Stream bool
	// MaxQueue bounds a connection's outbound queue in bytes. What a single turn has
	// gathered (up to 88 KiB) may come on top. 0 is MaxMessage, QueueHighWater and 128
	// KiB together, and at least 1 MiB: an answer as large as its message finds room.
	MaxQueue int
	// QueueHighWater is the size of a connection's outbound queue, in bytes, above
	// which the connection is not read, so that a peer that takes answers slowly sends
	// slowly too. Reading goes on when the queue is down to QueueLowWater. At most the
	// answer to one message comes on top, and one read (128 KiB) waits to be handled. 0
	// is 64 KiB, or a quarter of MaxQueue if that is less; below 0 is never.
	QueueHighWater int
	// QueueLowWater: see QueueHighWater, which it is at most. 0 is a quarter of it.
	QueueLowWater int
	// MaxBacklog bounds the memory of all outbound queues together, in bytes. Beyond
	// it the connections with the largest queues are closed with 1008, or just cut
	// where a large frame is half out, until nine tenths are left; and under a memory
	// limit, Go's (GOMEMLIMIT) or the control group's, also below it, down to an eighth,
	// when the heap comes near the limit. A quarter beyond it no queue may grow:
	// QueuePolicy. 0 is half of the memory limit, 1 GiB without one; below 0 is no bound.
	// Where only the control group has a limit, half of that counts, since Go's heap may
	// grow to twice of what it holds: GOMEMLIMIT makes use of more.
	MaxBacklog int64
	// MaxInbound bounds the memory of all that was received and is not handled yet, in
	// bytes: unfinished request heads, TLS records and messages, and what connections
	// had read that are not read now. Beyond it connections are closed with 1008, those
	// first that hold the most for the longest without progress; before the upgrade they
	// are cut. It follows memory limits as MaxBacklog does, and gives way first. At least
	// what MaxMessage and MaxHead need, and 64 KiB; 0 is a quarter of the memory limit,
	// 512 MiB without one; below 0 is no bound.
	MaxInbound int64
	// QueuePolicy is what happens when a queue is full.
	QueuePolicy QueuePolicy
	// WriteTimeout is how long a peer may take nothing (less than 4 KiB, or less
	// than all that is queued) before it is cut; 0 is 30 s. It holds for HTTP's answers as
	// well; a stream of HTTP/2, where only what the peer allows shows how far it is, must
	// take 16 KiB.
	WriteTimeout time.Duration
	// MessageTimeout is how long an unfinished message may bring less than 4 KiB, or less
	// than the rest of it; then the connection is closed with 1008, pongs or not. It
	// stands still while the connection is paused. 0 is 30 s, below 0 never.
	MessageTimeout time.Duration
	// BodyTimeout is how long the body of a request to HTTP may bring less than 4 KiB, or
	// less than the rest of it, while somebody waits for it: the handler, or net/http that
	// skips what the handler has not read. Then reading it fails, and the connection ends
	// with the answer. 0 is 30 s, below 0 never.
	BodyTimeout time.Duration
	// HTTPIdleTimeout is how long HTTP's connections are kept between two requests. It must
	// be longer than a balancer in front keeps its connections to the server (Google's 600
	// s, AWS's 60 s), or what the balancer sends just then gets a 502. 0 is
	// BalancerIdleTimeout and 20 s, or 620 s without one; below 0 is for ever.
	HTTPIdleTimeout time.Duration
	// PingInterval is the time of silence, jittered by 20 %, after which a
	// connection is pinged; after two silent intervals it is closed. 0 is 25 s,
	// below 0 never.
	PingInterval time.Duration
	// BalancerIdleTimeout is after how long of silence a balancer before the server
	// cuts a connection. The default PingInterval is then at most half of it, and
	// one that could reach it, jitter included (MaxPingInterval), is an error when
	// the server starts. It is at least 1 s; 0 is no such balancer.
	BalancerIdleTimeout time.Duration
	// IdleTimeout closes a connection that sent no message (text or binary) for
	// this long, with 1001, pongs or not; 0 is never.
	IdleTimeout time.Duration
	// MaxLifetime closes a connection at the latest so long after it was accepted,
	// with 1001, each at a time of its own in the last fifth: clients spread anew over
	// the servers behind a balancer, and none is forgotten. 0 is never.
	MaxLifetime time.Duration
	// CloseTimeout is how long the peer may take for its part of the closing
	// handshake; 0 is 5 s.
	CloseTimeout time.Duration

	// TLSConfig is for ListenAndServeTLS and ServeTLS, which take a copy; nil is
	// the zero configuration. Without NextProtos "h2" and "http/1.1" are offered.
	// "h2" is left out, also of what GetConfigForClient returns, where nobody serves it:
	// without HTTP, with DisableHTTP2, and with GODEBUG=http2server=0. Its callbacks, and
	// keys that ask somebody else for signatures, may block: neither loops nor other
	// handshakes wait. What GetConfigForClient returns may have callbacks too; it is then
	// copied in each handshake, 0.5 KB for as long as the connection lives. Sessions are
	// resumed across all that it returns, but for those with SetSessionTicketKeys.
	TLSConfig *tls.Config
	// DisableHTTP2 has TLS listeners offer no HTTP/2: HTTP is then served over HTTP/1.1.
	DisableHTTP2 bool
	// MaxTLSHandshakes bounds the TLS handshakes that are under way at once, each
	// with a goroutine from when its ClientHello is whole. Others wait for their turn,
	// and while they do, a peer that keeps its own waiting for 2 s in all is cut. Of
	// the places an address gets three quarters, another three quarters of what is
	// left, and so on; of those that wait, the address with the fewest comes first. An
	// IPv6 /64 is one address, a PROXY header's counts, and TrustedProxies and Unix
	// sockets have none. 0 is 1,024. Whatever their number, they compute on at most half
	// of the processors.
	MaxTLSHandshakes int

	// Loops is the number of event loops, at most 1,024; 0 is GOMAXPROCS.
	Loops int
	// MaxWorkers bounds the goroutines that lead loops or are held by blocked
	// handlers, at most 1,048,576; at the bound the loops wait. 0 is 1,024; it is raised
	// to Loops+1.
	MaxWorkers int
	// Engine is the network; nil is poller.New(""), the system's default.
	Engine poller.Engine
	// Logger gets what has no caller to be returned to; nil is slog.Default(). Its
	// handler's Handle may block, panic or fail: it is called by one goroutine, while
	// up to 1,024 records wait (see package asynclog, whose Handler may also be set
	// here), and what does not fit is dropped, counted and told. Its Enabled is called
	// on the loops and must not block. At debug level it gets refused requests and
	// failed connections, one by one but at most 100 a second.
	Logger *slog.Logger
	// Debug finds mistakes of handlers, for tests and development: a payload is
	// overwritten as soon as it is not valid any more, and a text that is not UTF-8 is
	// not sent, with ErrNotUTF8. It costs time for each byte.
	Debug bool
	// LogRefusals has each refused request logged at info level, for an access log.
	LogRefusals bool

	startOnce sync.Once
	startErr  error
	started   atomic.Bool
	unhandled sync.Once // that messages are ignored was told
	limits    limits
	limitHits limitHits
	admission admission
	admits    admittance
	governor  governor
	fallback  Handler // of connections whose Accept names none
	engine    poller.Engine
	instance  uint64 // a random number, for ids
	loops     []*shard
	nextLoop  atomic.Uint32
	group     *loop.Group
	web       web
	decoders  sync.Pool   // of *ws.Decoder with the server's limits
	accepting atomic.Bool // a listener is, or was, accepted from
	phase     phaseWord
	stopping  atomic.Bool   // draining or stopped: no more listeners, no more upgrades
	halt      chan struct{} // closed by the first Close
	refusals  refusals
	loopsDone sync.WaitGroup // and their bridges

	compression *compression // nil: Deflate is
	handshakes  handshakes
	hooks       hooks

	logging logging
	details details

	mu        sync.Mutex
	listeners map[poller.Listener]chan error // gets why the listener is closed
	drain     *drain                         // under way, or over; set before the loops are told
	halted    bool                           // halt is closed
}
