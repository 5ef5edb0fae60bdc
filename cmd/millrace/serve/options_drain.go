package serve

import (
	"time"

	"github.com/millrace/millrace/server"
)

// drainOptions are how the server ends.
type drainOptions struct {
	delay, timeout time.Duration
}

func (d *drainOptions) options() []option {
	return []option{
		{"shutdown-delay", "TIME", "on SIGTERM or SIGINT, serve on for so long with /readyz failing", "0", duration(&d.delay, 0, maxTime)},
		{"shutdown-timeout", "TIME", "then, time for all to close before the rest is cut", "15s", duration(&d.timeout, 0, maxTime)},
	}
}

func (d *drainOptions) apply(*server.Server) error { return nil }
