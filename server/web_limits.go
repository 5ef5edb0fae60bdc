package server

import (
	"cmp"
	"time"
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
	if s.BalancerIdleTimeout > 0 {
		byDefault = s.BalancerIdleTimeout + httpIdleMore
	}
	return cmp.Or(s.HTTPIdleTimeout, byDefault)
}

// writeTimeout is the effective WriteTimeout.
func (s *Server) writeTimeout() time.Duration { return positive(s.WriteTimeout, defaultWriteTimeout) }
