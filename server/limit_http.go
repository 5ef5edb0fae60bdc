package server

import (
	"cmp"
	"time"

	"github.com/millrace/millrace/internal/netconn"
)

const (
	// defaultHTTPIdle is longer than Google's balancers keep a connection, 600 s, which
	// is the longest that is known of any.
	defaultHTTPIdle = 620 * time.Second
	// httpIdleMore is how much longer than the balancer's it is by default.
	httpIdleMore = 20 * time.Second
)

// httpIdleTimeout is the effective one; below 0 is never.
func (s *Server) httpIdleTimeout() time.Duration {
	byDefault := defaultHTTPIdle
	if s.Keepalive.BalancerIdle > 0 {
		byDefault = s.Keepalive.BalancerIdle + httpIdleMore
	}
	return cmp.Or(s.Timeouts.HTTPIdle, byDefault)
}

// writeTimeout is the effective Timeouts.Write.
func (s *Server) writeTimeout() time.Duration { return positive(s.Timeouts.Write, defaultWriteTimeout) }

// writePace is what a peer must take of what net/http writes.
func (s *Server) writePace() netconn.Pace {
	return netconn.Pace{Bytes: progressBytes, Timeout: s.writeTimeout()}
}
