package server

import (
	"io/fs"
	"net/netip"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// Origin says which pages and hosts an upgrade may come from.
type Origin struct {
	// Check decides on the request's Origin; false refuses with 403. nil
	// accepts requests without one, from the same origin (scheme, host and port)
	// or from one of Allow. With it requests of other origins that have no Origin, see Sec-Fetch-Site, are its matter too.
	Check func(r *ws.Request) bool
	// Allow lists origins that are allowed besides the same origin: "https://example.com",
	// "https://*.example.com", "http://localhost:*", "capacitor://localhost", "null",
	// "*" for all; ws.ParseOriginPattern has the rules. Behind a balancer that ends TLS,
	// and does not tell (Proxy.Trusted), the page's own origin belongs here, and so
	// does that of a client that is no browser and sends http:// over TLS. Check
	// takes its place.
	Allow []string
	// Hosts are those that upgrades may be for: "example.com", "*.example.com",
	// "[::1]:8080"; ws.ParseHostPattern has the rules. Others get 421, before the hook.
	// What counts is ws.Request.PublicHost: where a trusted proxy tells which host the
	// client asked for, that one. Empty is all, and then a page whose name its owner lets
	// point to this server (DNS rebinding) is of the same origin. Plain requests are
	// HTTP's own business.
	Hosts []string
}

// Proxy says what stands between the clients and the server, and what it may tell.
type Proxy struct {
	// Protocol: each connection begins with a PROXY header, version 1 or 2, in
	// which a balancer says whose it is. One without is closed at once; there is no
	// guessing. It holds for all listeners of the server, see ServeListener for those of
	// others, and not for connections that net/http hands over.
	Protocol bool
	// Trusted are those whose word counts. With Protocol only they may
	// connect; empty then stands for everybody (and so does a Unix socket, which
	// has no address). Forwarded, X-Forwarded-For, -Proto, -Host and -Port count from
	// them alone, empty is from nobody: see ws.Request.TrustForwarded. They do not count behind a PROXY
	// header that names no client (LOCAL, UNKNOWN, a Unix socket's), where the
	// connection is the proxy's: it has not written them.
	Trusted []netip.Prefix
	// TrustUnix has peers on Unix sockets, which have no address, count among
	// Trusted: their Forwarded headers are believed. Nobody but the balancer may
	// be able to connect then. With Protocol nobody with an address may, unless
	// Trusted has it.
	TrustUnix bool
	// MaxHeader bounds a PROXY header of version 2 in bytes, at least 52 (with IPv6
	// addresses); 0 is 65,551, the longest there can be.
	MaxHeader int
}

// Limits bound what peers can take up. In each 0 is the default, and below 0, where that
// is allowed, no bound.
type Limits struct {
	// Conns bounds the WebSockets and event streams that are open at once; an upgrade beyond it
	// is refused with 503 and Retry-After, plain requests are not. 0 is no bound but
	// the descriptors the process may have (see poller.RaiseDescriptorLimit).
	Conns int
	// ConnsPerAddr bounds the connections from one client address at once, the
	// first 64 bits of an IPv6 address standing for all of it; those beyond are
	// refused with 503 and Retry-After. Those that HTTP has count too. WebSockets of
	// Proxy.Trusted count for their clients, their plain requests do not; behind a
	// balancer that the server is not told of, all come from one address. A client whose
	// own address is in Proxy.Trusted is not counted; the log says so once. 0 is no bound.
	ConnsPerAddr int
	// Handshakes bounds the connections that are accepted and are no WebSocket
	// yet, refused ones included until they are gone. Those beyond are refused with
	// 503 and Retry-After as they come, or, from 1,024 such on, just closed. 0 is
	// 16,384, below 0 no bound.
	Handshakes int
	// HTTPConns bounds the connections that HTTP has at once, idle ones included: a
	// plain request on one more is refused with 503 and Retry-After, or GOAWAY. 0 is
	// 16,384, below 0 no bound.
	HTTPConns int
	// HTTPStreams bounds the plain requests that HTTP has under way at once over
	// HTTP/2, where one connection may carry 250, each with a goroutine: one more is
	// refused with 503 and Retry-After. 0 is 16,384, below 0 no bound.
	HTTPStreams int
	// HandshakeRate bounds the upgrades a second, whether the hook accepts them or
	// not; HandshakeBurst is how many may come at once, 0 is as many as a second
	// has. Those beyond are refused with 503 and Retry-After. 0 is no bound.
	HandshakeRate, HandshakeBurst int
	// Head bounds a request head in bytes, at least 135, the shortest handshake; 0 is
	// 16 KiB. A longer one gets 431, or 414 if it is the target's fault.
	Head int
	// HeadLines bounds its lines, at least 6; 0 is 100.
	HeadLines int
	// Message bounds a message in bytes (1009); 0 is 1 MiB.
	Message int64
	// EmptyFragments bounds the empty fragments of a message (1008); 0 is
	// 1,000.
	EmptyFragments int
	// MessageRate bounds the messages a second of a connection, pings and pongs
	// included; MessageBurst is how many may come at once, 0 is as many as a second
	// has. The first beyond it closes the connection with 1008. 0 is no bound.
	MessageRate, MessageBurst int
	// ByteRate bounds the bytes a second that a connection sends, headers included;
	// ByteBurst is how many may come at once, at least what Message and its header
	// need; 0 is as many as a second has or Message needs. What is within is handled; the first byte beyond it closes
	// the connection with 1008. 0 is no bound.
	ByteRate, ByteBurst int64
	// QueueMemory bounds the memory of all outbound queues together, in bytes. Beyond
	// it the connections with the largest queues are closed with 1008, or just cut
	// where a large frame is half out, until nine tenths are left; and under a memory
	// limit, Go's (GOMEMLIMIT) or the control group's, also below it, down to an eighth,
	// when the heap comes near the limit. A quarter beyond it no queue may grow:
	// Queue.Policy. At least Queue.Max; 0 is half of the memory limit, 1 GiB without one,
	// and never less than that; below 0 is no bound.
	// Where only the control group has a limit, half of that counts, since Go's heap may
	// grow to twice of what it holds: GOMEMLIMIT makes use of more.
	QueueMemory int64
	// InboundMemory bounds the memory of all that was received and is not handled yet, in
	// bytes: unfinished request heads, TLS records and messages, and what connections
	// had read that are not read now. Beyond it connections are closed with 1008, those
	// first that hold the most for the longest without progress; before the upgrade they
	// are cut. It follows memory limits as QueueMemory does, and gives way first. At least
	// what Message and Head need, and 64 KiB; 0 is a quarter of the memory limit,
	// 512 MiB without one, and never less than that; below 0 is no bound.
	InboundMemory int64
	// TLSHandshakes bounds the TLS handshakes that are under way at once, each
	// with a goroutine from when its ClientHello is whole. Others wait for their turn,
	// and while they do, a peer that keeps its own waiting for 2 s in all is cut. Of
	// the places an address gets three quarters, another three quarters of what is
	// left, and so on; of those that wait, the address with the fewest comes first. An
	// IPv6 /64 is one address, a PROXY header's counts, and Proxy.Trusted and Unix
	// sockets have none. 0 is 1,024. Whatever their number, they compute on at most half
	// of the processors.
	TLSHandshakes int
}

// Queue is about the outbound queue of each connection: what the kernel does not take.
type Queue struct {
	// Max bounds a connection's outbound queue in bytes. What a single turn has
	// gathered (up to 88 KiB) may come on top. 0 is Limits.Message, HighWater and 128
	// KiB together, and at least 1 MiB: an answer as large as its message finds room.
	Max int
	// HighWater is the size of a connection's outbound queue, in bytes, above
	// which the connection is not read, so that a peer that takes answers slowly sends
	// slowly too. Reading goes on when the queue is down to LowWater. At most the
	// answer to one message comes on top, and one read (128 KiB) waits to be handled. 0
	// is 64 KiB, or a quarter of Max if that is less; below 0 is never.
	HighWater int
	// LowWater: see HighWater, which it is at most. 0 is a quarter of it.
	LowWater int
	// Policy is what happens when a queue is full; 0 is CloseWhenFull.
	Policy QueuePolicy
}

// Timeouts bound how long peers may take. None is over early, and each is by two tenths
// of a second after its time. They are from 1 ms to 366 days; 0 is the default, and below
// 0, where that is allowed, never.
type Timeouts struct {
	// Handshake is the time from accept to upgrade, whatever comes before
	// it; 0 is 10 s. A running Upgrade hook is told, and not cut.
	Handshake time.Duration
	// Write is how long a peer may take nothing (less than 4 KiB, or less
	// than all that is queued) before it is cut; 0 is 30 s. It holds for HTTP's answers as
	// well; a stream of HTTP/2, where only what the peer allows shows how far it is, must
	// take 16 KiB.
	Write time.Duration
	// Message is how long an unfinished message may bring less than 4 KiB, or less
	// than the rest of it; then the connection is closed with 1008, pongs or not. It
	// stands still while the connection is paused. 0 is 30 s, below 0 never.
	Message time.Duration
	// Body is how long the body of a request to HTTP may bring less than 4 KiB, or
	// less than the rest of it, while somebody waits for it: the handler, or net/http that
	// skips what the handler has not read. Then reading it fails, and the connection ends
	// with the answer. 0 is 30 s, below 0 never.
	Body time.Duration
	// HTTPIdle is how long HTTP's connections are kept between two requests. It must
	// be longer than a balancer in front keeps its connections to the server (Google's 600
	// s, AWS's 60 s), or what the balancer sends just then gets a 502. 0 is
	// Keepalive.BalancerIdle and 20 s, or 620 s without one; below 0 is for ever.
	HTTPIdle time.Duration
	// Idle closes a connection that sent no message (text or binary) for
	// this long, with 1001 and the reason "idle timeout", pongs or not; 0 is never. An event
	// stream, whose client has nothing to send, it does not close.
	Idle time.Duration
	// Lifetime closes a connection at the latest so long after it was accepted,
	// with 1001 and the reason "connection lifetime over", each at a time of its own in
	// the last fifth: clients spread anew over the servers behind a balancer, and none
	// is forgotten. 0 is never.
	Lifetime time.Duration
	// Close is how long the peer may take for its part of the closing
	// handshake; 0 is 5 s.
	Close time.Duration
}

// Keepalive has silent connections pinged.
type Keepalive struct {
	// Interval is the time of silence, jittered by 20 %, after which a
	// connection is pinged; after two silent intervals it is closed, also if it is only
	// slow to read and Timeouts.Write is longer, unless it is paused then. 0 is 25 s, below
	// 0 never. An event stream gets a comment in each interval, and is closed when its peer's
	// system has acknowledged nothing for one (see poller.Gauge).
	Interval time.Duration
	// BalancerIdle is after how long of silence a balancer before the server
	// cuts a connection. The default Interval is then at most half of it, and
	// one that could reach it, jitter included (MaxPingInterval), is an error when
	// the server starts. It is at least 1 s; 0 is no such balancer.
	BalancerIdle time.Duration
}

// Runtime is what the server runs on, and how.
type Runtime struct {
	// SocketMode are the permissions of a Unix socket's file: who may write to it may
	// connect. They are in place before anybody can. 0 is 0660.
	SocketMode fs.FileMode
	// LoopsOnly refuses, with 501, what no event loop can watch of what net/http hands
	// over, or ServeListener accepts: see ServeHTTP. By default goroutines serve it.
	LoopsOnly bool
	// Loops is the number of event loops, at most 1,024; 0 is GOMAXPROCS.
	Loops int
	// Workers bounds the goroutines that lead loops or are held by blocked
	// handlers, at most 1,048,576; at the bound the loops wait. 0 is 1,024; it is raised
	// to Loops+1.
	Workers int
	// Engine is the network; nil is poller.New(""), the system's default.
	Engine poller.Engine
	// Debug finds mistakes of handlers, for tests and development: a payload is
	// overwritten as soon as it is not valid any more, and a text that is not UTF-8 is
	// not sent, with ErrNotUTF8. It costs time for each byte.
	Debug bool
}
