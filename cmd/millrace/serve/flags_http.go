package serve

import (
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// httpOptions are what there is to try, and bounds of plain requests.
type httpOptions struct {
	idle, body time.Duration
	maxStreams int
	echo, page bool
}

func (h *httpOptions) options() []flags.Option {
	return []flags.Option{
		flags.New("echo", "MODE", "on: the WebSocket /echo answers each message with itself; off: there is none", "on", flags.Choice(&h.echo, modes, "on", "off")),
		flags.New("page", "MODE", "on: a page to try the server with is at /; off: there is none", "on", flags.Choice(&h.page, modes, "on", "off")),
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
