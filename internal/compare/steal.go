package compare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	machine "github.com/millrace/millrace/internal/process"
)

// theft watches what the host takes away of some CPUs.
type theft struct {
	cpus  []int // nil: all
	most  float64
	began time.Time
	taken map[int]time.Duration
}

// stolenEach is replaced by tests: what the host of a test takes is nothing to them.
var stolenEach = machine.StolenEach

// watchSteal begins a watch of the CPUs in some lists, as taskset -c takes them.
func watchSteal(most float64, lists ...string) *theft {
	t := &theft{most: most}
	for _, list := range lists {
		cpus, ok := cpuNumbers(list)
		if !ok {
			t.cpus = nil
			break
		}
		t.cpus = append(t.cpus, cpus...)
	}
	return t
}

// cpuNumbers reads a list as "0,2-3"; false: all are meant, or it is more than that.
func cpuNumbers(list string) (cpus []int, ok bool) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			return nil, false
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil {
				return nil, false
			}
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, true
}

// begin begins a slice.
func (t *theft) begin() {
	t.began = time.Now()
	t.taken, _ = stolenEach() // nil where nobody says: then nothing is seen
}

// end says why what was measured since begin does not count; "": it does. The host
// took too much of a CPU, or the client says that it did not run though it had to.
func (t *theft) end(clientTaken float64) string {
	now, _ := stolenEach()
	return t.judge(now, time.Since(t.began), clientTaken)
}

func (t *theft) judge(now map[int]time.Duration, elapsed time.Duration, clientTaken float64) string {
	for cpu, before := range t.taken {
		if t.cpus != nil && !slices.Contains(t.cpus, cpu) {
			continue
		}
		if share := (now[cpu] - before).Seconds() / elapsed.Seconds(); share > t.most {
			return fmt.Sprintf("the host took %.0f %% of CPU %d's time", 100*share, cpu)
		}
	}
	if clientTaken > t.most {
		return fmt.Sprintf("the client was kept from running for %.0f %% of the time", 100*clientTaken)
	}
	return ""
}
