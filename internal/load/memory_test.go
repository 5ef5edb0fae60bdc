package load_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
)

// TestMemory: a connection costs the client less than 1 KB, before its first
// message and after. The server is another process; what does not grow with the
// connections is not looked at.
func TestMemory(t *testing.T) {
	url, _ := startEcho(t)
	for scenario, phase := range map[string]string{result.Idle: "idle", result.Echo: "close"} {
		heap := func(connections int) int64 {
			p := brief(scenario, url)
			p.Connections, p.ServerPID = connections, -1
			var live int64
			r := run(t, p, load.Watch{Phase: func(name string) {
				if name == phase {
					live = heapNow()
				}
			}})
			wantTroubles(t, r)
			return live
		}
		const few, many = 500, 4500
		of := func() float64 { return float64(heap(many)-heap(few)) / (many - few) }
		if got := of(); got > 1024 || got < 100 { // a conn is more than 100 bytes: else this measures nothing
			t.Errorf("%s: %.0f bytes a connection, want less than 1,024", scenario, got)
		} else {
			t.Logf("%s: %.0f bytes a connection", scenario, got)
		}
	}
}

// heapNow is the bytes of the heap that are in use.
func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAllocations: a message costs no allocation, in closed and in open loops, nor does a
// delivery.
// The window itself costs some hundred, as /proc is read for its CPU time.
func TestAllocations(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector makes the client too slow to tell messages from the rest")
	}
	url, _ := startEcho(t)
	all, _ := startServer(t, roleAll)
	toAll := func(p *result.Plan) { p.Scenario, p.URL, p.Connections, p.Rate = result.Broadcast, all, 200, 200 }
	for name, change := range map[string]func(*result.Plan){
		"broadcast":     toAll,
		"event streams": func(p *result.Plan) { toAll(p); p.EventStreams = true },

		"echo":         func(*result.Plan) {},
		"16 in flight": func(p *result.Plan) { p.InFlight = 16 },
		"64 KiB":       func(p *result.Plan) { p.MinSize, p.InFlight = 64<<10, 8 },
		"rate":         func(p *result.Plan) { p.Scenario, p.Rate = result.Rate, 20000 },
	} {
		t.Run(name, func(t *testing.T) {
			p := brief(result.Echo, url)
			if p.ServerPID = -1; !testing.Short() {
				p.Duration = time.Second
			}
			change(&p)
			var before, after runtime.MemStats
			r := run(t, p, load.Watch{Phase: func(name string) {
				switch name {
				case "measure":
					runtime.ReadMemStats(&before)
				case "close":
					runtime.ReadMemStats(&after)
				}
			}})
			wantTroubles(t, r)
			got, messages := after.Mallocs-before.Mallocs, uint64(r.Count)
			if got > 2000+messages/50 {
				t.Errorf("%d allocations for %d messages, want none for a message", got, messages)
			}
			t.Logf("%d allocations, %d messages", got, messages)
		})
	}
}
