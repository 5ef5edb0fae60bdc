package load

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// sampler takes a sample a second.
type sampler struct {
	cancel   context.CancelFunc
	done     sync.WaitGroup
	samples  []result.Sample
	interval *result.Latency

	mu       sync.Mutex
	measured bool
}

// maxSamples bounds a run's samples: beyond it, the older ones are halved in
// number.
const maxSamples = 7200

func (s *sampler) setMeasured(on bool) {
	s.mu.Lock()
	s.measured = on
	s.mu.Unlock()
}

func (r *run) startSampling(ctx context.Context) {
	ctx, r.sampler.cancel = context.WithCancel(ctx)
	r.sampler.interval = result.NewLatency()
	r.started = r.engine.Now()
	r.sampler.done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		last := r.started
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := r.engine.Now()
			r.sample(ctx, now, now-last)
			last = now
		}
	})
}

func (r *run) stopSampling() {
	r.sampler.cancel()
	r.sampler.done.Wait()
}

// sample takes one.
func (r *run) sample(ctx context.Context, now, since time.Duration) {
	s := result.Sample{At: (now - r.started).Seconds()}
	interval := r.sampler.interval
	interval.Histogram.Reset()
	r.gather(&s, interval)
	r.children.gather(ctx, &s, interval)
	if ctx.Err() != nil {
		return // it may not be whole
	}
	s.P50, s.P99, s.Max = interval.Quantile(0.5), interval.Quantile(0.99), interval.Quantile(1)
	s.RSS, s.ServerCores = r.server.sample(since)
	r.sampler.mu.Lock()
	s.Measured = r.sampler.measured
	r.sampler.mu.Unlock()
	if len(r.sampler.samples) >= maxSamples {
		r.sampler.thin()
	}
	r.sampler.samples = append(r.sampler.samples, s)
	if r.watch.Sample != nil {
		r.watching.Lock()
		defer r.watching.Unlock()
		r.watch.Sample(s)
	}
}

// gather adds what the loops did since the last time.
func (r *run) gather(s *result.Sample, interval *result.Latency) {
	for _, l := range r.loops {
		l.do(func() {
			s.Connections += l.meter.open
			s.Count += l.meter.intervalCount
			interval.Merge(l.meter.interval)
			l.meter.intervalCount = 0
			l.meter.interval.Histogram.Reset()
		})
	}
}

// thin drops every other sample.
func (s *sampler) thin() {
	kept := s.samples[:0]
	for i := 1; i < len(s.samples); i += 2 {
		kept = append(kept, s.samples[i])
	}
	s.samples = kept
}
