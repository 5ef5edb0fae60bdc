package server

import (
	"cmp"
	"errors"
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

// checkHTTPIdle refuses a time that has the server close connections that a balancer
// still uses.
func (s *Server) checkHTTPIdle() error {
	if s.BalancerIdleTimeout > 0 && s.HTTPIdleTimeout > 0 && s.HTTPIdleTimeout <= s.BalancerIdleTimeout {
		return errIdleTooShort
	}
	return nil
}

var errIdleTooShort = errors.New("server: HTTPIdleTimeout must be longer than BalancerIdleTimeout, or the balancer's requests meet closed connections")
