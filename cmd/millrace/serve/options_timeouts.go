package serve

import (
	"time"

	"github.com/millrace/millrace/server"
)

// timeoutOptions are how long a peer may take for what.
type timeoutOptions struct {
	handshake, write, closing time.Duration
	pingInterval, idle        time.Duration
}

func (t *timeoutOptions) options() []option {
	return []option{
		{"handshake-timeout", "TIME", "from connecting to the whole upgrade request", "10s", duration(&t.handshake, minTime, maxTime)},
		{"write-timeout", "TIME", "how long a peer may take nothing of what waits for it", "30s", duration(&t.write, minTime, maxTime)},
		{"close-timeout", "TIME", "how long a peer may take to answer a close frame", "5s", duration(&t.closing, minTime, maxTime)},
		{"ping-interval", "TIME", "silence after which a peer is pinged; after two it is closed; 0 is never", "25s", duration(&t.pingInterval, 0, maxTime)},
		{"idle-timeout", "TIME", "close a connection that sent no message for so long, pongs or not; 0 is never", "0", duration(&t.idle, 0, maxTime)},
	}
}

func (t *timeoutOptions) apply(s *server.Server) error {
	s.HandshakeTimeout, s.WriteTimeout, s.CloseTimeout = t.handshake, t.write, t.closing
	s.PingInterval, s.IdleTimeout = t.pingInterval, t.idle
	if t.pingInterval == 0 {
		s.PingInterval = -1 // never; for Server 0 is the default
	}
	return nil
}
