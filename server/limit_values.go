package server

import (
	"cmp"
	"runtime"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/internal/rate"
	"github.com/millrace/millrace/proxyproto"
	"github.com/millrace/millrace/ws"
)

// limits are the server's bounds with the defaults filled in and times in ticks.
type limits struct {
	connLimits     // of connections that have none of their own
	loops          int
	conns          int        // 0: no bound
	connsPerAddr   int        // 0: no bound
	handshakes     int        // 0: no bound
	httpConns      int        // 0: no bound
	httpStreams    int        // 0: no bound
	upgrades       rate.Limit // the zero value: no bound
	head           ws.HeadLimits
	proxyHeader    int
	maxEmpty       int
	backlog        int64 // 0: no bound
	inbound        int64 // 0: no bound
	workers        int
	tlsAtOnce      int
	handshake      ticks
	body           time.Duration // 0: never
	httpIdle       time.Duration // below 0: never
	linger         ticks
	grace          ticks // for what a handshake still brings while we drain
	acceptRetry    ticks
	readBuffer     int
	corkBytes      int
	eventsPerBatch int
}

const (
	defaultMaxHandshakes  = 16 << 10
	defaultMaxHTTPConns   = 16 << 10
	defaultMaxHTTPStreams = 16 << 10

	defaultMaxHead      = 16 << 10
	defaultMaxHeadLines = 100
	defaultMaxMessage   = 1 << 20
	defaultMaxEmpty     = 1000
	defaultMaxQueue     = 1 << 20 // at least: see ConnLimits.maxQueue
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

	readBuffer     = 128 << 10 // a worker's; a longer read is two turns
	earlyRead      = 32 << 10  // a read before the upgrade, which may have to be kept
	corkBytes      = 64 << 10  // what one turn may gather before it is written
	eventsPerBatch = 512
)

func (s *Server) effectiveLimits() limits {
	loops := positive(s.Runtime.Loops, runtime.GOMAXPROCS(0))
	l := limits{
		connLimits:   s.connFields().effective(),
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
		proxyHeader:    positive(s.Proxy.MaxHeader, proxyproto.MaxSize),
		maxEmpty:       positive(s.Limits.EmptyFragments, defaultMaxEmpty),
		inbound:        budget(s.Limits.InboundMemory, 4, defaultMaxInbound, s.inboundOfOne(s.connFields().maxMessage())),
		tlsAtOnce:      positive(s.Limits.TLSHandshakes, defaultMaxTLSHandshakes),
		workers:        max(positive(s.Runtime.Workers, defaultMaxWorkers), loops+1),
		handshake:      loop.TimeoutTicks(positive(s.Timeouts.Handshake, defaultHandshakeTimeout)),
		linger:         loop.TimeoutTicks(lingerTime),
		grace:          loop.TimeoutTicks(drainGrace),
		acceptRetry:    loop.TicksOf(acceptRetryTime),
		body:           max(cmp.Or(s.Timeouts.Body, defaultBodyTimeout), 0),
		httpIdle:       s.httpIdleTimeout(),
		readBuffer:     readBuffer,
		corkBytes:      corkBytes,
		eventsPerBatch: eventsPerBatch,
	}
	l.backlog = budget(s.Limits.QueueMemory, 2, defaultMaxBacklog, int64(l.maxQueue))
	return l
}

// positive is v, or the default for 0 and below.
func positive[T int | int64 | time.Duration](v, byDefault T) T {
	if v > 0 {
		return v
	}
	return byDefault
}
