package buffer_test

import (
	"bytes"
	"testing"

	"github.com/millrace/millrace/internal/buffer"
)

// TestGet: a buffer is empty and has the room that was asked for, in classes of powers
// of two.
func TestGet(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 513, 4096, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5 << 20} {
		b := buffer.Get(n)
		if len(b.B) != 0 || cap(b.B) < n || cap(b.B) < 512 {
			t.Errorf("Get(%d): %d bytes, room for %d", n, len(b.B), cap(b.B))
		}
		if n <= 1<<20 && cap(b.B)&(cap(b.B)-1) != 0 {
			t.Errorf("Get(%d): room for %d, no power of two", n, cap(b.B))
		}
		b.Free()
	}
	var none *buffer.Buffer
	none.Free()
}

// TestGrow: the content moves along, and stays in place while it fits.
func TestGrow(t *testing.T) {
	b := buffer.Get(512)
	b.B = append(b.B, "begun"...)
	if b.Grow(500) != b {
		t.Error("it has moved without need")
	}
	for _, n := range []int{4 << 10, 64 << 10, 3 << 20} {
		b = b.Grow(n)
		if string(b.B) != "begun" || cap(b.B)-len(b.B) < n {
			t.Fatalf("Grow(%d): %q, room for %d", n, b.B, cap(b.B))
		}
	}
}

// TestFreedBufferComesAgainEmpty: what was freed comes again, empty; a buffer that the caller has replaced
// by another does not.
func TestFreedBufferComesAgainEmpty(t *testing.T) {
	allocs := testing.AllocsPerRun(1000, func() {
		b := buffer.Get(2000)
		b.B = append(b.B, 1)
		b.Free()
	})
	if allocs > 1 { // of 2: the race detector has pools forget some
		t.Errorf("%v allocations for a buffer that was there", allocs)
	}
	b := buffer.Get(600)
	b.B = bytes.Repeat([]byte{7}, 1000)[:900:1000]
	b.Free()
	if again := buffer.Get(600); len(again.B) != 0 || cap(again.B) != 1024 {
		t.Errorf("%d bytes, room for %d", len(again.B), cap(again.B))
	}
}
