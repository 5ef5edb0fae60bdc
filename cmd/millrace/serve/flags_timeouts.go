package serve

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// timeoutOptions are how long a peer may take for what.
type timeoutOptions struct {
	handshake, write, closing time.Duration
	pingInterval, idle        time.Duration
	message                   time.Duration
	lifetime                  time.Duration
	balancerIdle              time.Duration
	pingByDefault             bool // nobody has given pingInterval
}

func (t *timeoutOptions) options() []flags.Option {
	return []flags.Option{
		flags.New("handshake-timeout", "TIME", "from connecting to the whole upgrade request", "10s", flags.Duration(&t.handshake, 0, maxTime)).Sets("Timeouts.Handshake"),
		flags.New("write-timeout", "TIME", "how long a peer may take nothing of what waits for it", "30s", flags.Duration(&t.write, 0, maxTime)).Sets("Timeouts.Write"),
		flags.New("message-timeout", "TIME", "how long an unfinished message may bring less than 4KiB; then the connection is\n"+
			"closed with 1008; off is never", "30s", flags.OrOff(&t.message, flags.Duration(&t.message, 0, maxTime))).Sets("Timeouts.Message"),
		flags.New("close-timeout", "TIME", "how long a peer may take to answer a close frame", "5s", flags.Duration(&t.closing, 0, maxTime)).Sets("Timeouts.Close"),
		flags.New("ping-interval", "TIME", "silence after which a peer is pinged; after two it is closed; off is never", "25s", flags.OrOff(&t.pingInterval, flags.Duration(&t.pingInterval, 0, maxTime))).Sets("Keepalive.Interval"),
		flags.New("lb-idle-timeout", "TIME", "after how long of silence a balancer cuts connections: pings come before it, at half\n"+
			"of it unless ping-interval says otherwise; at least 1s; 0 is no such balancer", "0", flags.OrZero(&t.balancerIdle, flags.Duration(&t.balancerIdle, minBalancerIdle, maxTime))).Sets("Keepalive.BalancerIdle"),
		flags.New("idle-timeout", "TIME", "close a connection that sent no message for so long, pongs or not; 0 is never", "0", flags.Duration(&t.idle, 0, maxTime)).Sets("Timeouts.Idle"),
		flags.New("max-lifetime", "TIME", "close a connection so long after it came, at a time of its own in the last fifth; 0 is never", "0", flags.Duration(&t.lifetime, 0, maxTime)).Sets("Timeouts.Lifetime"),
	}
}

// minBalancerIdle is as in server.
const minBalancerIdle = time.Second

// check refuses pings that come too late for the balancer.
func (t *timeoutOptions) check(v flags.Values) error {
	t.pingByDefault = v["ping-interval"].ByDefault
	longest, source := server.MaxPingInterval(t.balancerIdle), v["ping-interval"].Source
	switch {
	case t.balancerIdle == 0 || t.pingByDefault || t.pingInterval == 0:
		return nil
	case t.pingInterval < 0:
		return fmt.Errorf("%s off sends no pings, and the balancer of --lb-idle-timeout %v cuts idle connections: "+
			"leave it out, or give at most %v", source, t.balancerIdle, longest)
	case t.pingInterval > longest:
		return fmt.Errorf("%s %v is too long for --lb-idle-timeout %v: leave it out, or give at most %v "+
			"(pings are jittered by 20 %%)", source, t.pingInterval, t.balancerIdle, longest)
	}
	return nil
}

func (t *timeoutOptions) apply(s *server.Server) error {
	s.Timeouts.Handshake, s.Timeouts.Write, s.Timeouts.Close = t.handshake, t.write, t.closing
	s.Keepalive.Interval, s.Timeouts.Idle, s.Timeouts.Lifetime = t.pingInterval, t.idle, t.lifetime
	s.Keepalive.BalancerIdle, s.Timeouts.Message = t.balancerIdle, t.message
	if t.pingByDefault {
		s.Keepalive.Interval = 0 // as Server has it: the balancer's is considered
	}
	return nil
}
