// Package heapwatch tells how close Go's heap is to the memory limit of the process:
// GOMEMLIMIT (runtime/debug.SetMemoryLimit), or that of its control group.
//
//	var watch heapwatch.Watch
//	watch.Init()
//	for range time.Tick(heapwatch.Period) {
//		if over, news := watch.Look(time.Now()); news && over > 0 {
//			// let go of over bytes
//		}
//	}
//
// [Limit] alone says how large that limit is.
package heapwatch

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Period is the shortest time between two looks: Look reports no news before it is over.
const Period = 100 * time.Millisecond

// Watch compares the heap with the limit. Call Init before anything else. It is not safe
// for concurrent use.
type Watch struct {
	samples [numSamples]metrics.Sample
	group   int64     // the control group's limit; math.MaxInt64: none
	next    time.Time // not before
	cycle   int64     // the first collection that can tell more than is known
}

const (
	memoryLimit = iota
	heapCycles
	heapLive
	memoryTotal
	heapObjects
	heapFree
	heapUnused
	heapReleased
	numSamples
)

var sampleNames = [numSamples]string{
	memoryLimit:  "/gc/gomemlimit:bytes",
	heapCycles:   "/gc/cycles/total:gc-cycles",
	heapLive:     "/gc/heap/live:bytes",
	memoryTotal:  "/memory/classes/total:bytes",
	heapObjects:  "/memory/classes/heap/objects:bytes",
	heapFree:     "/memory/classes/heap/free:bytes",
	heapUnused:   "/memory/classes/heap/unused:bytes",
	heapReleased: "/memory/classes/heap/released:bytes",
}

// Init prepares the Watch.
func (w *Watch) Init() {
	w.group = groupLimit()
	for i, name := range sampleNames {
		w.samples[i].Name = name
	}
}

func (w *Watch) value(sample int) int64 {
	return int64(min(w.samples[sample].Value.Uint64(), math.MaxInt64))
}

func (w *Watch) limit() int64 { return boundedBy(w.value(memoryLimit), w.group) }

// Limited reports whether there was a limit at the last Look.
func (w *Watch) Limited() bool { return w.limit() < math.MaxInt64 }

// Look returns by how many bytes the live heap, with everything else that Go holds,
// exceeds seven eighths of the limit. news is false if it is too early to look, or if
// no collection since the last Look has brought a new figure. The live heap is known as
// of the last collection. Memory that was given back to a pool survives one more, so
// after an excess Look waits for two.
func (w *Watch) Look(now time.Time) (over int64, news bool) {
	if now.Before(w.next) {
		return 0, false
	}
	w.next = now.Add(Period)
	metrics.Read(w.samples[:])
	cycle, limit := w.value(heapCycles), w.limit()
	if cycle < w.cycle && w.Limited() {
		return 0, false
	}
	used := w.value(memoryTotal) - w.value(heapReleased) - w.value(heapFree) - w.value(heapUnused) -
		w.value(heapObjects) + w.value(heapLive)
	over = max(used-(limit-limit/8), 0)
	w.cycle = cycle + 1
	if over > 0 {
		w.cycle++
	}
	return over, true
}

// Limit returns the process's memory limit in bytes, or math.MaxInt64 without one.
func Limit() int64 { return boundedBy(debug.SetMemoryLimit(-1), groupLimit()) }

// groupLimit is the memory limit of the process's control group.
var groupLimit = sync.OnceValue(func() int64 {
	limit, err := memlimit.FromCgroup()
	if err != nil || limit == 0 || limit > math.MaxInt64 {
		return math.MaxInt64 // none, or no Linux
	}
	return int64(limit)
})

// boundedBy is Go's memory limit, bounded by the group's. Where Go has none, its heap
// may grow to twice of what is alive before it collects: half of the group's limit
// is what may be alive then.
func boundedBy(limit, group int64) int64 {
	if limit == math.MaxInt64 && group < math.MaxInt64 {
		return group / 2
	}
	return min(limit, group)
}
