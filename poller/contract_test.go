//go:build linux || darwin || dragonfly || freebsd

package poller_test

import (
	"net"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/pollertest"
)

// forEachEngine runs a test over every engine of this system.
func forEachEngine(t *testing.T, test func(t *testing.T, e poller.Engine)) {
	for _, name := range poller.Engines() {
		t.Run(name, func(t *testing.T) { test(t, newEngine(t, name)) })
	}
}

func newEngine(t testing.TB, name string) poller.Engine {
	t.Helper()
	e, err := poller.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func dial(t *testing.T, _ poller.Engine, a net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContract(t *testing.T) {
	if _, _, err := poller.RaiseDescriptorLimit(); err != nil {
		t.Fatal(err)
	}
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		pollertest.Run(t, pollertest.Config{
			New:  func(*testing.T) poller.Engine { return e },
			Dial: dial,
		})
	})
}
