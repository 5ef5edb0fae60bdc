package load

import (
	"errors"
	"fmt"
	"math"
	"os"
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
	ended        bool             // the server's was seen to be gone
	use          result.ServerUse
	read         func(*process.Process) (process.Usage, error) // the host's

	sampled struct { // at the last sample
		process.Usage
		at time.Duration
		ok bool
	}

	began   cpuTimes // at the window's begin
	window  cpuTimes // in the last window
	total   cpuTimes // in all of them
	counted bool     // there was one
}

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
		if found == os.Getpid() {
			r.note("the server is in this process, so its CPU time and memory can not be told from the load's own")
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
	before, _ := s.usage(p)
	s.use = result.ServerUse{PID: pid, Name: p.Name(), Before: before.RSS, PerConnection: result.Unknown()}
}

// usage is what one of the two has used so far. It is not ok once the process has
// ended, or if it is not known.
func (s *serverProcess) usage(p *process.Process) (u process.Usage, ok bool) {
	if p == nil {
		return u, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.read(p)
	if p == s.server && errors.Is(err, process.ErrEnded) {
		s.ended = true
	}
	return u, err == nil
}

// hasEnded tells whether the server's process was seen to be gone.
func (s *serverProcess) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// sample is what the server has resident, and how many cores it kept busy since the
// last one; 0 and NaN where that is not known.
func (s *serverProcess) sample(clock func() time.Duration) (rss int64, cores float64) {
	cores = result.Unknown()
	u, ok := s.usage(s.server)
	at := clock() // at once: the CPU time is of now
	if since := at - s.sampled.at; ok && since > 0 && s.sampled.ok {
		cores = (u.CPU - s.sampled.CPU).Seconds() / since.Seconds()
	}
	s.sampled.Usage, s.sampled.at, s.sampled.ok = u, at, ok
	return u.RSS, cores
}

// cpuTimes are CPU times of the two, those that are known.
type cpuTimes struct {
	server, self           time.Duration
	serverKnown, selfKnown bool
}

// add adds those of another window. A sum of which a part is not known is not.
func (t cpuTimes) add(other cpuTimes) cpuTimes {
	return cpuTimes{
		t.server + other.server, t.self + other.self,
		t.serverKnown && other.serverKnown, t.selfKnown && other.selfKnown,
	}
}

// until is what was used from t to another reading.
func (t cpuTimes) until(now cpuTimes) cpuTimes {
	return cpuTimes{
		now.server - t.server, now.self - t.self,
		t.serverKnown && now.serverKnown, t.selfKnown && now.selfKnown,
	}
}

func (s *serverProcess) cpu() (t cpuTimes) {
	server, serverKnown := s.usage(s.server)
	self, selfKnown := s.usage(s.self)
	return cpuTimes{server.CPU, self.CPU, serverKnown, selfKnown}
}

func (s *serverProcess) begin() { s.began = s.cpu() }

// end closes a window. What a process that ended in it used is not known.
func (s *serverProcess) end() {
	s.window = s.began.until(s.cpu())
	if !s.counted {
		s.counted, s.total = true, s.window
		return
	}
	s.total = s.total.add(s.window)
}

// memory notes what is resident while so many connections are open.
func (s *serverProcess) memory(connections int, r *result.Result) {
	self, _ := s.usage(s.self)
	r.Client.Memory = self.RSS
	u, ok := s.usage(s.server)
	if connections == 0 || !ok || r.Plan.Scenario == result.Churn { // whose number open is chance
		return
	}
	s.use.After, s.use.PerConnection = u.RSS, result.Unknown()
	grown := u.RSS - s.use.Before
	if connections >= result.LeastForMemory && s.use.Before > 0 && grown > 0 {
		s.use.PerConnection = float64(grown) / float64(connections)
	}
}

// report puts into the result what was used, once its counts stand.
func (s *serverProcess) report(r *result.Result) {
	r.Client.Cores = result.Unknown()
	if s.total.selfKnown && r.Seconds > 0 {
		r.Client.Cores = s.total.self.Seconds() / r.Seconds
	}
	if s.server == nil {
		return
	}
	s.use.CPU, s.use.Cores = result.Unknown(), result.Unknown()
	if s.total.serverKnown && r.Seconds > 0 {
		s.use.Cores = s.total.server.Seconds() / r.Seconds
		if r.Count > 0 {
			s.use.CPU = s.total.server.Seconds() * 1e6 / float64(r.Count)
		}
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
		if !result.Known(whole) {
			return fmt.Sprintf("the client sent late (p99 %.2f ms): give it more cores or processes, or a lower rate", p99/1e3)
		}
		return fmt.Sprintf("the client sent late (p99 %.2f ms, of %.2f ms in all): give it more cores or processes, or a lower rate",
			p99/1e3, whole/1e3)
	}
	usable := max(min(r.Client.Available, max(r.Plan.Loops, r.Plan.Processes)), 1)
	if !(r.Client.Cores >= 0.95*float64(usable)) || r.Server != nil && saturated(r.Server.Cores) {
		return ""
	}
	return fmt.Sprintf("the client used %.2f of the %d cores its loops can use, and the server had time left: give it more cores, loops or processes",
		r.Client.Cores, usable)
}

// sentLate tells whether it is the client that made an open loop's latencies what
// they are: it missed the times itself, by a part of them that counts.
func sentLate(late, latency *result.Latency) bool {
	p99 := late.Quantile(0.99)
	return p99 >= 100 && !(p99 < latency.Quantile(0.99)/4) // us; it is late, too, where nothing came back
}

// saturated tells whether a process looks bounded by its cores: it keeps nearly
// a whole number of them busy.
func saturated(cores float64) bool {
	whole := math.Round(cores)
	return whole >= 1 && math.Abs(cores-whole) <= 0.07
}
