package load

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/process"
)

// serverProcess is the server's process, if it is known, and our own.
type serverProcess struct {
	mu           sync.Mutex       // the sampler and the run look at once
	server, self *process.Process // nil: not known
	use          result.ServerUse

	sampled time.Duration // CPU at the last sample

	began  cpuTimes // at the window's begin
	window cpuTimes // in the last window
	total  cpuTimes // in all of them
}

type cpuTimes struct{ server, self time.Duration }

// ThisMachine says where this process runs.
func ThisMachine() result.Machine {
	m := process.Machine()
	return result.Machine{CPU: m.CPU, Cores: m.Cores, System: m.System, Go: runtime.Version()}
}

// watchServer finds the server's process. Before the first connection: its
// memory then is what connections are held against.
func (r *run) watchServer() {
	s := &r.server
	s.self, _ = process.Self() // nil where that is not supported
	if r.plan.ServerPID < 0 {
		return
	}
	pid := r.plan.ServerPID
	if pid == 0 {
		address := r.target.address
		if !address.Addr().IsLoopback() {
			return
		}
		found, err := process.Find(int(address.Port()))
		if err != nil {
			r.note(fmt.Sprintf("the server's process was not found, so its CPU and memory are not known: %v", err))
			return
		}
		pid = found
	}
	p, err := process.Open(pid)
	if err != nil {
		r.trouble("server's process %d: %v", pid, err)
		return
	}
	s.server = p
	s.use = result.ServerUse{PID: pid, Name: p.Name(), Before: s.usage(p).RSS}
}

// usage is what one of the two has used so far; zero once it is gone, or if it is
// not known.
func (s *serverProcess) usage(p *process.Process) (u process.Usage) {
	if p != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		u, _ = p.Usage()
	}
	return u
}

func (s *serverProcess) sample(since time.Duration) (rss int64, cores float64) {
	if s.server == nil {
		return 0, 0
	}
	u := s.usage(s.server)
	if s.sampled > 0 && u.CPU > s.sampled {
		cores = (u.CPU - s.sampled).Seconds() / since.Seconds()
	}
	s.sampled = u.CPU
	return u.RSS, cores
}

func (s *serverProcess) cpu() cpuTimes {
	return cpuTimes{server: s.usage(s.server).CPU, self: s.usage(s.self).CPU}
}

func (s *serverProcess) begin() { s.began = s.cpu() }

// end closes a window. A process that ended in it used nothing we know of.
func (s *serverProcess) end() {
	now := s.cpu()
	s.window = cpuTimes{server: max(now.server-s.began.server, 0), self: max(now.self-s.began.self, 0)}
	s.total.server += s.window.server
	s.total.self += s.window.self
}

// memory notes what is resident while so many connections are open.
func (s *serverProcess) memory(connections int, r *result.Result) {
	r.Client.Memory = s.usage(s.self).RSS
	rss := s.usage(s.server).RSS
	if connections > 0 && rss > 0 && r.Plan.Scenario != result.Churn { // whose number open is chance
		s.use.After = rss
		s.use.PerConnection = float64(rss-s.use.Before) / float64(connections)
	}
}

// report puts into the result what was used, once its counts stand.
func (s *serverProcess) report(r *result.Result) {
	if r.Seconds == 0 {
		return
	}
	r.Client.Cores = s.total.self.Seconds() / r.Seconds
	if s.server == nil {
		return
	}
	s.use.Cores = s.total.server.Seconds() / r.Seconds
	if r.Count > 0 {
		s.use.CPU = s.total.server.Seconds() * 1e6 / float64(r.Count)
	}
	r.Server = &s.use
}

// bottleneck says why the client bounded the figures, if it did.
func bottleneck(r *result.Result) string {
	if late := r.Client.Late; late.Count() > 0 {
		if !sentLate(late, r.Latency) {
			return ""
		}
		p99, whole := late.Quantile(0.99), r.Latency.Quantile(0.99)
		return fmt.Sprintf("the client sent late (p99 %.2f ms, of %.2f ms in all): give it more cores or processes, or a lower rate",
			p99/1e3, whole/1e3)
	}
	usable := max(min(r.Client.Available, max(r.Plan.Loops, r.Plan.Processes)), 1)
	if r.Client.Cores < 0.95*float64(usable) || r.Server != nil && saturated(r.Server.Cores) {
		return ""
	}
	return fmt.Sprintf("the client used %.2f of the %d cores its loops can use, and the server had time left: give it more cores, loops or processes",
		r.Client.Cores, usable)
}

// sentLate tells whether it is the client that made an open loop's latencies what
// they are: it missed the times itself, by a part of them that counts.
func sentLate(late, latency *result.Latency) bool {
	p99 := late.Quantile(0.99)
	return p99 >= 100 && p99 >= latency.Quantile(0.99)/4 // us
}

// saturated tells whether a process looks bounded by its cores: it keeps nearly
// a whole number of them busy.
func saturated(cores float64) bool {
	whole := math.Round(cores)
	return whole >= 1 && math.Abs(cores-whole) <= 0.07
}
