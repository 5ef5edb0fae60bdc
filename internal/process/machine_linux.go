package process

import (
	"os"
	"runtime"
	"strings"

	"github.com/prometheus/procfs"
)

// Machine says what this machine is, as far as the system tells.
func Machine() Facts {
	facts := Facts{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), System: "Linux"}
	if proc, err := procfs.NewDefaultFS(); err == nil {
		if cores, err := proc.CPUInfo(); err == nil && len(cores) > 0 {
			facts.Cores = len(cores) // NumCPU has only those we may run on
			if model := cores[0].ModelName; model != "" {
				facts.CPU = model
			}
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		facts.System += " " + strings.TrimSpace(string(release))
	}
	return facts
}
