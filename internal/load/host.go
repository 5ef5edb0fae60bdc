package load

import (
	"time"

	"github.com/millrace/millrace/internal/process"
	"github.com/millrace/millrace/poller"
)

// host is what a run happens on: a network with its clock, and what can be known
// of the machine. Tests have one of their own.
type host struct {
	engine poller.Dialer
	// spin is how near the next thing to do must be for a loop to look for events
	// without sleeping until then. 0: the engine wakes to the nanosecond.
	spin time.Duration
	// stolen is how much time the machine's own host has taken from its cores so
	// far, in sum. Only differences tell something; nil: not known.
	stolen func() (time.Duration, error)
	// usage is what a process has used so far.
	usage func(*process.Process) (process.Usage, error)
}

// spin of a kernel, which wakes only to the millisecond.
const kernelSpin = 2 * time.Millisecond

// thisHost is the machine that the process runs on.
func thisHost(p *plan) (host, error) {
	engine, err := poller.New(p.Poller)
	if err != nil {
		return host{}, wrong("Poller", "%v", err)
	}
	dialer, ok := engine.(poller.Dialer)
	if !ok {
		return host{}, wrong("Poller", "%s can not connect", engine.Name())
	}
	return host{engine: dialer, spin: kernelSpin, stolen: process.Stolen, usage: (*process.Process).Usage}, nil
}

// stolenSoFar is that of the host; 0 where it is not known.
func (h *host) stolenSoFar() time.Duration {
	if h.stolen == nil {
		return 0
	}
	d, err := h.stolen()
	if err != nil {
		return 0
	}
	return d
}
