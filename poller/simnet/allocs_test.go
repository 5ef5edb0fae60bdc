//go:build !race

package simnet_test

import (
	"testing"

	"github.com/millrace/millrace/poller/simnet"
)

// TestSteadyStateAllocatesNothing is not for the race detector, under which a
// sync.Pool throws things away at random.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	n := simnet.New(simnet.Config{RealClock: true})
	p, l := listen(t, n)
	c, fd := connect(t, n, l)
	must(t, p.Add(fd, 2))
	if allocs := testing.AllocsPerRun(1000, newTrip(t, n, p, c, fd, 64)); allocs != 0 {
		t.Errorf("%v allocations a round trip, want 0", allocs)
	}
}
