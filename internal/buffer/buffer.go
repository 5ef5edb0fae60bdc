// Package buffer keeps byte buffers in pools, so that a connection holds one only while
// it has unfinished bytes.
//
//	b := buffer.Get(1000) // empty, with room for 1000 bytes
//	b = b.Grow(len(more))
//	b.B = append(b.B, more...)
//	b.Free() // b is somebody else's now
//
// Sizes are powers of two from 512 bytes to 1 MiB. Larger buffers are allocated as asked
// for, and left to the garbage collector. Get and Free may be called from any goroutine.
package buffer

import (
	"math/bits"
	"sync"
)

const (
	minBits = 9  // 512 B: a request head or a few small frames
	maxBits = 20 // 1 MiB; what is larger goes to the garbage collector
)

var pools [maxBits + 1]sync.Pool

// Buffer is a byte slice with one owner. It is not safe for concurrent use.
type Buffer struct {
	// B is the content; append to it as long as it fits cap(B), and use Grow
	// before it does not.
	B []byte
}

// Get returns an empty buffer with room for at least n bytes, which is the
// caller's until Free.
func Get(n int) *Buffer {
	if class := classOf(n); class <= maxBits {
		if b, _ := pools[class].Get().(*Buffer); b != nil {
			return b
		}
	}
	return &Buffer{B: make([]byte, 0, CapOf(n))}
}

// CapOf is the capacity of what Get(n) returns.
func CapOf(n int) int {
	if class := classOf(n); class <= maxBits {
		return 1 << class
	}
	return n
}

// Free gives b back; neither b nor a slice of b.B may be used after it. Free of
// nil does nothing.
func (b *Buffer) Free() {
	if b == nil {
		return
	}
	class := classOf(cap(b.B))
	if class <= maxBits && cap(b.B) == 1<<class {
		b.B = b.B[:0]
		pools[class].Put(b)
	}
}

// Grow makes room for n more bytes behind the content and returns the buffer to
// go on with: b itself, or a larger one to which the content has moved.
func (b *Buffer) Grow(n int) *Buffer {
	if cap(b.B)-len(b.B) >= n {
		return b
	}
	larger := Get(len(b.B) + n)
	larger.B = append(larger.B, b.B...)
	b.Free()
	return larger
}

func classOf(n int) int {
	return max(minBits, bits.Len(uint(max(n, 1)-1)))
}
