package report

import (
	"math"
	"slices"
	"strings"

	"github.com/millrace/millrace/bench/result"
)

// maxSamples is how many a chart can show.
const maxSamples = 600

// thin puts neighbouring samples together until there are few enough, so that the page
// of a day stays small. The worst of their times stand for all.
func thin(samples []result.Sample) []result.Sample {
	each := (len(samples) + maxSamples - 1) / maxSamples
	if each <= 1 {
		return samples
	}
	var few []result.Sample
	for group := range slices.Chunk(samples, each) {
		one := group[0]
		for _, s := range group[1:] {
			one = one.Join(s)
		}
		few = append(few, one)
	}
	return few
}

// overTime is a chart over the seconds of a run, and its words; nil if the run was too
// short for a line.
func overTime(r *result.Result, title string, notes ...string) (*picture, *lineChart) {
	n := len(r.Samples)
	if n < 2 || endOf(r.Samples[n-1]) <= 0 {
		return nil, nil
	}
	c := &lineChart{x: timeAxis(endOf(r.Samples[n-1]))}
	for _, s := range r.Samples {
		if s.Measured && c.to == 0 {
			c.from = s.At
		}
		if s.Measured {
			c.to = endOf(s)
		}
	}
	if c.from > 0 || c.to > 0 && c.to < endOf(r.Samples[n-1]) {
		notes = append(notes, "measured part shaded")
	} else {
		c.to = c.from // all of it is
	}
	return &picture{Title: title, Note: strings.Join(notes, ", ")}, c
}

// endOf is when a sample ended.
func endOf(s result.Sample) float64 { return s.At + s.Seconds }

// sampled makes a line of one value of each sample, in the middle of it.
func sampled(r *result.Result, class string, value func(s result.Sample) float64) line {
	l := line{class: class}
	for _, s := range r.Samples {
		l.xs, l.ys = append(l.xs, s.At+s.Seconds/2), append(l.ys, value(s))
	}
	return l
}

// most is the highest value of lines, at least 0; gaps do not count.
func most(lines ...line) float64 {
	top := 0.0
	for _, l := range lines {
		for _, y := range l.ys {
			if y > top && !math.IsInf(y, 0) { // not so for NaN
				top = y
			}
		}
	}
	return top
}

func rateOverTime(r *result.Result) (*picture, *lineChart) {
	p, c := overTime(r, capital(plain(r))+" a second")
	if p == nil || !hasRate(r) {
		return nil, nil
	}
	c.lines = []line{sampled(r, "blue", func(s result.Sample) float64 {
		if s.Seconds <= 0 {
			return math.NaN()
		}
		return float64(s.Count) / s.Seconds
	})}
	c.y = linearAxis(0, most(c.lines...), 5, "")
	return p, c
}

func latencyOverTime(r *result.Result) (*picture, *lineChart) {
	p, c := overTime(r, "Latency", "log scale")
	if p == nil {
		return nil, nil
	}
	// A second in which nothing came back has no latency.
	of := func(value func(result.Sample) float64) func(result.Sample) float64 {
		return func(s result.Sample) float64 {
			if s.Count == 0 || !(s.Max > 0) {
				return math.NaN()
			}
			return value(s)
		}
	}
	c.lines = []line{
		sampled(r, "red", of(func(s result.Sample) float64 { return s.Max })),
		sampled(r, "amber", of(func(s result.Sample) float64 { return s.P99 })),
		sampled(r, "blue", of(func(s result.Sample) float64 { return s.P50 })),
	}
	p.Keys = []key{{"blue", "p50"}, {"amber", "p99"}, {"red", "max"}}
	top := most(c.lines...)
	if top == 0 {
		return nil, nil
	}
	least := top
	for _, us := range c.lines[2].ys {
		if us < least {
			least = us
		}
	}
	c.y = logAxis(shortest(least), shortest(top), "us")
	logarithms(c.lines)
	return p, c
}

func connectionsOverTime(r *result.Result) (*picture, *lineChart) {
	p, c := overTime(r, "Connections open")
	if p == nil {
		return nil, nil
	}
	c.lines = []line{sampled(r, "blue", func(s result.Sample) float64 { return float64(s.Connections) })}
	c.y = linearAxis(0, most(c.lines...), 5, "")
	return p, c
}

func memoryOverTime(r *result.Result) (*picture, *lineChart) {
	p, c := overTime(r, "Server memory", "resident")
	if p == nil {
		return nil, nil
	}
	c.lines = []line{sampled(r, "blue", func(s result.Sample) float64 {
		if s.RSS <= 0 {
			return math.NaN()
		}
		return float64(s.RSS)
	})}
	top := most(c.lines...)
	if top == 0 {
		return nil, nil
	}
	c.y = linearAxis(0, top, 5, "B")
	return p, c
}

func coresOverTime(r *result.Result) (*picture, *lineChart) {
	p, c := overTime(r, "Server cores busy")
	if p == nil || r.Server == nil {
		return nil, nil
	}
	c.lines = []line{sampled(r, "blue", func(s result.Sample) float64 { return s.ServerCores })}
	c.y = linearAxis(0, most(c.lines...), 5, "")
	return p, c
}
