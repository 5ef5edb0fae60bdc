// Package process measures a process from outside: its CPU time and its memory.
//
//	pid, err := process.Find(9001) // the one that listens there
//	p, err := process.Open(pid)
//	before, err := p.Usage()
//	...
//	after, err := p.Usage() // after.CPU-before.CPU, after.RSS
//
// It reads /proc. On other systems than Linux everything but [Machine] returns
// [ErrNotSupported].
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

// Stolen is StolenEach in sum.
func Stolen() (sum time.Duration, err error) {
	each, err := StolenEach()
	for _, d := range each {
		sum += d
	}
	return sum, err
}

// Facts says what a machine is.
type Facts struct {
	CPU    string // the model
	Cores  int    // that are online
	System string // the kernel and its version
}
