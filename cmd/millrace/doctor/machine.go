package doctor

import (
	"bufio"
	"bytes"
	"io/fs"
	"maps"
	"math"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
)

// Number is a value that was read, or Unlimited.
type Number uint64

// Unlimited is the Number of a limit that is none.
const Unlimited = Number(math.MaxUint64)

// MarshalJSON gives a number, or the string "unlimited".
func (n Number) MarshalJSON() ([]byte, error) {
	if n == Unlimited {
		return []byte(`"unlimited"`), nil
	}
	return strconv.AppendUint(nil, uint64(n), 10), nil
}

// Machine is what was read of a machine: numbers by name, sysctls by theirs. What
// is not in Values is unknown, or is not there.
type Machine struct {
	System string            // as runtime.GOOS
	Values map[string]Number // memory in bytes
	Unread []string          // what should be there and could not be read
}

// The names in Machine.Values that are no sysctls.
const (
	softDescriptors = "descriptors.soft" // RLIMIT_NOFILE
	hardDescriptors = "descriptors.hard"
	openDescriptors = "fs.file-nr" // of the machine, in use
	tcpPages        = "sockstat.tcp.mem"
	memoryTotal     = "memory.total"
	memoryAvailable = "memory.available"
	cgroupMemory    = "cgroup.memory.limit" // the least of the group and those around it
	cgroupRoom      = "cgroup.memory.room"  // what is left of it, page cache not counted
	cgroupCPU       = "cgroup.cpu.percent"  // of one processor
	goMemoryLimit   = "GOMEMLIMIT"
	goGC            = "GOGC" // Unlimited: off
	goProcs         = "GOMAXPROCS"
	pageSize        = "page.size"
)

// source is a number in a file of proc: one of the fields between blanks.
type source struct {
	name, path string
	field      int
	optional   bool // not there on every machine
}

var sources = []source{
	{name: "fs.nr_open", path: "proc/sys/fs/nr_open"},
	{name: "fs.file-max", path: "proc/sys/fs/file-max"},
	{name: openDescriptors, path: "proc/sys/fs/file-nr"},
	{name: "fs.epoll.max_user_watches", path: "proc/sys/fs/epoll/max_user_watches"},
	{name: "vm.max_map_count", path: "proc/sys/vm/max_map_count"},
	{name: "net.core.somaxconn", path: "proc/sys/net/core/somaxconn"},
	{name: "net.ipv4.tcp_max_syn_backlog", path: "proc/sys/net/ipv4/tcp_max_syn_backlog"},
	{name: "net.ipv4.tcp_mem.low", path: "proc/sys/net/ipv4/tcp_mem"},
	{name: "net.ipv4.tcp_mem.pressure", path: "proc/sys/net/ipv4/tcp_mem", field: 1},
	{name: "net.ipv4.tcp_mem.high", path: "proc/sys/net/ipv4/tcp_mem", field: 2},
	{name: "net.ipv4.tcp_rmem.default", path: "proc/sys/net/ipv4/tcp_rmem", field: 1},
	{name: "net.ipv4.tcp_wmem.default", path: "proc/sys/net/ipv4/tcp_wmem", field: 1},
	{name: "net.ipv4.ip_local_port_range.first", path: "proc/sys/net/ipv4/ip_local_port_range"},
	{name: "net.ipv4.ip_local_port_range.last", path: "proc/sys/net/ipv4/ip_local_port_range", field: 1},
	{name: "net.netfilter.nf_conntrack_max", path: "proc/sys/net/netfilter/nf_conntrack_max", optional: true},
	{name: "net.netfilter.nf_conntrack_count", path: "proc/sys/net/netfilter/nf_conntrack_count", optional: true},
}

// Read reads a Linux machine from the root of its file system, of which it needs
// proc and sys.
func Read(root fs.FS) Machine {
	m := Machine{System: "linux", Values: map[string]Number{}}
	for _, s := range sources {
		text, err := fs.ReadFile(root, s.path)
		fields := strings.Fields(string(text))
		if err == nil && s.field < len(fields) && m.set(s.name, fields[s.field], 1) || s.optional {
			continue
		}
		m.Unread = append(m.Unread, s.name)
	}
	m.readLines(root, "proc/self/limits", map[string]item{
		softDescriptors: {"Max open files", 0, 1}, hardDescriptors: {"Max open files", 1, 1},
	})
	m.readLines(root, "proc/meminfo", map[string]item{
		memoryTotal: {"MemTotal:", 0, 1024}, memoryAvailable: {"MemAvailable:", 0, 1024},
	})
	m.readLines(root, "proc/net/sockstat", map[string]item{tcpPages: {"TCP:", 9, 1}})
	m.readCgroups(root)
	return m
}

// item is a number in a line of a file: the line's beginning, the field behind it,
// and what its unit is.
type item struct {
	prefix string
	field  int
	unit   uint64
}

func (m *Machine) readLines(root fs.FS, path string, items map[string]item) {
	text, _ := fs.ReadFile(root, path) // empty on an error: nothing is found in it
	for _, name := range slices.Sorted(maps.Keys(items)) {
		if it := items[name]; !m.readItem(text, name, it) {
			m.Unread = append(m.Unread, name)
		}
	}
}

func (m *Machine) readItem(text []byte, name string, it item) bool {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), it.prefix); ok {
			fields := strings.Fields(rest)
			return it.field < len(fields) && m.set(name, fields[it.field], it.unit)
		}
	}
	return false
}

func (m *Machine) set(name, text string, unit uint64) bool {
	n, ok := parse(text)
	if !ok {
		return false
	}
	if n != Unlimited {
		n *= Number(unit)
	}
	m.Values[name] = n
	return true
}

// parse is a number as the kernel writes it. What is larger than any machine is
// meant as no limit: cgroup v1 says so with the largest number of whole pages.
func parse(text string) (Number, bool) {
	if text == "unlimited" || text == "max" {
		return Unlimited, true
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false
	}
	return known(n), true
}

func known(n uint64) Number {
	if n >= 1<<60 {
		return Unlimited
	}
	return Number(n)
}

// limit is a value that limits something; false: it is unknown, or is no limit.
func (m *Machine) limit(name string) (n uint64, ok bool) {
	v, ok := m.Values[name]
	return uint64(v), ok && v != Unlimited
}

// value is a limit, or another number where it is unknown.
func (m *Machine) value(name string, otherwise uint64) uint64 {
	if n, ok := m.limit(name); ok {
		return n
	}
	return otherwise
}

// addRuntime adds what the Go runtime has been told.
func (m *Machine) addRuntime(procs, page int) {
	samples := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(samples)
	m.Values[goGC] = known(samples[0].Value.Uint64()) // off is the largest number
	m.Values[goMemoryLimit] = known(samples[1].Value.Uint64())
	m.Values[goProcs] = Number(procs)
	m.Values[pageSize] = Number(page)
}
