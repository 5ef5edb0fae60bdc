package serve

import (
	"time"

	"github.com/millrace/millrace/server"
)

// httpOptions are bounds of plain requests.
type httpOptions struct {
	idle, body time.Duration
	maxStreams int
}

func (h *httpOptions) options() []option {
	return []option{
		{"http-idle-timeout", "TIME", "how long a plain HTTP connection is kept between two requests, which must be longer than\n" +
			"a balancer in front keeps it; 0 is lb-idle-timeout and 20s, or 620s without one", "0", duration(&h.idle, 0, maxTime)},
		{"body-timeout", "TIME", "how long a plain request's body may bring less than 4KiB; then reading it fails; 0 is never", "30s", duration(&h.body, 0, maxTime)},
		{"max-http-streams", "N", "plain requests at once over HTTP/2; one more gets 503", "16384", number(&h.maxStreams, 0, noMost)},
	}
}

func (h *httpOptions) apply(s *server.Server) error {
	s.HTTPIdleTimeout, s.MaxHTTPStreams = h.idle, h.maxStreams
	if s.BodyTimeout = h.body; h.body == 0 {
		s.BodyTimeout = -1 // never; for Server 0 is the default
	}
	return nil
}
