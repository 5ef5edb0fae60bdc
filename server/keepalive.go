package server

import (
	"cmp"
	"fmt"
	"time"
)

// minBalancerIdle is the shortest idle timeout of a balancer that pings can keep
// up with.
const minBalancerIdle = time.Second

// MaxPingInterval is the longest PingInterval with which a balancer never sees a
// connection idle for balancerIdle: the interval may be a fifth longer (jitter),
// and two tenths of a second are for the grain of deadlines and the way to the
// balancer.
func MaxPingInterval(balancerIdle time.Duration) time.Duration {
	return max((balancerIdle/tickTime-2)*5/6, 0) * tickTime
}

// checkKeepalive refuses settings that let a balancer cut idle connections.
func (s *Server) checkKeepalive() error {
	idle := s.BalancerIdleTimeout
	switch {
	case idle <= 0:
		return nil
	case idle < minBalancerIdle:
		return fmt.Errorf("server: BalancerIdleTimeout %v is below %v", idle, minBalancerIdle)
	case s.PingInterval < 0:
		return fmt.Errorf("server: without pings a balancer cuts idle connections: BalancerIdleTimeout %v, PingInterval %v", idle, s.PingInterval)
	case s.PingInterval > MaxPingInterval(idle):
		return fmt.Errorf("server: PingInterval %v is too long for BalancerIdleTimeout %v: at most %v", s.PingInterval, idle, MaxPingInterval(idle))
	}
	return nil
}

// pingInterval is the effective one; below 0 is never.
func (s *Server) pingInterval() time.Duration {
	byDefault := defaultPingInterval
	if s.BalancerIdleTimeout > 0 {
		byDefault = min(byDefault, s.BalancerIdleTimeout/2) // half: also a ping that is late comes in time
	}
	return cmp.Or(s.PingInterval, byDefault)
}
