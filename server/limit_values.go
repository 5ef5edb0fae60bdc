package server

import (
	"cmp"
	"math"
	"runtime"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/internal/rate"
	"github.com/millrace/millrace/proxyproto"
	"github.com/millrace/millrace/ws"
)

// limits are the server's bounds with the defaults filled in and times in ticks.
type limits struct {
	loops        int
	conns        int        // 0: no bound
	connsPerAddr int        // 0: no bound
	handshakes   int        // 0: no bound
	httpConns    int        // 0: no bound
	httpStreams  int        // 0: no bound
	upgrades     rate.Limit // the zero value: no bound
	head         ws.HeadLimits
	proxyHeader  int
	maxMessage   int64
	maxEmpty     int
	messages     rate.Limit // of a connection; the zero value: no bound
	bytes        rate.Limit // of a connection; the zero value: no bound
	maxQueue     int
	highWater    int
	lowWater     int
	backlog      int64 // 0: no bound
	inbound      int64 // 0: no bound
	workers      int
	tlsAtOnce    int
	handshake    ticks
	write        ticks
	ping         ticks         // 0: never
	idle         ticks         // 0: never
	message      ticks         // 0: never
	body         time.Duration // 0: never
	httpIdle     time.Duration // below 0: never
	lifetime     ticks         // 0: no end
	closing      ticks
	linger       ticks
	grace        ticks // for what a handshake still brings while we drain
	acceptRetry  ticks
	readBuffer   int
	corkBytes    int
	eventsABatch int
}

const (
	defaultMaxHandshakes  = 16 << 10
	defaultMaxHTTPConns   = 16 << 10
	defaultMaxHTTPStreams = 16 << 10

	defaultMaxHead      = 16 << 10
	defaultMaxHeadLines = 100
	defaultMaxMessage   = 1 << 20
	defaultMaxEmpty     = 1000
	defaultMaxQueue     = 1 << 20 // at least: see maxQueue
	defaultHighWater    = 64 << 10
	defaultMaxWorkers   = 1024

	defaultMaxTLSHandshakes = 1024

	defaultHandshakeTimeout = 10 * time.Second
	defaultWriteTimeout     = 30 * time.Second
	defaultMessageTimeout   = 30 * time.Second
	defaultBodyTimeout      = 30 * time.Second
	defaultPingInterval     = 25 * time.Second
	defaultCloseTimeout     = 5 * time.Second

	// lingerTime is how long we go on reading after our last word, so that the
	// peer can read it before a reset (RFC 9112 section 9.6).
	lingerTime = 2 * time.Second
	// drainGrace is how long a connection has, while we drain, to bring the request
	// that may be on its way.
	drainGrace = 2 * time.Second
	// acceptRetryTime is the pause after the machine ran out of descriptors.
	acceptRetryTime = 200 * time.Millisecond

	readBuffer   = 128 << 10 // a worker's; a longer read is two turns
	earlyRead    = 32 << 10  // a read before the upgrade, which may have to be kept
	corkBytes    = 64 << 10  // what one turn may gather before it is written
	eventsABatch = 512
)

func (s *Server) effectiveLimits() limits {
	loops := positive(s.Runtime.Loops, runtime.GOMAXPROCS(0))
	l := limits{
		loops:        loops,
		conns:        max(s.Limits.Conns, 0),
		connsPerAddr: max(s.Limits.ConnsPerAddr, 0),
		handshakes:   max(cmp.Or(s.Limits.Handshakes, defaultMaxHandshakes), 0),
		httpConns:    max(cmp.Or(s.Limits.HTTPConns, defaultMaxHTTPConns), 0),
		httpStreams:  max(cmp.Or(s.Limits.HTTPStreams, defaultMaxHTTPStreams), 0),
		upgrades:     rate.New(int64(s.Limits.HandshakeRate), int64(s.Limits.HandshakeBurst)),
		head: ws.HeadLimits{
			Bytes: positive(s.Limits.Head, defaultMaxHead),
			Lines: positive(s.Limits.HeadLines, defaultMaxHeadLines),
		},
		proxyHeader:  positive(s.Proxy.MaxHeader, proxyproto.MaxSize),
		maxMessage:   s.maxMessage(),
		maxEmpty:     positive(s.Limits.EmptyFragments, defaultMaxEmpty),
		inbound:      budget(s.Limits.InboundMemory, 4, defaultMaxInbound, s.inboundOfOne()),
		tlsAtOnce:    positive(s.Limits.TLSHandshakes, defaultMaxTLSHandshakes),
		workers:      max(positive(s.Runtime.Workers, defaultMaxWorkers), loops+1),
		handshake:    loop.TimeoutTicks(positive(s.Timeouts.Handshake, defaultHandshakeTimeout)),
		write:        loop.TimeoutTicks(positive(s.Timeouts.Write, defaultWriteTimeout)),
		closing:      loop.TimeoutTicks(positive(s.Timeouts.Close, defaultCloseTimeout)),
		linger:       loop.TimeoutTicks(lingerTime),
		grace:        loop.TimeoutTicks(drainGrace),
		acceptRetry:  loop.TicksOf(acceptRetryTime),
		body:         max(cmp.Or(s.Timeouts.Body, defaultBodyTimeout), 0),
		httpIdle:     s.httpIdleTimeout(),
		readBuffer:   readBuffer,
		corkBytes:    corkBytes,
		eventsABatch: eventsABatch,
	}
	l.setQueue(s)
	l.backlog = budget(s.Limits.QueueMemory, 2, defaultMaxBacklog, int64(l.maxQueue))
	l.messages = rate.New(int64(s.Limits.MessageRate), int64(s.Limits.MessageBurst))
	burst := s.Limits.ByteBurst
	if burst <= 0 {
		burst = max(s.Limits.ByteRate, bytesOfMessage(l.maxMessage)) // a message that is allowed is never too fast by itself
	}
	l.bytes = rate.New(s.Limits.ByteRate, burst)
	if interval := s.pingInterval(); interval > 0 {
		l.ping = loop.TicksOf(interval)
	}
	if s.Timeouts.Idle > 0 {
		l.idle = loop.TimeoutTicks(s.Timeouts.Idle)
	}
	if timeout := cmp.Or(s.Timeouts.Message, defaultMessageTimeout); timeout > 0 {
		l.message = loop.TimeoutTicks(timeout)
	}
	if s.Timeouts.Lifetime > 0 {
		l.lifetime = loop.TicksOf(s.Timeouts.Lifetime)
	}
	return l
}

// queueSlack is what a turn may have gathered when a message is to be queued
// behind it, and the headers.
const queueSlack = 128 << 10

// setQueue sets the bounds of an outbound queue. Below the high mark there is room
// for what the turn has gathered and any message, unless Queue.Max says otherwise.
func (l *limits) setQueue(s *Server) {
	l.highWater = defaultHighWater
	switch {
	case s.Queue.HighWater < 0:
		l.highWater = math.MaxInt
	case s.Queue.HighWater > 0:
		l.highWater = s.Queue.HighWater
	case s.Queue.Max > 0:
		l.highWater = min(l.highWater, s.Queue.Max/4)
	}
	l.lowWater = min(positive(s.Queue.LowWater, l.highWater/4), l.highWater)
	follows := min(l.maxMessage, math.MaxInt/4) + int64(min(l.highWater, math.MaxInt/4)) + queueSlack
	if s.Queue.HighWater < 0 {
		follows = min(l.maxMessage, math.MaxInt/4) + queueSlack
	}
	l.maxQueue = positive(s.Queue.Max, max(defaultMaxQueue, int(follows)))
}

// paced says whether what a peer sends has a rate.
func (l *limits) paced() bool { return l.messages.Limited() || l.bytes.Limited() }

// positive is v, or the default for 0 and below.
func positive[T int | int64 | time.Duration](v, byDefault T) T {
	if v > 0 {
		return v
	}
	return byDefault
}
