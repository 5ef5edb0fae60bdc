package process

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// Stolen is how much time a hypervisor has taken from this machine's cores since
// its start, in sum, to the 10 ms (steal in /proc/stat). Only the difference of two
// readings tells something. On a machine that is not virtual it stays 0, and so it
// does where the hypervisor does not tell.
func Stolen() (time.Duration, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	return time.Duration(stat.CPUTotal.Steal * float64(time.Second)), nil
}
