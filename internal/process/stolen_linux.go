package process

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// StolenEach gives, by the number of the CPU, for how long the host had something else run
// on it while a thread of this machine could have, since the start. Its unit is the
// tick of /proc/stat, 10 ms. A machine that is not virtual, or whose host does not say,
// has 0. Only the difference of two readings tells something.
func StolenEach() (map[int]time.Duration, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	stolen := make(map[int]time.Duration, len(stat.CPU))
	for cpu, times := range stat.CPU {
		stolen[int(cpu)] = time.Duration(times.Steal * float64(time.Second))
	}
	return stolen, nil
}
