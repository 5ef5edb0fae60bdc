package heapwatch_test

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/heapwatch"
)

// setLimit sets Go's memory limit for the test.
func setLimit(t *testing.T, bytes int64) {
	before := debug.SetMemoryLimit(bytes)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
}

func TestLimit(t *testing.T) {
	setLimit(t, 1<<30)
	if got := heapwatch.Limit(); got > 1<<30 {
		t.Errorf("the limit is %d, above Go's", got)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got := heapwatch.Limit(); got <= 0 {
		t.Errorf("the limit is %d", got)
	}
}

// TestLook fills the heap beyond the limit, and gives it back: each is told after a
// collection, and no sooner than a Watch looks.
func TestLook(t *testing.T) {
	const held = 64 << 20
	setLimit(t, 32<<20)
	var w heapwatch.Watch
	w.Init()
	now := time.Now()
	memory := make([]byte, held)
	runtime.GC()
	over, news := w.Look(now)
	if !news || over < held/2 {
		t.Fatalf("with %d bytes alive and a limit of half of that: over by %d, news %v", held, over, news)
	}
	if !w.Limited() {
		t.Error("there is no limit")
	}
	runtime.GC()
	runtime.GC()
	if _, news := w.Look(now.Add(heapwatch.Period / 2)); news {
		t.Error("it looked again within a period")
	}
	runtime.KeepAlive(memory)
	memory = nil
	runtime.GC()
	runtime.GC()
	if over, news = w.Look(now.Add(2 * heapwatch.Period)); !news || over > held/2 {
		t.Errorf("the memory is given back: over by %d, news %v", over, news)
	}
	if _, news = w.Look(now.Add(4 * heapwatch.Period)); news {
		t.Error("there are news without a collection")
	}
}

// TestNoLimit: without a limit nothing is too much.
func TestNoLimit(t *testing.T) {
	setLimit(t, math.MaxInt64)
	if heapwatch.Limit() < math.MaxInt64 {
		t.Skip("the control group has a limit")
	}
	var w heapwatch.Watch
	w.Init()
	if over, _ := w.Look(time.Now()); over != 0 || w.Limited() {
		t.Errorf("over by %d, limited %v", over, w.Limited())
	}
}
