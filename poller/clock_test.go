package poller_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
)

// TestMachineTime: the clock goes on as fast as the process's own.
func TestMachineTime(t *testing.T) {
	begun, start := poller.MachineTime(), time.Now()
	for time.Since(start) < 5*time.Millisecond {
	}
	least := time.Since(start)
	passed := poller.MachineTime() - begun
	if most := time.Since(start); passed < least || passed > most+time.Millisecond {
		t.Errorf("%v passed, want %v to %v", passed, least, most)
	}
}
