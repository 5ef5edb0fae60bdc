package load

import (
	"time"

	"github.com/millrace/millrace/bench/result"
)

// step is one part of a run of several, with all that belongs to its window.
type step struct {
	result.Step
	count, bytes int64
	cpu          cpuTimes
	service      *result.Latency
	late         *result.Latency
	wire         result.Wire
	waiting      time.Duration   // as in meter
	skew         *result.Latency // of a broadcast
	published    int64
	publishedFor float64 // seconds
	clients      int     // that were there when its window ended
	missing      int     // messages that did not get to one of them
}

// takeStep gives what was counted and measured in the last window, alone, and
// adds it to the result.
func (r *run) takeStep(name string, offered float64) *step {
	s := &step{
		Step: result.Step{Name: name, Offered: offered, Seconds: r.window, Latency: result.NewLatency()},
		cpu:  r.server.window, service: result.NewLatency(), late: result.NewLatency(),
	}
	for _, l := range r.loops {
		l.do(func() {
			m := &l.meter
			s.count, s.bytes = s.count+m.count, s.bytes+m.bytes
			s.Latency.Merge(m.latency)
			s.service.Merge(m.service)
			s.late.Merge(m.late)
			s.published += m.Published
			s.wire.Add(m.Wire)
			s.waiting = max(s.waiting, m.waiting)
			m.count, m.bytes, m.Published, m.from = 0, 0, 0, never // what still comes belongs to no step
			m.Wire, m.waiting = result.Wire{}, 0
			m.late.Histogram.Reset()
			m.latency.Histogram.Reset()
			m.service.Histogram.Reset()
		})
	}
	s.addOthers(r)
	s.PerSecond = result.Unknown()
	if s.Seconds > 0 {
		s.PerSecond = float64(s.count) / s.Seconds
	}
	out := r.result
	out.Count, out.Bytes = out.Count+s.count, out.Bytes+s.bytes
	out.Latency.Merge(s.Latency)
	if out.Wire == nil {
		out.Wire = s.wired()
	} else {
		out.Wire.Add(s.wire)
	}
	r.waiting = max(r.waiting, s.waiting)
	out.Steps = append(out.Steps, s.Step)
	return s
}

// wired is what compression made of the step's messages; nil: nothing is compressed.
func (s *step) wired() *result.Wire {
	if s.wire == (result.Wire{}) {
		return nil
	}
	wire := s.wire
	return &wire
}

// only makes one step's figures the result's.
func (r *run) only(s *step) {
	out := r.result
	out.Seconds, out.Count, out.Bytes, out.PerSecond = s.Seconds, s.count, s.bytes, s.PerSecond
	out.Latency, out.Service, out.Client.Late = result.NewLatency(), s.service, s.late
	out.Latency.Merge(s.Latency)
	out.Wire, r.waiting = s.wired(), s.waiting
	if p := r.publication; p != nil {
		p.only(s)
	}
	r.server.total = s.cpu
}
