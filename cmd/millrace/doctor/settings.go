package doctor

import "fmt"

// Setting is something that does not bound how many connections there are, but
// how they come, or what they do to the machine.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	What   string `json:"what"`
	Change string `json:"change,omitempty"` // what would be better
}

const (
	enoughBacklog = 4096
	firstPort     = 1024
	lastPort      = 65535
)

// settings are those that are known, for a number of connections.
func settings(m *Machine, p Plan, goal uint64) (all []Setting) {
	for _, of := range []func(*Machine, Plan, uint64) (Setting, bool){
		softLimit, acceptQueue, synQueue, portRange, bufferSizes, processors, goMemory,
	} {
		if s, ok := of(m, p, goal); ok {
			all = append(all, s)
		}
	}
	return all
}

func softLimit(m *Machine, _ Plan, _ uint64) (s Setting, ok bool) {
	soft, ok := m.limit(softDescriptors)
	return Setting{
		Name: "descriptors, soft limit", Value: count(soft), What: "as Go's start has left it: raised to the hard one, which counts",
	}, ok
}

func acceptQueue(m *Machine, _ Plan, _ uint64) (s Setting, ok bool) {
	return queue(m, "net.core.somaxconn", "connections of a burst that wait to be accepted; more are sent away for a second")
}

func synQueue(m *Machine, _ Plan, _ uint64) (s Setting, ok bool) {
	return queue(m, "net.ipv4.tcp_max_syn_backlog", "TCP handshakes under way; more get SYN cookies or are dropped")
}

func queue(m *Machine, name, what string) (s Setting, ok bool) {
	n, ok := m.limit(name)
	s = Setting{Name: name, Value: count(n), What: what}
	if n < enoughBacklog {
		s.Change = sysctl(name, enoughBacklog)
	}
	return s, ok
}

// portRange matters to who connects from here: a proxy in front of the server, or
// a load generator.
func portRange(m *Machine, _ Plan, goal uint64) (s Setting, ok bool) {
	const name = "net.ipv4.ip_local_port_range"
	first, ok1 := m.limit(name + ".first")
	last, ok2 := m.limit(name + ".last")
	if !ok1 || !ok2 || last < first {
		return s, false
	}
	ports := last - first + 1
	s = Setting{
		Name: name, Value: fmt.Sprintf("%d-%d", first, last),
		What: fmt.Sprintf("a proxy on this machine opens at most %s connections from one address to one address and port", count(ports)),
	}
	const most = lastPort - firstPort + 1
	switch {
	case goal <= ports:
	case goal <= most:
		s.Change = fmt.Sprintf("sysctl -w %s='%d %d', if a proxy or load generator runs here", name, firstPort, lastPort)
	default:
		s.Change = fmt.Sprintf("a proxy or load generator here needs %s addresses, or so many ports of the server", count((goal+ports-1)/ports))
	}
	return s, true
}

// bufferSizes is what a connection may take whose peer does not read and to which
// the application does not listen, until the server's write timeout cuts it.
func bufferSizes(m *Machine, _ Plan, _ uint64) (s Setting, ok bool) {
	in, ok1 := m.limit("net.ipv4.tcp_rmem.default")
	out, ok2 := m.limit("net.ipv4.tcp_wmem.default")
	s = Setting{
		Name: "net.ipv4.tcp_rmem, tcp_wmem", Value: bytesText(in) + ", " + bytesText(out),
		What: fmt.Sprintf("a stuck connection takes up to %s of kernel memory at first, as much as %s idle ones",
			bytesText(in+out), count((in+out)/KernelBytes+1)),
	}
	return s, ok1 && ok2
}

func processors(m *Machine, _ Plan, _ uint64) (s Setting, ok bool) {
	procs, ok := m.limit(goProcs)
	s = Setting{Name: goProcs, Value: count(procs), What: "event loops"}
	if percent, limited := m.limit(cgroupCPU); limited {
		s.What += fmt.Sprintf("; the control group allows %d.%02d processors", percent/100, percent%100)
		if allowed := max((percent+99)/100, 1); procs > allowed {
			s.Change = fmt.Sprintf("GOMAXPROCS=%d: more are stopped by the quota in the midst of a turn", allowed)
		}
	}
	return s, ok
}

// goMemory is whether the garbage collector knows how much memory there is for
// Go, which in a control group is less than the limit: kernel memory counts there.
func goMemory(m *Machine, p Plan, goal uint64) (s Setting, ok bool) {
	s = Setting{Name: goMemoryLimit, Value: "none", What: "what Go's heap may grow to"}
	limit, limited := m.limit(goMemoryLimit)
	if limited {
		s.Value = bytesText(limit)
	}
	group, inGroup := m.limit(cgroupMemory)
	if gc, known := m.Values[goGC]; !limited && known && gc == Unlimited {
		s.Change = "GOMEMLIMIT, since GOGC=off: the heap is never collected"
		return s, true
	}
	if !inGroup {
		return s, true
	}
	for _, b := range bounds(m, p) {
		goal = min(goal, b.connections())
	}
	kernel := uint64(kernelEach(m, p) * float64(goal))
	fits := left(group, kernel) / 10 * 9
	if !limited || limit > fits {
		s.Change = fmt.Sprintf("GOMEMLIMIT=%dMiB: the control group's limit without the kernel's part of %s connections, and a tenth to spare", fits>>20, count(goal))
	}
	return s, true
}
