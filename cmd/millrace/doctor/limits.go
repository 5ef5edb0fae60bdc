package doctor

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/cmd/millrace/serve"
)

// What a connection takes. User memory is that of docs/performance.md for an idle one. Kernel
// memory was measured on Linux 6.18 (x86-64), 9,900 connections over loopback in
// epoll, from /proc/slabinfo and MemFree, per socket: tcp_sock 2,514 B,
// sock_inode_cache 859, filp 195, dentry 189, eventpoll and the rest 440. An idle
// socket has no pages of tcp_mem; one with a message of up to 1,000 bytes unread
// has one (4,000 bytes: two). What TLS adds is the heap of crypto/tls, by the
// benchmark TLSConnectionMemory of package server, with TLS 1.3.
const (
	UserBytes   = 139
	TLSBytes    = 6400
	KernelBytes = 4200
	ActivePages = 2 // one for each direction of a connection with a message under way
)

// What the server takes without connections.
const (
	ownDescriptors  = 32              // standard streams, listeners, the Go runtime
	loopDescriptors = 2               // epoll and its eventfd
	programBytes    = 32 << 20        // the program, its heap's minimum, stacks
	loopBytes       = 1 << 20         // its workers' buffers
	ownMappings     = 1000            // threads and the program
	mappingBytes    = 2 << 20         // of Go's heap: at worst a mapping each huge page
	spareMemory     = 20              // a 20th of the machine's memory is for others
	defaultGC       = 100             // GOGC; as if, where it is off without a memory limit
	maxPlausible    = uint64(1) << 53 // connections: what a float64 holds exactly
	maxUnits        = 1 << 60         // of whatever a limit counts: no sum overflows
)

// Plan is what the machine should hold.
type Plan struct {
	Target   uint64 // connections; 0: as many as it can
	Active   uint64 // percent of them that have a message under way at once
	OwnBytes uint64 // of user memory a connection that the application keeps
	TLS      bool   // the server itself ends TLS
}

// userBytes is the user memory of a connection.
func (p Plan) userBytes() uint64 {
	if p.TLS {
		return UserBytes + TLSBytes + p.OwnBytes
	}
	return UserBytes + p.OwnBytes
}

// Limit is one thing that bounds the connections.
type Limit struct {
	Name        string   `json:"name"`
	What        string   `json:"what"`
	Value       string   `json:"value"`       // with its unit
	Connections uint64   `json:"connections"` // that fit
	Change      []string `json:"change"`      // to hold Report.Goal; empty if it does
}

// bound is a limit in its own unit: what is left of it, what a connection takes of
// it, and what to change so that a number of units fits.
type bound struct {
	name, what, value string
	room              uint64
	each              float64
	change            func(units uint64) []string
}

func (b *bound) connections() uint64 {
	return uint64(min(float64(b.room)/b.each, float64(maxPlausible)))
}

func (b *bound) limit(goal uint64) Limit {
	l := Limit{Name: b.name, What: b.what, Value: b.value, Connections: b.connections(), Change: []string{}}
	if l.Connections < goal {
		l.Change = b.change(uint64(min(math.Ceil(float64(goal)*b.each), maxUnits)))
	}
	return l
}

// bounds are all limits that are known, the narrowest first.
func bounds(m *Machine, p Plan) []bound {
	var known []bound
	for _, of := range []func(*Machine, Plan) (bound, bool){
		descriptorBound, machineDescriptorBound, watchBound, conntrackBound, tcpMemoryBound,
		memoryBound, cgroupBound, goMemoryBound, mappingBound,
	} {
		if b, ok := of(m, p); ok && b.each > 0 {
			known = append(known, b)
		}
	}
	slices.SortStableFunc(known, func(a, b bound) int { return cmp.Compare(a.connections(), b.connections()) })
	return known
}

// left is n without what is used already.
func left(n, used uint64) uint64 { return n - min(n, used) }

func loops(m *Machine) uint64 { return m.value(goProcs, 1) }

// descriptorBound counts what the default of --max-conns leaves to WebSockets.
func descriptorBound(m *Machine, _ Plan) (b bound, ok bool) {
	hard, ok := m.limit(hardDescriptors)
	own := ownDescriptors + loopDescriptors*loops(m)
	kept := max(serve.ReservedDescriptors(hard), own)
	return bound{
		name: "descriptors", what: "descriptors of the process (hard limit)", value: fmt.Sprintf("%s (%s kept for all else)", count(hard), count(kept)),
		room: left(hard, kept), each: 1,
		change: func(n uint64) (change []string) {
			n = max(n+own, n+min((n+6)/7, serve.ReservedDescriptors(maxUnits))) // an eighth of the sum
			if most, ok := m.limit("fs.nr_open"); ok && n > most {
				change = append(change, sysctl("fs.nr_open", n))
			}
			return append(change, fmt.Sprintf("LimitNOFILE=%d in the systemd unit, docker run --ulimit nofile=%d, or ulimit -Hn %d as root", n, n, n))
		},
	}, ok
}

func machineDescriptorBound(m *Machine, _ Plan) (b bound, ok bool) {
	most, ok := m.limit("fs.file-max")
	used := m.value(openDescriptors, 0)
	return bound{
		name: "fs.file-max", what: "open files of the machine", value: counted(most, used, ""),
		room: left(most, used+ownDescriptors), each: 1,
		change: func(n uint64) []string { return []string{sysctl("fs.file-max", n+used+ownDescriptors)} },
	}, ok
}

func watchBound(m *Machine, _ Plan) (b bound, ok bool) {
	most, ok := m.limit("fs.epoll.max_user_watches")
	return bound{
		name: "fs.epoll.max_user_watches", what: "descriptors in epoll, of a user", value: count(most),
		room: left(most, ownDescriptors), each: 1,
		change: func(n uint64) []string { return []string{sysctl("fs.epoll.max_user_watches", n+ownDescriptors)} },
	}, ok
}

func conntrackBound(m *Machine, _ Plan) (b bound, ok bool) {
	most, ok := m.limit("net.netfilter.nf_conntrack_max")
	used := m.value("net.netfilter.nf_conntrack_count", 0)
	return bound{
		name: "net.netfilter.nf_conntrack_max", what: "connections tracked by the firewall", value: counted(most, used, ""),
		room: left(most, used), each: 1,
		change: func(n uint64) []string {
			return []string{sysctl("net.netfilter.nf_conntrack_max", n+used) + ", or a notrack rule for the port"}
		},
	}, ok
}

// tcpMemoryBound is where the kernel begins to shrink buffers.
func tcpMemoryBound(m *Machine, p Plan) (b bound, ok bool) {
	pressure, ok := m.limit("net.ipv4.tcp_mem.pressure")
	low, high := m.value("net.ipv4.tcp_mem.low", pressure), m.value("net.ipv4.tcp_mem.high", pressure)
	used := m.value(tcpPages, 0)
	return bound{
		name: "net.ipv4.tcp_mem", what: fmt.Sprintf("socket buffers, %d %% with a message", p.Active), value: counted(pressure, used, " pages"),
		room: left(pressure, used), each: ActivePages * float64(p.Active) / 100,
		change: func(n uint64) []string {
			n += used
			return []string{fmt.Sprintf("sysctl -w net.ipv4.tcp_mem='%d %d %d'", max(low, n-n/4), n, max(high, n+n/2))}
		},
	}, ok
}

// kernelEach is the kernel memory a connection takes, in the mean.
func kernelEach(m *Machine, p Plan) float64 {
	return KernelBytes + ActivePages*float64(m.value(pageSize, 4096)*p.Active)/100
}

// heapEach is the memory a connection takes of Go's heap, which is GOGC percent
// larger than what is in use, unless a memory limit keeps it.
func heapEach(m *Machine, p Plan) float64 {
	live := float64(p.userBytes())
	if _, limited := m.limit(goMemoryLimit); limited {
		return live
	}
	return live * float64(100+m.value(goGC, defaultGC)) / 100
}

func programSize(m *Machine) uint64 { return programBytes + loopBytes*loops(m) }

func memoryBound(m *Machine, p Plan) (b bound, ok bool) {
	total, ok := m.limit(memoryTotal)
	available := m.value(memoryAvailable, total)
	own := programSize(m)
	return bound{
		name: "memory", what: "memory of the machine", value: fmt.Sprintf("%s (%s available)", bytesText(total), bytesText(available)),
		room: left(available, own+total/spareMemory), each: kernelEach(m, p) + heapEach(m, p),
		change: func(n uint64) []string {
			return []string{"more memory: " + bytesText((n+own+left(total, available))/(spareMemory-1)*spareMemory) + " in all"}
		},
	}, ok
}

func cgroupBound(m *Machine, p Plan) (b bound, ok bool) {
	limit, ok := m.limit(cgroupMemory)
	room := m.value(cgroupRoom, limit)
	own := programSize(m)
	return bound{
		name: "cgroup", what: "memory of the control group", value: fmt.Sprintf("%s (%s left)", bytesText(limit), bytesText(room)),
		room: left(room, own), each: kernelEach(m, p) + heapEach(m, p),
		change: func(n uint64) []string {
			n = megabytes(n + own + left(limit, room))
			return []string{fmt.Sprintf("MemoryMax=%dM in the systemd unit, docker run --memory %dm, or the pod's memory limit", n, n)}
		},
	}, ok
}

// goMemoryBound is where the garbage collector would run without end.
func goMemoryBound(m *Machine, p Plan) (b bound, ok bool) {
	limit, ok := m.limit(goMemoryLimit)
	own := programSize(m)
	return bound{
		name: goMemoryLimit, what: "Go's heap", value: bytesText(limit),
		room: left(limit, own), each: float64(p.userBytes()),
		change: func(n uint64) []string { return []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", megabytes(n+own))} },
	}, ok
}

func mappingBound(m *Machine, p Plan) (b bound, ok bool) {
	most, ok := m.limit("vm.max_map_count")
	return bound{
		name: "vm.max_map_count", what: "memory mappings of the process", value: count(most),
		room: left(most, ownMappings), each: heapEach(m, p) / mappingBytes,
		change: func(n uint64) []string { return []string{sysctl("vm.max_map_count", n+ownMappings)} },
	}, ok
}

func sysctl(name string, n uint64) string { return fmt.Sprintf("sysctl -w %s=%d", name, n) }

func megabytes(n uint64) uint64 { return (n + 1<<20 - 1) >> 20 }
