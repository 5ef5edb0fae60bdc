package server_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
)

// TestDescriptorsExhausted fills the descriptor table: those who are in go on,
// those in the queue are served when there is room, and meanwhile the server
// asks again at its pause and not at full speed.
func TestDescriptorsExhausted(t *testing.T) {
	var failing atomic.Bool
	var asked atomic.Int64
	config := simnet.Config{Script: func(call simnet.Call) simnet.Verdict {
		if call.Op != simnet.OpAccept {
			return simnet.Verdict{}
		}
		asked.Add(1)
		if failing.Load() {
			return simnet.Verdict{Err: syscall.EMFILE}
		}
		return simnet.Verdict{}
	}}
	n, addr, srv := startSim(t, config, nil)
	inside := dialSim(t, n, addr).upgraded()
	failing.Store(true)
	waiting := dialSim(t, n, addr)
	waiting.send(upgradeRequest())
	idle(t, n)
	asked.Store(0)
	const pauses = 50
	for range pauses {
		inside.send(frame(opText, "others live"))
		inside.expect(opText, "others live")
		n.Advance(200 * time.Millisecond)
		idle(t, n)
	}
	if got := asked.Load(); got < pauses-1 || got > pauses+1 {
		t.Errorf("%d calls of Accept in %d pauses of 200 ms", got, pauses)
	}
	if srv.Stats().AcceptErrors == 0 {
		t.Error("no failure was counted")
	}
	failing.Store(false)
	n.Advance(time.Second)
	waiting.expectSwitch()
}

// TestMaxFDs is the same with a table that is really full.
func TestMaxFDs(t *testing.T) {
	n, addr, _ := startSim(t, simnet.Config{MaxFDs: 3}, nil)
	a, b := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	waiting := dialSim(t, n, addr)
	waiting.send(upgradeRequest())
	idle(t, n)
	a.send(frame(opText, "others live"))
	a.expect(opText, "others live")
	b.reset()
	eventually(t, "room", func() bool { return n.OpenFDs() == 2 })
	n.Advance(time.Second)
	waiting.expectSwitch()
}
