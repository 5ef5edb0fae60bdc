package server

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// QueuePolicy says what a Send does when the connection's outbound queue is at
// its bound.
type QueuePolicy uint8

const (
	// CloseWhenFull closes the connection with 1008; Send answers ErrQueueFull. With 1009
	// and ErrMessageTooBig, if the message alone is larger than the queue may be. It is
	// what 0 stands for in Server.Queue; in ConnLimits 0 is the server's policy.
	CloseWhenFull QueuePolicy = iota + 1
	// DropNewest does not take the message and counts it; Send answers
	// ErrQueueFull, or ErrMessageTooBig, and the connection goes on. DrainedHandler tells when to catch
	// up.
	DropNewest
	// DropOldest is for messages of groups alone, see GroupOptions.Policy: those that wait
	// longest, and may be dropped, make room.
	DropOldest
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
	// Handler is called for connections whose Accept names none; nil reads and
	// ignores messages, which is logged once as a warning.
	Handler Handler
	// Upgrade decides on each upgrade request, after the checks of RFC 6455
	// section 4.2.1 and of the origin. An error refuses: a *ws.Refusal with its
	// status, any other with 500 and a log line; ErrUseHTTP leaves the request to HTTP. It
	// may block. Nothing cuts it, but the request's Context ends when Timeouts.Handshake is
	// over, the client has left, or the server stops: then return its error, and the client
	// gets 503. A hook that accepts all the same is heard. Half of Runtime.Workers may be in a
	// hook at once, other upgrades wait, within Timeouts.Handshake, and then get 503. The
	// request is valid until the hook returns (Clone keeps it). nil accepts all.
	// Mux.Upgrade is such a hook.
	Upgrade func(r *ws.Request) (Accept, error)
	// EventStreams has requests for an event stream (ws.Request.EventStream: a GET with
	// text/event-stream in Accept, and no upgrade) treated like those for a WebSocket: they have the
	// same limits, the Upgrade hook is asked, which answers with Accept.EventStream, a
	// refusal, or ErrUseHTTP, and the connection is in the loops and in groups. Without a hook
	// all are accepted. Otherwise they are plain requests.
	EventStreams bool
	// Subprotocols the server speaks; the client's first offer among them is
	// selected unless the hook selects one.
	Subprotocols []string
	// Origin says which pages and hosts an upgrade may come from; the zero value allows
	// the same origin.
	Origin Origin
	// Deflate compresses messages with clients that offer it; nil does not.
	Deflate *Deflate
	// HTTP serves requests that are not WebSocket upgrades, and those that the Upgrade hook
	// leaves to it (ErrUseHTTP), through net/http, on the same port; nil answers them with
	// 426.
	HTTP http.Handler
	// TLSConfig is for ListenAndServeTLS and ServeTLS, which take a copy; nil is
	// the zero configuration. Without NextProtos "h2" and "http/1.1" are offered.
	// "h2" is left out, also of what GetConfigForClient returns, where nobody serves it:
	// without HTTP or EventStreams, with DisableHTTP2, and with GODEBUG=http2server=0. Its callbacks, and
	// keys that ask somebody else for signatures, may block: neither loops nor other
	// handshakes wait. What GetConfigForClient returns may have callbacks too; it is then
	// copied in each handshake, 0.5 KB for as long as the connection lives. Sessions are
	// resumed across all that it returns, but for those with SetSessionTicketKeys.
	TLSConfig *tls.Config
	// DisableHTTP2 has TLS listeners offer no HTTP/2: HTTP, and event streams, are then served over
	// HTTP/1.1.
	DisableHTTP2 bool
	// Proxy says what stands between the clients and the server, and what it may tell.
	Proxy Proxy
	// Limits bound what peers can take up; the zero value has bounds for all that costs
	// memory.
	Limits Limits
	// Queue is about the outbound queue of each connection.
	Queue Queue
	// Timeouts bound how long peers may take.
	Timeouts Timeouts
	// Keepalive has silent connections pinged, every 25 s by default.
	Keepalive Keepalive
	// Runtime is what the server runs on.
	Runtime Runtime
	// Logger gets what has no caller to be returned to; nil is slog.Default(). Its
	// handler's Handle may block, panic or fail: it is called by one goroutine, while
	// up to 1,024 records wait (see package asynclog, whose Handler may also be set
	// here), and what does not fit is dropped, counted and told. Its Enabled is called
	// on the loops and must not block. At debug level it gets refused requests and
	// failed connections, one by one but at most 100 a second.
	Logger *slog.Logger
	// LogRefusals has each refused request, and what LogServed is told, logged at info level, for an access log.
	LogRefusals bool

	startOnce sync.Once
	startErr  error
	started   atomic.Bool
	unhandled sync.Once // that messages are ignored was told
	uncounted sync.Once // that Limits.ConnsPerAddr does not bound a client was told
	limits    limits
	owns      owns
	limitHits limitHits
	admission admission
	admits    admittance
	governor  governor

	groupSent, groupRefused, groupIDs atomic.Uint64

	fallback  handling // of connections whose Accept says nothing else
	engine    poller.Engine
	instance  uint64 // a random number, for ids
	loops     []*shard
	nextLoop  atomic.Uint32
	group     *loop.Group
	netHTTP   netHTTP
	decoders  sync.Pool   // of *ws.Decoder, see Conn.setUp
	accepting atomic.Bool // a listener is, or was, accepted from
	phase     phaseWord
	stopping  atomic.Bool   // draining or stopped: no more listeners, no more upgrades
	halt      chan struct{} // closed by the first Close
	refusals  refusals
	loopsDone sync.WaitGroup // loops that run, and the goroutines of bridges

	compression *compression // nil: Deflate is
	handshakes  handshakes
	hooks       hooks

	logging logging
	details details

	mu        sync.Mutex
	listeners map[listening]chan error // gets why the listener is closed
	drain     *drain                   // under way, or over; set before the loops are told
	halted    bool                     // halt is closed
}
