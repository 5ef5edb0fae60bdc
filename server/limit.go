package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/loop"
)

// Limit names a bound of the server that a peer can meet: an index of
// ServerStats.Limits. Beyond it the peer gets what is said here.
type Limit uint8

const (
	LimitConns            Limit = iota // Limits.Conns: 503
	LimitConnsPerAddr                  // Limits.ConnsPerAddr: 503, or closed
	LimitHandshakes                    // Limits.Handshakes: 503, or closed
	LimitHTTPConns                     // Limits.HTTPConns: 503
	LimitHandshakeRate                 // Limits.HandshakeRate: 503
	LimitHandshakeTimeout              // 408, closed if nothing came, or 503 if the Upgrade hook was slow
	LimitHead                          // Limits.Head and Limits.HeadLines: 431, or 414
	LimitMessage                       // Limits.Message: 1009
	LimitEmptyFragments                // Limits.EmptyFragments: 1008
	LimitMessageRate                   // Limits.MessageRate: 1008
	LimitByteRate                      // Limits.ByteRate: 1008
	LimitQueueMemory                   // Limits.QueueMemory: 1008, or cut
	LimitQueue                         // Queue.Max: 1008, 1009 if the message alone is larger, or it is dropped
	LimitWriteTimeout                  // cut
	LimitCloseTimeout                  // cut
	LimitPingTimeout                   // no sign of life for two intervals: cut
	LimitIdleTimeout                   // 1001
	LimitWindows                       // Deflate.MaxWindows: no context takeover
	LimitLifetime                      // Timeouts.Lifetime: 1001
	LimitInbound                       // Limits.InboundMemory: 1008, or cut
	LimitMessageTimeout                // 1008
	LimitBodyTimeout                   // Timeouts.Body: the request's body ends with an error
	LimitHTTPStreams                   // Limits.HTTPStreams: 503
	LimitTLSHandshakes                 // Limits.TLSHandshakes: waits; a silent peer that others wait for is cut, and counted
	NumLimits                          // how many there are
)

var limitNames = [NumLimits]string{
	LimitConns:            "conns",
	LimitConnsPerAddr:     "conns_per_addr",
	LimitHandshakes:       "handshakes",
	LimitHTTPConns:        "http_conns",
	LimitHandshakeRate:    "handshake_rate",
	LimitHandshakeTimeout: "handshake_timeout",
	LimitHead:             "head",
	LimitMessage:          "message",
	LimitEmptyFragments:   "empty_fragments",
	LimitMessageRate:      "message_rate",
	LimitByteRate:         "byte_rate",
	LimitQueueMemory:      "backlog",
	LimitQueue:            "queue",
	LimitWriteTimeout:     "write_timeout",
	LimitCloseTimeout:     "close_timeout",
	LimitPingTimeout:      "ping_timeout",
	LimitIdleTimeout:      "idle_timeout",
	LimitLifetime:         "lifetime",
	LimitWindows:          "windows",
	LimitInbound:          "inbound",
	LimitMessageTimeout:   "message_timeout",
	LimitBodyTimeout:      "body_timeout",
	LimitHTTPStreams:      "http_streams",
	LimitTLSHandshakes:    "tls_handshakes",
}

// String is the limit's name in logs and metrics, "unknown" for none of them.
func (l Limit) String() string {
	if l >= NumLimits {
		return "unknown"
	}
	return limitNames[l]
}

// limitHits counts how often limits were met. Whoever meets one only counts,
// whatever locks it holds; the loops' leaders log.
type limitHits struct {
	counts   [NumLimits]atomic.Uint64
	unlogged atomic.Bool
	closed   atomic.Bool // since LimitQueue was logged, it has closed a connection

	mu     sync.Mutex // of whoever logs
	logged [NumLimits]struct {
		count uint64
		next  tick // not before
	}
}

// hit counts that a limit was met. It may be called with any lock held.
func (s *Server) hit(limit Limit) {
	s.limitHits.counts[limit].Add(1)
	if !s.limitHits.unlogged.Load() {
		s.limitHits.unlogged.Store(true)
	}
}

// level says how much the limit's hits are worth in the log: peers that come to
// their end as they should, and messages that DropNewest drops, are no warning.
func (h *limitHits) level(limit Limit) slog.Level {
	switch limit {
	case LimitCloseTimeout, LimitPingTimeout, LimitIdleTimeout, LimitLifetime:
		return slog.LevelInfo
	case LimitQueue:
		if !h.closed.Swap(false) {
			return slog.LevelInfo
		}
	}
	return slog.LevelWarn
}

// reportPeriod is the least time between two reports of the same trouble.
const reportPeriod = 10 * time.Second

// logLimits logs which limits were met since it last did, each at most once a
// period. A leader calls it between turns.
func (s *Server) logLimits(now tick) {
	h := &s.limitHits
	if !h.unlogged.Load() || !h.mu.TryLock() {
		return
	}
	defer h.mu.Unlock()
	h.unlogged.Store(false) // before the counts are read: a later hit sets it again
	for limit := range NumLimits {
		last, count := &h.logged[limit], h.counts[limit].Load()
		switch {
		case count == last.count:
		case now < last.next:
			h.unlogged.Store(true)
		default:
			s.log().Log(context.Background(), h.level(limit), "limit met", "limit", limit.String(), "times", count-last.count, "since_start", count)
			last.count, last.next = count, now+loop.TicksOf(reportPeriod)
		}
	}
}
