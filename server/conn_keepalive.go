package server

import (
	"cmp"
	"time"

	"github.com/millrace/millrace/internal/loop"
)

// minBalancerIdle is the shortest idle timeout of a balancer that pings can keep
// up with.
const minBalancerIdle = time.Second

// MaxPingInterval is the longest Keepalive.Interval with which a balancer never sees a
// connection idle for balancerIdle: the interval may be a fifth longer (jitter),
// and two tenths of a second are for the grain of deadlines and the way to the
// balancer.
func MaxPingInterval(balancerIdle time.Duration) time.Duration {
	return max((balancerIdle/loop.TickTime-2)*5/6, 0) * loop.TickTime
}

// pingInterval is the effective one; below 0 is never.
func (s *Server) pingInterval() time.Duration {
	byDefault := defaultPingInterval
	if s.Keepalive.BalancerIdle > 0 {
		byDefault = min(byDefault, s.Keepalive.BalancerIdle/2) // half: also a ping that is late comes in time
	}
	return cmp.Or(s.Keepalive.Interval, byDefault)
}
