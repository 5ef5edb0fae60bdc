package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ, 100 on all that Go runs on.
const tick = 10 * time.Millisecond

// Process is a running process with all that descend from it: a server that
// forks is one server. It is not safe for concurrent use and holds nothing to
// be closed.
type Process struct {
	pid       int
	name      string
	alone     bool            // descendants are not ours to count
	members   map[int]*member // by process id: the process and its descendants
	strangers map[int]bool    // process ids known to be others'
	ended     time.Duration   // CPU time of members that ended
	cpu       time.Duration   // highest reading so far
	begun     bool            // there was a reading, from which both figures go on:
	run       time.Duration   // what is missing in the clocks
	ticks     time.Duration   // and in the ticks, whose two parts may each be one behind
}

// member is one process of a Process.
type member struct {
	started uint64        // tells it from a later one of the same id
	cpu     time.Duration // at the last reading
}

// Open gives the process of that id and its descendants, those that it starts
// later included. It fails with ErrEnded if there is none. Another user's
// process can be opened too.
func Open(pid int) (*Process, error) { return open(pid, false) }

// Self gives the calling process. Its children are not counted: a server that it
// started is not part of what it uses itself.
func Self() (*Process, error) { return open(os.Getpid(), true) }

func open(pid int, alone bool) (*Process, error) {
	stat, err := read(pid)
	if err != nil {
		return nil, fmt.Errorf("%w: %d", err, pid)
	}
	return &Process{
		pid: pid, name: stat.Comm, alone: alone,
		members: map[int]*member{pid: {started: stat.Starttime}},
	}, nil
}

// PID is the process id that was opened.
func (p *Process) PID() int { return p.pid }

// Name is the process's command name, at most 15 bytes of it.
func (p *Process) Name() string { return p.name }

// Usage reads what the process and its descendants have used until now, those
// that ended included. It fails with ErrEnded once the process itself, whose
// descendants may live on, has ended. It reads a file for each process that is new
// on the machine: less than a millisecond.
//
// CPU is the higher of two figures, neither of which can be too high. The sum of the
// processes' CPU clocks has nanoseconds and all threads, and misses the last of a
// descendant that ended between two readings. The times of /proc/PID/stat miss no
// child that was waited for, but only have ticks of 10 ms: too coarse for a second of
// a light load. Both go on from the first reading: else children that had ended by
// then would keep the ticks ahead for good.
func (p *Process) Usage() (Usage, error) {
	if !p.alone {
		if err := p.adopt(); err != nil {
			return Usage{}, err
		}
	}
	var u Usage
	run, ticks := p.ended, time.Duration(0)
	for pid, m := range p.members {
		stat, err := read(pid)
		if err == nil && stat.Starttime != m.started {
			err = ErrEnded
		}
		switch {
		case err == nil:
			if now, err := cpuTime(pid); err == nil { // or it has just ended
				m.cpu = now
			}
			run += m.cpu
			ticks += p.ticksOf(stat)
			u.RSS += resident(pid)
		case pid == p.pid:
			return Usage{}, fmt.Errorf("%w: %d (%s)", err, p.pid, p.name)
		default:
			p.ended += m.cpu
			run += m.cpu
			delete(p.members, pid)
		}
	}
	// A child that ended and whose parent does not wait for it takes its ticks
	// along: they can fall.
	if !p.begun {
		p.begun, p.cpu = true, max(run, ticks)
		p.run, p.ticks = p.cpu-run, p.cpu-ticks-2*tick
	}
	p.cpu = max(p.cpu, run+p.run, ticks+p.ticks)
	u.CPU = p.cpu
	return u, nil
}

// ticksOf is the CPU time that the process's stat knows of, with that of the
// children it has waited for if they count.
func (p *Process) ticksOf(stat procfs.ProcStat) time.Duration {
	n := time.Duration(stat.UTime) + time.Duration(stat.STime)
	if !p.alone {
		n += time.Duration(stat.CUTime) + time.Duration(stat.CSTime)
	}
	return n * tick
}

// adopt makes the descendants that appeared since the last time members. The
// kernel lists no children unless built for it (CONFIG_PROC_CHILDREN), so the
// parents of all new processes are looked at.
func (p *Process) adopt() error {
	all, err := procfs.AllProcs()
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	parents := make(map[int]procfs.ProcStat) // of the new ones
	strangers := make(map[int]bool, len(all))
	for _, proc := range all {
		if p.strangers[proc.PID] {
			strangers[proc.PID] = true
			continue
		}
		if p.members[proc.PID] != nil {
			continue
		}
		if stat, err := read(proc.PID); err == nil {
			parents[proc.PID] = stat
		}
	}
	// A child may be listed before its parent: go on while one is found.
	for found := true; found; {
		found = false
		for pid, stat := range parents {
			if p.members[stat.PPID] != nil {
				p.members[pid] = &member{started: stat.Starttime}
				delete(parents, pid)
				found = true
			}
		}
	}
	for pid := range parents {
		strangers[pid] = true
	}
	p.strangers = strangers
	return nil
}

// read gives the stat of a process, or ErrEnded. One that only waits for its
// parent to notice its end has ended.
func read(pid int) (procfs.ProcStat, error) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, endedOr(err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return procfs.ProcStat{}, endedOr(err)
	}
	// A main thread that ended before the others looks like a zombie too.
	if stat.State == "X" || stat.State == "Z" && stat.NumThreads <= 1 {
		return procfs.ProcStat{}, ErrEnded
	}
	return stat, nil
}

// endedOr recognizes how the kernel says that a process is gone: no file, or
// ESRCH if it ends while one of its files is open.
func endedOr(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return ErrEnded
	}
	return fmt.Errorf("process: %w", err)
}

// resident is a process's resident bytes; 0 if it has just ended. It is that of
// statm, exact in Linux 6.18; that of stat is off by up to 64 pages a core.
func resident(pid int) int64 {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	statm, err := proc.Statm()
	if err != nil {
		return 0
	}
	return int64(statm.ResidentBytes())
}
