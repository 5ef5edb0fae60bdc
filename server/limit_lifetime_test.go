package server_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

const lifetimeReason = "connection lifetime over"

// TestMaxLifetime: connections that came together are closed one after another in
// the last fifth of their lifetime, busy or not; one that came later, later.
func TestMaxLifetime(t *testing.T) {
	t.Parallel()
	const crowd = 60
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Timeouts.Lifetime, s.Keepalive.Interval = 1000*time.Second, -1
	})
	n.Advance(time.Hour)
	var clients []*client
	for range crowd {
		clients = append(clients, dialSim(t, n, addr).upgraded())
	}
	busy := clients[0]
	over := 0 // of the clients, at the end of each step
	var late *client
	for at := 1; at <= 200; at++ { // steps of 5 s
		pass(t, n, 5*time.Second)
		met := int(srv.Stats().Limits[server.LimitLifetime])
		switch {
		case at < 160 && met > 0:
			t.Fatalf("%d closed after %d s", met, 5*at)
		case at >= 160 && met-over > crowd/6:
			t.Errorf("%d closed in 5 s", met-over)
		}
		over = met
		if srv.Stats().States.Open > 0 && at < 160 {
			busy.send(frame(opText, "busy"))
			busy.expect(opText, "busy")
		}
		if at == 180 {
			if over < crowd/4 || over > crowd*3/4 {
				t.Errorf("%d of %d closed in the middle of the last fifth", over, crowd)
			}
			late = dialSim(t, n, addr).upgraded()
		}
	}
	hits(t, srv, server.LimitLifetime, crowd)
	for _, c := range clients {
		op, payload := c.frame()
		if op != opClose || payload != closePayload(1001, lifetimeReason) {
			t.Fatalf("frame %x %q, want 1001", op, payload)
		}
	}
	late.send(frame(opText, "still here"))
	late.expect(opText, "still here")
	pass(t, n, 900*time.Second)
	late.send(frame(opClose, closePayload(1001, "")))
	if reason := late.expectClose(1001); reason != lifetimeReason {
		t.Errorf("closed because of %q", reason)
	}
}

// TestMaxLifetimeOnSockets: the peer has its time to answer, and what it sends
// before its answer is not handled.
func TestMaxLifetimeOnSockets(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	addr, _ := startServer(t, func(s *server.Server) { s.Timeouts.Lifetime, s.Handler = time.Second, rec })
	c := dial(t, addr).upgraded()
	rec.expect("open")
	c.expect(opClose, closePayload(1001, lifetimeReason))
	c.send(frame(opText, "not handled") + frame(opClose, closePayload(1001, "")))
	c.expectEOF()
	rec.expect("close 1001 ours")
}
