package server_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// fullEngine is a network whose Attach finds no descriptor.
type fullEngine struct{ *simnet.Network }

func (fullEngine) Attach(net.Conn) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, fmt.Errorf("attach: %w", poller.ErrExhausted)
}

// TestNoDescriptorForTakeover: an upgrade behind a page, for which there is no
// descriptor just now, gets 503 and Retry-After, and is counted.
func TestNoDescriptorForTakeover(t *testing.T) {
	t.Parallel()
	n := simnet.New(simnet.Config{})
	addr, srv := start(t, fullEngine{n}, func(s *server.Server) { s.HTTP = http.HandlerFunc(answerPlain) })
	c := dialSim(t, n, addr)
	c.send(get("/page"))
	c.expectPlain("GET /page ")
	c.send(upgradeRequest())
	resp := c.expectRefusal(http.StatusServiceUnavailable)
	if resp.Header.Get("Retry-After") == "" {
		t.Errorf("503 with %v", resp.Header)
	}
	if got := srv.Stats().AcceptErrors; got != 1 {
		t.Errorf("%d errors counted, want 1", got)
	}
}
