package serve

import (
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// drainOptions are how the server ends.
type drainOptions struct {
	delay, timeout time.Duration
	rate           int
	code           ws.Code
}

// maxDrainRate is beyond what any machine closes in a second.
const maxDrainRate = 1e9

func (d *drainOptions) options() []flags.Option {
	codes := map[string]ws.Code{"1001": ws.CodeGoingAway, "1012": ws.CodeServiceRestart}
	return []flags.Option{
		flags.New("drain-delay", "TIME", "on SIGTERM or SIGINT, serve on for so long with /readyz failing, for balancers to notice", "0", flags.Duration(&d.delay, 0, maxTime)),
		flags.New("drain-rate", "N", "then close so many connections a second, or more if the time is too short; 0 is all at once", "1000", flags.Whole(&d.rate, 0, maxDrainRate)),
		flags.New("drain-timeout", "TIME", "time for all of them, after the delay; then the rest is cut", "25s", flags.Duration(&d.timeout, minTime, maxTime)),
		flags.New("drain-code", "CODE", "close code they get: 1001 (going away) or 1012 (service restart)", "1001", flags.Choice(&d.code, codes, "1001", "1012")),
	}
}

func (d *drainOptions) apply(*server.Server) error { return nil }

// drain is what a signal asks for.
func (d *drainOptions) drain() server.DrainOptions {
	return server.DrainOptions{Delay: d.delay, Rate: d.rate, Timeout: d.timeout, Code: d.code}
}
