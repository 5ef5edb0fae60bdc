//go:build !linux

package poller

import "time"

// MachineTime is a clock that all processes of this machine share. Here it is the
// wall clock, which may be set; on Linux it is CLOCK_MONOTONIC.
func MachineTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
