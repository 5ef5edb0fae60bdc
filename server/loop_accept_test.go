package server_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestRegistrationFails has the poller refuse the first connections: each is
// closed, and its slot and descriptor serve the next.
func TestRegistrationFails(t *testing.T) {
	const refused = 5
	config := simnet.Config{Script: simnet.Fail(simnet.OpAdd, refused, syscall.ENOSPC)}
	n, addr, srv := startSim(t, config, nil)
	for range refused {
		c := dialSim(t, n, addr)
		c.expectEnd()
	}
	idle(t, n)
	if got := srv.Stats(); got.Open != 0 || got.AcceptErrors != refused || n.OpenFDs() != 1 {
		t.Fatalf("%+v and %d descriptors, want 0 open, %d errors, the listener's descriptor", got, n.OpenFDs(), refused)
	}
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, "served"))
	c.expect(opText, "served")
}

// TestAcceptErrors: what befalls a single connection does not stop the others.
func TestAcceptErrors(t *testing.T) {
	for _, errno := range []error{syscall.ECONNABORTED, syscall.EPROTO, syscall.EINTR, poller.ErrExhausted} {
		n, addr, srv := startSim(t, simnet.Config{Script: simnet.Fail(simnet.OpAccept, 1, errno)}, nil)
		c := dialSim(t, n, addr)
		eventually(t, "a failure", func() bool { return srv.Stats().AcceptErrors == 1 })
		n.Advance(time.Second)
		c.upgraded()
	}
}

// TestAcceptAfterExhaustion takes all that wait, however many loops share them.
func TestAcceptAfterExhaustion(t *testing.T) {
	const waiting = 200
	var full atomic.Bool
	full.Store(true)
	config := simnet.Config{Script: func(call simnet.Call) (v simnet.Verdict) {
		if call.Op == simnet.OpAccept && full.Load() {
			v.Err = syscall.EMFILE
		}
		return v
	}}
	n, addr, srv := startSim(t, config, func(s *server.Server) { s.Runtime.Loops = 100 })
	for range waiting {
		dialSim(t, n, addr)
	}
	idle(t, n)
	full.Store(false)
	n.Advance(300 * time.Millisecond)
	eventually(t, "all are accepted", func() bool { return srv.Stats().Accepted == waiting })
}
