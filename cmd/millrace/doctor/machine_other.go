//go:build !linux

package doctor

import (
	"os"
	"runtime"

	"github.com/millrace/millrace/poller"
)

// thisMachine knows of its process's descriptors and of the Go runtime. The
// kernel's other limits it can't read on this system, and says so.
func thisMachine() Machine {
	m := Machine{System: runtime.GOOS, Values: map[string]Number{}}
	if soft, hard, err := poller.RaiseDescriptorLimit(); err == nil {
		m.Values[softDescriptors], m.Values[hardDescriptors] = known(soft), known(hard)
	} else {
		m.Unread = append(m.Unread, softDescriptors, hardDescriptors)
	}
	m.Unread = append(m.Unread, "the kernel's limits", "memory")
	m.addRuntime(runtime.GOMAXPROCS(0), os.Getpagesize())
	return m
}
