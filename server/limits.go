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
	loops := positive(s.Loops, runtime.GOMAXPROCS(0))
	l := limits{
		loops:        loops,
		conns:        max(s.MaxConns, 0),
		connsPerAddr: max(s.MaxConnsPerAddr, 0),
		handshakes:   max(cmp.Or(s.MaxHandshakes, defaultMaxHandshakes), 0),
		httpConns:    max(cmp.Or(s.MaxHTTPConns, defaultMaxHTTPConns), 0),
		httpStreams:  max(cmp.Or(s.MaxHTTPStreams, defaultMaxHTTPStreams), 0),
		upgrades:     rate.New(int64(s.HandshakeRate), int64(s.HandshakeBurst)),
		head: ws.HeadLimits{
			Bytes: positive(s.MaxHead, defaultMaxHead),
			Lines: positive(s.MaxHeadLines, defaultMaxHeadLines),
		},
		proxyHeader:  positive(s.MaxProxyHeader, proxyproto.MaxSize),
		maxMessage:   s.maxMessage(),
		maxEmpty:     positive(s.MaxEmptyFragments, defaultMaxEmpty),
		backlog:      budget(s.MaxBacklog, 2, defaultMaxBacklog),
		inbound:      budget(s.MaxInbound, 4, defaultMaxInbound),
		tlsAtOnce:    positive(s.MaxTLSHandshakes, defaultMaxTLSHandshakes),
		workers:      max(positive(s.MaxWorkers, defaultMaxWorkers), loops+1),
		handshake:    loop.TimeoutTicks(positive(s.HandshakeTimeout, defaultHandshakeTimeout)),
		write:        loop.TimeoutTicks(positive(s.WriteTimeout, defaultWriteTimeout)),
		closing:      loop.TimeoutTicks(positive(s.CloseTimeout, defaultCloseTimeout)),
		linger:       loop.TimeoutTicks(lingerTime),
		grace:        loop.TimeoutTicks(drainGrace),
		acceptRetry:  loop.TicksOf(acceptRetryTime),
		body:         max(cmp.Or(s.BodyTimeout, defaultBodyTimeout), 0),
		httpIdle:     s.httpIdleTimeout(),
		readBuffer:   readBuffer,
		corkBytes:    corkBytes,
		eventsABatch: eventsABatch,
	}
	l.setQueue(s)
	l.messages = rate.New(int64(s.MessageRate), int64(s.MessageBurst))
	burst := s.ByteBurst
	if burst <= 0 {
		burst = max(s.ByteRate, bytesOfMessage(l.maxMessage)) // a message that is allowed is never too fast by itself
	}
	l.bytes = rate.New(s.ByteRate, burst)
	if interval := s.pingInterval(); interval > 0 {
		l.ping = loop.TicksOf(interval)
	}
	if s.IdleTimeout > 0 {
		l.idle = loop.TimeoutTicks(s.IdleTimeout)
	}
	if timeout := cmp.Or(s.MessageTimeout, defaultMessageTimeout); timeout > 0 {
		l.message = loop.TimeoutTicks(timeout)
	}
	if s.MaxLifetime > 0 {
		l.lifetime = loop.TicksOf(s.MaxLifetime)
	}
	return l
}

// queueSlack is what a turn may have gathered when a message is to be queued
// behind it, and the headers.
const queueSlack = 128 << 10

// setQueue sets the bounds of an outbound queue. Below the high mark there is room
// for what the turn has gathered and any message, unless MaxQueue says otherwise.
func (l *limits) setQueue(s *Server) {
	l.highWater = defaultHighWater
	switch {
	case s.QueueHighWater < 0:
		l.highWater = math.MaxInt
	case s.QueueHighWater > 0:
		l.highWater = s.QueueHighWater
	case s.MaxQueue > 0:
		l.highWater = min(l.highWater, s.MaxQueue/4)
	}
	l.lowWater = min(positive(s.QueueLowWater, l.highWater/4), l.highWater)
	follows := min(l.maxMessage, math.MaxInt/4) + int64(min(l.highWater, math.MaxInt/4)) + queueSlack
	if s.QueueHighWater < 0 {
		follows = min(l.maxMessage, math.MaxInt/4) + queueSlack
	}
	l.maxQueue = positive(s.MaxQueue, max(defaultMaxQueue, int(follows)))
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
