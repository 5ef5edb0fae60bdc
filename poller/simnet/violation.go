package simnet

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
)

const (
	maxViolations = 64
	violationDeep = 10 // frames of the stack
)

// violations collects the breaches of the contract, the first of them only.
type violations struct {
	mu    sync.Mutex
	texts []string
}

// Violations returns how the contract of package poller was broken so far, one
// text each with the call, the descriptor and the stack; the first 64. A test
// should end with none.
func (n *Network) Violations() []string {
	n.violations.mu.Lock()
	defer n.violations.mu.Unlock()
	return append([]string(nil), n.violations.texts...)
}

// violate notes a breach: the call, the descriptor and what is wrong with it.
func (n *Network) violate(call string, fd int, what string) {
	v := &n.violations
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.texts) == maxViolations {
		return
	}
	v.texts = append(v.texts, fmt.Sprintf("%s of descriptor %d: %s%s", call, fd, what, stack()))
}

// stack returns the callers of violate, one a line.
func stack() string {
	var counters [violationDeep]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])])
	var text strings.Builder
	for {
		frame, more := frames.Next()
		fmt.Fprintf(&text, "\n\t%s %s:%d", frame.Function, frame.File, frame.Line)
		if !more {
			return text.String()
		}
	}
}
