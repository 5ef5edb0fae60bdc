package process

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/procfs"
)

// listening is the state LISTEN in /proc/net/tcp: TCP_LISTEN of the kernel's
// net/tcp_states.h.
const listening = 10

// Find gives the process that listens on a TCP port of this machine, on any
// address of IPv4 or IPv6. Of a process and those that inherited the listener
// from it, it gives the first. An error says why there is none: nobody
// listens, a user's whose processes are not ours to look into, or several that
// have nothing to do with each other.
func Find(port int) (pid int, err error) {
	listeners, err := findListeners(port)
	if err != nil {
		return 0, err
	}
	if len(listeners) == 0 {
		return 0, fmt.Errorf("process: nobody on this machine listens on port %d", port)
	}
	holders, err := findHolders(listeners)
	if err != nil {
		return 0, err
	}
	var first []procfs.ProcStat
	for _, h := range holders {
		if _, inherited := holders[h.PPID]; !inherited {
			first = append(first, h)
		}
	}
	switch len(first) {
	case 0:
		users := slices.Sorted(maps.Values(listeners))
		return 0, fmt.Errorf("process: port %d is listened on by a process of user id %d that can't be seen from here: "+
			"another user's, or in a container", port, users[0])
	case 1:
		return first[0].PID, nil
	}
	var names []string
	for _, h := range slices.SortedFunc(slices.Values(first), func(a, b procfs.ProcStat) int { return a.PID - b.PID }) {
		names = append(names, fmt.Sprintf("%d (%s)", h.PID, h.Comm))
	}
	return 0, fmt.Errorf("process: several processes listen on port %d: %s", port, strings.Join(names, ", "))
}

// findListeners gives the sockets that listen on a port, as their descriptors
// are shown in /proc/PID/fd, and their users' ids.
func findListeners(port int) (map[string]uint64, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	listeners := make(map[string]uint64)
	//lint:ignore SA1019 netlink is faster with very many sockets, and one more dependency for one look.
	for _, table := range []func() (procfs.NetTCP, error){proc.NetTCP, proc.NetTCP6} {
		sockets, err := table()
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // there may be no IPv6
			return nil, fmt.Errorf("process: %w", err)
		}
		for _, s := range sockets {
			if s.St == listening && s.LocalPort == uint64(port) {
				listeners[fmt.Sprintf("socket:[%d]", s.Inode)] = s.UID
			}
		}
	}
	return listeners, nil
}

// findHolders gives the processes, by id, that have one of these open.
func findHolders(sockets map[string]uint64) (map[int]procfs.ProcStat, error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	holders := make(map[int]procfs.ProcStat)
	for _, proc := range all {
		// Another user's can't be read, and any may end meanwhile.
		targets, _ := proc.FileDescriptorTargets()
		holds := slices.ContainsFunc(targets, func(t string) bool { _, ok := sockets[t]; return ok })
		if !holds {
			continue
		}
		if stat, err := read(proc.PID); err == nil {
			holders[proc.PID] = stat
		}
	}
	return holders, nil
}
