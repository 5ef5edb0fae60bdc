package process

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is how long all threads of a process ran, in nanoseconds, those that have
// ended included: the process's CPU clock, as clock_getcpuclockid(3) finds it. It
// takes one system call, and no rights on the process. That of a thread which runs
// just now is as of the scheduler's last tick, up to 10 ms ago; of one that sleeps
// nothing is missing.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED: what the scheduler counts, for the whole process
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}
