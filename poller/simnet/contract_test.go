package simnet_test

import (
	"net"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/pollertest"
	"github.com/millrace/millrace/poller/simnet"
)

// TestContract runs the suite of all engines on networks that differ in what
// the contract leaves open. Scripts are not for it: it takes small writes for
// granted.
func TestContract(t *testing.T) {
	configs := map[string]simnet.Config{
		"Plain":      {},
		"RealClock":  {RealClock: true},
		"SmallTable": {RecvBuffer: 4 << 10, SendBuffer: 4 << 10, Preallocate: 100},
		"AckOnRead":  {AckOnRead: true},
	}
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			pollertest.Run(t, pollertest.Config{
				New:        func(*testing.T) poller.Engine { return simnet.New(config) },
				Dial:       dialContract,
				Advance:    advance(config),
				AcksAtOnce: !config.AckOnRead,
			})
		})
	}
}

func dialContract(t *testing.T, e poller.Engine, a net.Addr) net.Conn {
	t.Helper()
	c, err := e.(*simnet.Network).Dial(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func advance(config simnet.Config) func(poller.Engine, time.Duration) {
	if config.RealClock {
		return nil
	}
	return func(e poller.Engine, d time.Duration) { e.(*simnet.Network).Advance(d) }
}
