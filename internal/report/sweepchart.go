package report

import (
	"cmp"
	"math"
	"slices"

	"github.com/go-analyze/charts/chartdraw"

	"github.com/millrace/millrace/bench/result"
)

// sweptRate shows how much of the offered rate a server kept up with.
func sweptRate(r *result.Result, _ *timeline, s size) (*picture, *lineChart) {
	held, failed, disturbed := swept(r, func(s result.Step) float64 { return s.PerSecond })
	if len(held.xs)+len(failed.xs)+len(disturbed.xs) == 0 {
		return nil, nil
	}
	p, c := overRate(r, s, []line{held, failed, disturbed}, "Throughput by offered rate", plain(r)+" a second")
	end := c.x.Max
	held.class = "blue"
	c.lines = []line{{class: "due", xs: []float64{0, end}, ys: []float64{0, end}}, held, failed, disturbed}
	c.y, c.unit = linearAxis(0, most(c.lines...), 5, ""), "1/s"
	p.Keys = append([]key{{"blue", "done", ""}, {"due", "offered", ""}}, p.Keys...)
	return p, c
}

// sweptLatency shows where waiting begins.
func sweptLatency(r *result.Result, _ *timeline, s size) (*picture, *lineChart) {
	quantile := func(share float64) func(result.Step) float64 {
		return func(s result.Step) float64 {
			if s.Latency.Count() == 0 {
				return math.NaN()
			}
			return s.Latency.Quantile(share)
		}
	}
	p50, _, _ := swept(r, quantile(0.5))
	p99, failed, disturbed := swept(r, quantile(0.99))
	p50.class, p99.class = "blue", "amber"
	least, longest := bounds(slices.Concat(p50.ys, p99.ys, failed.ys, disturbed.ys))
	if longest <= 0 || least > longest {
		return nil, nil
	}
	p, c := overRate(r, s, []line{p99, failed, disturbed}, "Latency by offered rate", "log scale, over "+plain(r)+" a second")
	p.Keys = append([]key{{"blue", "p50", ""}, {"amber", "p99", ""}}, p.Keys...)
	c.lines = []line{p50, p99, failed, disturbed}
	if limit := float64(r.Plan.SweepLimit) / 1e3; limit > 0 {
		c.lines = append(c.lines, line{class: "limit", xs: []float64{0, c.x.Max}, ys: []float64{limit, limit}})
		p.Keys = append(p.Keys, key{"limit", "limit of the p99", ""})
		least, longest = min(least, limit), max(longest, limit)
	}
	c.logarithmic(least, longest)
	return p, c
}

// overRate is a chart over the rates of a sweep, with the knee shaded and the tries
// that failed named: lines are those that held, those that failed and those that were
// disturbed.
func overRate(r *result.Result, s size, lines []line, title, note string) (*picture, *lineChart) {
	p, c := &picture{Title: title, Note: note}, &lineChart{}
	end := 0.0
	for i, name := range []string{"", "failed try", "disturbed try"} {
		if len(lines[i].xs) > 0 {
			end = max(end, slices.Max(lines[i].xs))
			if name != "" {
				p.Keys = append(p.Keys, key{lines[i].class, name, mark})
			}
		}
	}
	if low, high, ok := kneeBounds(r); ok {
		end = max(end, high)
		c.bands = []band{{low, high, "knee", "knee"}}
	}
	c.x = offeredAxis(end, s.labels*2/3)
	return p, c
}

// kneeBounds is the interval in which a sweep's knee lies.
func kneeBounds(r *result.Result) (low, high float64, ok bool) {
	if r.Knee == nil || r.Knee.High == nil {
		return 0, 0, false
	}
	low, high = r.Knee.Low, *r.Knee.High
	return low, high, 0 <= low && low < high && high < math.MaxFloat64/4
}

// swept gives a figure of a sweep's tries by the rate offered: of those that held, and
// marks for those that did not and for those that tell nothing of the server.
func swept(r *result.Result, figure func(result.Step) float64) (held, failed, disturbed line) {
	held, failed, disturbed = line{dots: true}, line{class: "red", only: true}, line{class: "gray", only: true}
	steps := slices.Clone(r.Steps)
	slices.SortStableFunc(steps, func(a, b result.Step) int { return cmp.Compare(a.Offered, b.Offered) })
	for _, s := range steps {
		if r.Plan.Scenario != result.Sweep || math.IsNaN(known(s.Offered, s.Offered > 0)) {
			continue
		}
		to := &held
		switch {
		case s.Disturbed != "":
			to = &disturbed
		case s.Verdict == result.OverLimit || s.Verdict == result.Behind:
			to = &failed
		}
		to.xs, to.ys = append(to.xs, s.Offered), append(to.ys, known(figure(s), true))
	}
	return held, failed, disturbed
}

// offeredAxis ends at a rate, labelled or not.
func offeredAxis(end float64, count int) *axis {
	a := linearAxis(0, end, count, "")
	a.Max = end
	a.ticks = slices.DeleteFunc(a.ticks, func(t chartdraw.Tick) bool { return t.Value > a.Max })
	return a
}
