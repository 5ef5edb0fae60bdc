package poller

import (
	"time"

	"golang.org/x/sys/unix"
)

// MachineTime is a clock that all processes of this machine share: CLOCK_MONOTONIC.
// Where there is none it is the wall clock, which may be set.
func MachineTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(now.Nano())
}
