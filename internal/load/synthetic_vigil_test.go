package load_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
)

// TestSlowIsNotDead: a run goes on while messages, or parts of them, come back, and
// while connections may still open.
func TestSlowIsNotDead(t *testing.T) {
	slowly := func(but int) func(int) (time.Duration, bool) { // in 1.5 s, but some are refused soon
		return func(nth int) (time.Duration, bool) {
			if nth <= but {
				return 150 * time.Millisecond, false
			}
			return 1500 * time.Millisecond, true
		}
	}
	for name, tt := range map[string]struct {
		plan   result.Plan
		world  world
		opened int // 0: it is chance
	}{
		"a connection's life of 3 s": {
			result.Plan{Scenario: result.Churn, Connections: 2, Messages: 3000, Warmup: warmup, Duration: 8 * time.Second},
			world{service: fixed(soon)}, 0},
		"a message of 3 s, a tenth at a time": {
			result.Plan{Scenario: result.Echo, Connections: 2, MinSize: 1000, Warmup: warmup, Duration: 8 * time.Second},
			world{service: fixed(soon), pieces: 10, apart: 300 * time.Millisecond}, 2},
		// The first message is sent 83 ms after the begin of a sample.
		"just in time for --first-reply": {
			result.Plan{Scenario: result.Echo, Connections: 3, ConnectRate: 11, Loops: 1, Warmup: warmup, Duration: 4 * time.Second},
			world{service: fixed(950 * time.Millisecond)}, 3},
		"upgrades of 1.5 s, one refused": {
			result.Plan{Scenario: result.Echo, Connections: 20, Duration: time.Second}, world{service: fixed(soon), admit: slowly(1)}, 19},
		"upgrades of 1.5 s, some refused": {
			result.Plan{Scenario: result.Echo, Connections: 20, Duration: time.Second}, world{service: fixed(soon), admit: slowly(5)}, 15},
		"one a minute, the first refused": {
			result.Plan{Scenario: result.Echo, Connections: 3, ConnectRate: 1. / 60, Loops: 1, Duration: time.Second},
			world{service: fixed(soon), admit: slowly(1)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := simulate(t, tt.plan, tt.world)
			if r.EndedEarly != "" || r.Count == 0 || tt.opened > 0 && r.Opened != tt.opened {
				t.Errorf("ended early %q, %d done, %d opened, want %d; troubles %+v", r.EndedEarly, r.Count, r.Opened, tt.opened, r.Troubles)
			}
		})
	}
}

// TestDeadHalfway: a server that begins an answer and sends no more of it, and one that
// refuses now and then and opens none, end the run.
func TestDeadHalfway(t *testing.T) {
	for why, tt := range map[string]struct {
		plan  result.Plan
		world world
	}{
		"no message came back as a whole, and nothing more of one within 1s, of 2 sent": {
			result.Plan{Scenario: result.Echo, Connections: 2, MinSize: 1000, Duration: time.Hour, Timeout: 3 * time.Hour},
			world{service: fixed(soon), pieces: 2, apart: 2 * time.Hour}},
		"no connection could be opened within 1s": {
			result.Plan{Scenario: result.Echo, Connections: 1000, ConnectRate: 1, Loops: 1, Duration: time.Hour, Timeout: 3 * time.Hour},
			world{service: fixed(soon), admit: func(int) (time.Duration, bool) { return 0, false }}},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			r := simulate(t, tt.plan, tt.world)
			if r.EndedEarly != why || r.Count != 0 || r.Failed > 3 {
				t.Errorf("ended early %q after %d done, %d failed", r.EndedEarly, r.Count, r.Failed)
			}
		})
	}
}

// TestChurnEndedByServer: a server that closes each connection after its first message
// does answer, though no connection of churn gets to its end.
func TestChurnEndedByServer(t *testing.T) {
	leavesNothing(t)
	p := hasty(scripted(t, func(p *peer) {
		if p.upgrade() {
			op, payload, _ := p.next()
			p.send(whole(op, payload))
		}
	}))
	p.Scenario, p.Messages, p.Duration, p.FirstReply = result.Churn, 2, 900*time.Millisecond, 500*time.Millisecond
	r := run(t, p, load.Watch{})
	if r.EndedEarly != "" || r.Lost == 0 || strings.Contains(strings.Join(r.Notes, "\n"), "needs a server") {
		t.Errorf("ended early %q, %d lost, notes %q", r.EndedEarly, r.Lost, r.Notes)
	}
}
