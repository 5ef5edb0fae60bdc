//go:build !linux

package process

import (
	"runtime"
	"time"
)

// Process is not to be had on this system.
type Process struct{}

// Find fails with ErrNotSupported.
func Find(port int) (pid int, err error) { return 0, ErrNotSupported }

// Open fails with ErrNotSupported.
func Open(pid int) (*Process, error) { return nil, ErrNotSupported }

// Self fails with ErrNotSupported.
func Self() (*Process, error) { return nil, ErrNotSupported }

// PID is 0.
func (p *Process) PID() int { return 0 }

// Name is empty.
func (p *Process) Name() string { return "" }

// Usage fails with ErrNotSupported.
func (p *Process) Usage() (Usage, error) { return Usage{}, ErrNotSupported }

// Machine says what this machine is, as far as Go knows.
func Machine() Facts {
	return Facts{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), System: runtime.GOOS}
}

// StolenEach fails with ErrNotSupported.
func StolenEach() (map[int]time.Duration, error) { return nil, ErrNotSupported }
