package process_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/process"
)

const (
	// patience is how long a test waits for what must come.
	patience = 20 * time.Second
	// rounding is by how much a puppet's own account, whose two parts are cut to
	// microseconds, may be too low.
	rounding = 2 * time.Microsecond
	// ticks is by how much the account of processes that ended may be too low.
	ticks = 40 * time.Millisecond
)

func openProcess(t *testing.T, pid int) *process.Process {
	t.Helper()
	p, err := process.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func usage(t *testing.T, p *process.Process) process.Usage {
	t.Helper()
	u, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestUsageIsFine: what is read from outside lies between what the process says
// of itself before and after, which is far less than a tick of 10 ms.
func TestUsageIsFine(t *testing.T) {
	puppet := newPuppet(t)
	p := openProcess(t, puppet.pid())
	for range 20 {
		puppet.tell("burn 3ms")
		before := puppet.used()
		u := usage(t, p)
		after := puppet.used()
		if u.CPU < before || u.CPU > after+rounding {
			t.Errorf("CPU %v, but the process says %v before and %v after", u.CPU, before, after)
		}
		if u.RSS < 1<<20 {
			t.Errorf("RSS %d, less than a Go program's", u.RSS)
		}
	}
}

// TestEndedThreads: a thread that came and went between two readings counts.
func TestEndedThreads(t *testing.T) {
	puppet := newPuppet(t)
	p := openProcess(t, puppet.pid())
	for range 3 {
		usage(t, p)
		if answer := puppet.tell("thread 100ms"); answer != "done" {
			t.Fatal(answer)
		}
		before := puppet.used()
		u := usage(t, p)
		after := puppet.used()
		if u.CPU < before || u.CPU > after+rounding {
			t.Errorf("CPU %v, but the process says %v before and %v after", u.CPU, before, after)
		}
	}
}

// TestStolen: it knows each CPU, and never falls.
func TestStolen(t *testing.T) {
	before, err := process.StolenEach()
	if err != nil {
		t.Fatal(err)
	}
	after, err := process.StolenEach()
	if err != nil || len(before) != process.Machine().Cores || len(after) != len(before) {
		t.Fatalf("%d CPUs, then %d, %v, want %d", len(before), len(after), err, process.Machine().Cores)
	}
	for cpu, time := range before {
		if time < 0 || after[cpu] < time {
			t.Errorf("CPU %d: %v, then %v", cpu, time, after[cpu])
		}
	}
}

// TestDescendants: a child that is born later counts, and stays counted once it
// has ended.
func TestDescendants(t *testing.T) {
	puppet := newPuppet(t)
	p := openProcess(t, puppet.pid())
	alone := usage(t, p)
	child := puppet.number("child")
	puppet.tell("tell burn 200ms")
	puppet.tell("tell child")
	puppet.tell("tell tell burn 100ms")

	both := usage(t, p)
	if grown := both.CPU - alone.CPU; grown < 300*time.Millisecond {
		t.Errorf("CPU grew by %v, less than the 300ms of child and grandchild", grown)
	}
	if own := usage(t, openProcess(t, child)); both.RSS <= own.RSS || own.RSS == 0 {
		t.Errorf("RSS of all %d, that of the child %d", both.RSS, own.RSS)
	}

	puppet.tell("dismiss")
	after := usage(t, p)
	if after.CPU < both.CPU {
		t.Errorf("CPU fell from %v to %v with the child's end", both.CPU, after.CPU)
	}
	if after.RSS >= both.RSS {
		t.Errorf("RSS %d without the child, %d with it", after.RSS, both.RSS)
	}

	// One that comes and goes unseen is known from its parent's account.
	puppet.tell("child")
	puppet.tell("tell burn 300ms")
	puppet.tell("dismiss")
	if u := usage(t, p); u.CPU < 600*time.Millisecond-ticks {
		t.Errorf("CPU %v, less than the 600ms of all descendants", u.CPU)
	}
}

// TestSelf: what it says lies between what the kernel tells us, and a child is
// not part of it.
func TestSelf(t *testing.T) {
	p, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	if p.PID() != os.Getpid() {
		t.Errorf("PID() = %d, want %d", p.PID(), os.Getpid())
	}
	puppet := newPuppet(t)
	puppet.tell("child")
	puppet.tell("tell burn 200ms")
	puppet.tell("burn 200ms")
	for _, state := range []string{"running", "ended"} {
		before := used()
		u := usage(t, p)
		after := used()
		if u.CPU < before-ticks || u.CPU > after+rounding {
			t.Errorf("with the child %s: CPU %v, but it is %v before and %v after", state, u.CPU, before, after)
		}
		_ = puppet.in.Close()
		_ = puppet.cmd.Wait()
	}
}

func TestEnded(t *testing.T) {
	for _, pid := range []int{0, -1, 1 << 30} {
		if _, err := process.Open(pid); !errors.Is(err, process.ErrEnded) {
			t.Errorf("Open(%d): %v, want ErrEnded", pid, err)
		}
	}
	puppet := newPuppet(t)
	p := openProcess(t, puppet.pid())
	if want := "process.test"; !strings.HasPrefix(p.Name(), "exe") && !strings.HasPrefix(p.Name(), want) {
		t.Errorf("Name() = %q", p.Name())
	}
	if err := puppet.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"zombie", "gone"} {
		expectEnded(t, p, state)
		if _, err := process.Open(puppet.pid()); !errors.Is(err, process.ErrEnded) {
			t.Errorf("Open of a %s: %v, want ErrEnded", state, err)
		}
		_ = puppet.cmd.Wait() // it was killed
	}
}

// expectEnded: Usage fails with ErrEnded, soon.
func expectEnded(t *testing.T, p *process.Process, state string) {
	t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
		if _, err := p.Usage(); err != nil {
			if !errors.Is(err, process.ErrEnded) {
				t.Errorf("Usage of a %s: %v, want ErrEnded", state, err)
			}
			return
		}
	}
	t.Errorf("Usage of a %s has no error", state)
}

func TestMachine(t *testing.T) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	m := process.Machine()
	if m.CPU == "" || m.Cores < 1 || m.System != "Linux "+strings.TrimSpace(string(release)) {
		t.Errorf("Machine() = %+v, want a CPU, cores and Linux %s", m, release)
	}
}
