package load

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/bench/result"
)

const (
	// sampleEvery is the length of a sample: a stall of a second is to be seen.
	sampleEvery = 100 * time.Millisecond
	// maxSamples bounds a run's samples: beyond it they are joined in pairs.
	maxSamples = 1200
	// toldEvery is how often Watch.Sample is called, in seconds; the last sample may end
	// a little early.
	toldEvery = 0.95
)

// sampler takes samples.
type sampler struct {
	ctx    context.Context // of the samples
	cancel context.CancelFunc
	done   sync.WaitGroup

	// taking holds something while a sample is taken, and guards what follows. It is no
	// mutex: who waits for it waits for loops, and the clock of tests is to go on.
	taking   chan struct{}
	until    time.Duration // where the last sample ended
	measured bool          // what comes now lies in the measured window
	samples  []result.Sample
	each     int // samples that are joined to one
	parts    int // of the last one, so far

	second result.Sample // what Watch.Sample was not told yet
	times  tally         // of it
}

func (r *run) startSampling(ctx context.Context) {
	s := &r.sampler
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.taking, s.each = make(chan struct{}, 1), 1
	r.started = r.engine.Now()
	s.until = r.started
	r.server.sample(r.engine.Now) // later ones are held against it
	s.done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-tick.C:
			}
			s.taking <- struct{}{}
			if r.engine.Now()-s.until > sampleEvery/2 { // else a window has just begun or ended
				r.sample()
			}
			<-s.taking
		}
	})
}

func (r *run) stopSampling() {
	r.sampler.cancel()
	r.sampler.done.Wait()
}

// setMeasured says that a measured window begins or ends now, and so does a sample.
func (r *run) setMeasured(on bool) {
	s := &r.sampler
	if s.ctx == nil {
		return // a child's parent takes samples
	}
	s.taking <- struct{}{}
	defer func() { <-s.taking }()
	if r.engine.Now() > s.until {
		r.sample()
	}
	s.measured = on
}

// sample takes one. It ends when all loops have told what they did: to wait for one
// that is busy may take a while.
func (r *run) sample() {
	s := &r.sampler
	one := result.Sample{At: (s.until - r.started).Seconds(), Measured: s.measured}
	var times tally
	is := r.gather(&one, &times)
	r.children.gather(s.ctx, &one, &times, &is)
	if s.ctx.Err() != nil {
		return // it may not be whole
	}
	now := r.engine.Now()
	one.Seconds = (now - s.until).Seconds()
	times.describe(&one)
	one.RSS, one.ServerCores = r.server.sample(r.engine.Now)
	r.look(now, &one, is)
	s.until = now
	s.keep(one)
	r.tell(one, &times)
}

// gather adds what the loops did since the last time, and gives what they did so far.
func (r *run) gather(s *result.Sample, times *tally) (is seen) {
	for _, l := range r.loops {
		l.do(func() {
			s.Connections += l.meter.open
			s.Count += l.meter.intervalCount
			times.add(&l.meter.interval)
			l.meter.intervalCount, l.meter.interval = 0, tally{}
			is.add(seen{l.meter.opened, l.meter.failed, l.connects.opening, l.meter.strange, l.meter.sent, l.meter.life})
		})
	}
	return is
}

// keep adds a sample, or joins it to the last one in a long run.
func (s *sampler) keep(one result.Sample) {
	if s.parts > 0 && s.parts < s.each {
		last := &s.samples[len(s.samples)-1]
		*last = last.Join(one)
		s.parts++
		return
	}
	if len(s.samples) == maxSamples {
		for i := range maxSamples / 2 {
			s.samples[i] = s.samples[2*i].Join(s.samples[2*i+1])
		}
		s.samples, s.each = s.samples[:maxSamples/2], 2*s.each
	}
	s.samples, s.parts = append(s.samples, one), 1
}

// tell tells the watch, once a second, of what was since.
func (r *run) tell(one result.Sample, times *tally) {
	s := &r.sampler
	if r.watch.Sample == nil {
		return
	}
	if s.second.Seconds > 0 {
		one = s.second.Join(one)
	}
	s.second = one
	s.times.add(times)
	if one.Seconds < toldEvery {
		return
	}
	s.times.describe(&one)
	s.second, s.times = result.Sample{}, tally{}
	r.watching.Lock()
	defer r.watching.Unlock()
	r.watch.Sample(one)
}
