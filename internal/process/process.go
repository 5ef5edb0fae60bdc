// Package process looks at a process from outside: its CPU time, its memory, and
// which one listens on a port. It reads /proc, so it knows Linux only; elsewhere
// all but [Machine] gives [ErrNotSupported].
package process

import (
	"errors"
	"time"
)

// ErrNotSupported (errors.Is) means that this system has no /proc to read.
var ErrNotSupported = errors.New("process: measuring a process needs Linux")

// ErrEnded (errors.Is) means that there is no such process, or no longer.
var ErrEnded = errors.New("process: no such process, or it has ended")

// Usage is what a process uses.
type Usage struct {
	// CPU is the time its threads ran, in the kernel too. Only the difference of
	// two readings tells something.
	CPU time.Duration
	// RSS is its resident bytes. Pages that processes share count for each of them.
	RSS int64
}

// Facts says what a machine is.
type Facts struct {
	CPU    string // the model
	Cores  int    // that are online
	System string // the kernel and its version
}
