package server_test

import (
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestTLSPlaceForANewcomer: an address leaves a place to others wherever there are two.
func TestTLSPlaceForANewcomer(t *testing.T) {
	hello := helloBytes(t)
	for _, most := range []int{2, 3, 4, 6} {
		n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.TLSHandshakes = most })
		var silent []*client
		for range 2 * most {
			silent = append(silent, shakingFrom(t, n, addr, "203.0.113.1", hello))
		}
		eventually(t, "they have come", func() bool { return srv.Stats().States.Handshake == int64(2*most) })
		eventually(t, "some wait for their peers", func() bool { return awaitingPeers() >= most*2/3 })
		idle(t, n)
		served := countServed(t, n, silent)
		if served > 3*(most-served) {
			t.Errorf("%d places: an address has %d and leaves %d", most, served, most-served)
		}
		for _, c := range silent {
			_ = c.Close()
		}
		eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
	}
}
