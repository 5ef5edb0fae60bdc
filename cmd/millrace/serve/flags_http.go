package serve

import (
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// httpOptions are bounds of plain requests.
type httpOptions struct {
	idle, body time.Duration
	maxStreams int
}

func (h *httpOptions) options() []flags.Option {
	return []flags.Option{
		flags.New("http-idle-timeout", "TIME", "how long a plain HTTP connection is kept between two requests, which must be longer than\n"+
			"a balancer in front keeps it; 0 is lb-idle-timeout and 20s, or 620s without one; off is never", "0", flags.OrOff(&h.idle, flags.Duration(&h.idle, 0, maxTime))).Sets("Timeouts.HTTPIdle"),
		flags.New("body-timeout", "TIME", "how long a plain request's body may bring less than 4KiB; then reading it fails; off is never", "30s", flags.OrOff(&h.body, flags.Duration(&h.body, 0, maxTime))).Sets("Timeouts.Body"),
		flags.New("max-http-streams", "N", "plain requests at once over HTTP/2; one more gets 503; off is no bound", "16384", flags.OrOff(&h.maxStreams, flags.Whole(&h.maxStreams, 0, noMost))).Sets("Limits.HTTPStreams"),
	}
}

func (h *httpOptions) apply(s *server.Server) error {
	s.Timeouts.HTTPIdle, s.Timeouts.Body, s.Limits.HTTPStreams = h.idle, h.body, h.maxStreams
	return nil
}
