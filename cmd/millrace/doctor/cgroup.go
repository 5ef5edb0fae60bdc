package doctor

import (
	"io/fs"
	"path"
	"strings"
)

// cgroup is where the tree of a controller is mounted.
type cgroup struct {
	mount   string
	root    string // the group that the mount shows: another than "/" in a container
	version int
}

// readCgroups reads the memory and processor limits of the process's control
// groups, of version 1 or 2, and of the groups around them, whose limits hold as
// well.
func (m *Machine) readCgroups(root fs.FS) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	mounts, mountsErr := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil || mountsErr != nil {
		m.Unread = append(m.Unread, "cgroup")
		return
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy-ID:controllers:path, see cgroups(7); version 2 names none
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range controllersOf(parts[1]) {
			if g, ok := findMount(string(mounts), controller); ok {
				m.readGroup(root, g, parts[2], controller)
			}
		}
	}
}

// controllersOf are those of a line's that matter; "" is all of version 2.
func controllersOf(list string) (matter []string) {
	if list == "" {
		return []string{""}
	}
	for name := range strings.SplitSeq(list, ",") {
		if name == "memory" || name == "cpu" {
			matter = append(matter, name)
		}
	}
	return matter
}

// findMount finds where a controller's tree is mounted (mountinfo, proc(5)).
func findMount(mountinfo, controller string) (g cgroup, ok bool) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 3 {
			continue
		}
		options := "," + what[2] + ","
		switch {
		case controller == "" && what[0] == "cgroup2":
			return cgroup{mount: where[4], root: where[3], version: 2}, true
		case controller != "" && what[0] == "cgroup" && strings.Contains(options, ","+controller+","):
			return cgroup{mount: where[4], root: where[3], version: 1}, true
		}
	}
	return cgroup{}, false
}

// readGroup reads a group and those around it, up to the mount. A container may
// see its own group there under a path that it can't see: then that is all.
func (m *Machine) readGroup(root fs.FS, g cgroup, group, controller string) {
	if within, ok := strings.CutPrefix(group, g.root); ok && g.root != "/" {
		group = within
	}
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		folder := strings.TrimPrefix(path.Join(g.mount, group), "/")
		if g.version == 2 {
			m.readGroup2(root, folder)
		} else {
			m.readGroup1(root, folder, controller)
		}
		if group == "/" {
			return
		}
	}
}

func (m *Machine) readGroup2(root fs.FS, folder string) {
	used := field(root, folder+"/memory.current", 0)
	for _, file := range []string{"/memory.max", "/memory.high"} { // beyond high it is slowed down
		m.limitMemory(root, folder, file, used, "inactive_file")
	}
	quota, period := field(root, folder+"/cpu.max", 0), field(root, folder+"/cpu.max", 1)
	m.limitCPU(quota, period)
}

func (m *Machine) readGroup1(root fs.FS, folder, controller string) {
	if controller == "memory" {
		used := field(root, folder+"/memory.usage_in_bytes", 0)
		m.limitMemory(root, folder, "/memory.limit_in_bytes", used, "total_inactive_file")
		return
	}
	m.limitCPU(field(root, folder+"/cpu.cfs_quota_us", 0), field(root, folder+"/cpu.cfs_period_us", 0))
}

// limitMemory notes a limit and what is left of it. What the kernel gives up at
// once when memory is short does not count as used.
func (m *Machine) limitMemory(root fs.FS, folder, file, used, cache string) {
	limit, ok := parse(field(root, folder+file, 0))
	if !ok || limit == Unlimited {
		return
	}
	m.Values[cgroupMemory] = min(limit, m.least(cgroupMemory))
	inUse, _ := parse(used) // unknown is 0
	stat, _ := fs.ReadFile(root, folder+"/memory.stat")
	var cached Machine
	cached.Values = map[string]Number{}
	if cached.readItem(stat, cache, item{prefix: cache + " ", unit: 1}) {
		inUse -= min(inUse, cached.Values[cache])
	}
	m.Values[cgroupRoom] = min(limit-min(limit, inUse), m.least(cgroupRoom))
}

// limitCPU notes a quota of a period, both in microseconds; a quota of -1 is none.
func (m *Machine) limitCPU(quota, period string) {
	q, ok := parse(quota)
	p, okPeriod := parse(period)
	if ok && okPeriod && q != Unlimited && p > 0 {
		m.Values[cgroupCPU] = min(q*100/p, m.least(cgroupCPU))
	}
}

// least is the least value so far.
func (m *Machine) least(name string) Number {
	if v, ok := m.Values[name]; ok {
		return v
	}
	return Unlimited
}

// field is one of the fields between blanks of a file; "" if there is none.
func field(root fs.FS, name string, i int) string {
	text, _ := fs.ReadFile(root, name) // empty on an error
	if fields := strings.Fields(string(text)); i < len(fields) {
		return fields[i]
	}
	return ""
}
