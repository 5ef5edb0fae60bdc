package simnet

// keptCapacity is the capacity up to which an empty fifo keeps its memory.
const keptCapacity = 1 << 14

// fifo is a queue of values in one slice. The zero value is empty.
type fifo[T any] struct {
	values []T // values[head:] are in the queue
	head   int
}

func (f *fifo[T]) len() int { return len(f.values) - f.head }

func (f *fifo[T]) push(v T) {
	// Moving costs nothing on average: at least half of the slice is free.
	if len(f.values) == cap(f.values) && f.head > len(f.values)/2 {
		kept := copy(f.values, f.values[f.head:])
		clear(f.values[kept:])
		f.values, f.head = f.values[:kept], 0
	}
	f.values = append(f.values, v)
}

// pop takes the oldest value; the queue must not be empty.
func (f *fifo[T]) pop() T {
	var zero T
	v := f.values[f.head]
	f.values[f.head] = zero
	f.head++
	if f.head == len(f.values) {
		f.reset()
	}
	return v
}

func (f *fifo[T]) reset() {
	f.head = 0
	f.values = f.values[:0]
	if cap(f.values) > keptCapacity {
		f.values = nil
	}
}

// keep drops the values that are not wanted, and keeps the others' order.
func (f *fifo[T]) keep(wanted func(T) bool) {
	kept := f.values[:0]
	for _, v := range f.values[f.head:] {
		if wanted(v) {
			kept = append(kept, v)
		}
	}
	clear(f.values[len(kept):])
	f.values, f.head = kept, 0
}

// first returns the oldest value; the queue must not be empty.
func (f *fifo[T]) first() T { return f.values[f.head] }
