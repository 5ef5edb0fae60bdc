package report

import (
	"cmp"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/go-analyze/charts/chartdraw"

	"github.com/millrace/millrace/bench/result"
)

// picture is a chart with its words.
type picture struct {
	Title string
	Note  string // what the axes are, and what is shaded
	Keys  []key
	SVG   template.HTML
}

// key explains a line.
type key struct{ Class, Name string }

// pictures draws all charts that a result has data for.
func pictures(r *result.Result) ([]picture, error) {
	thinned := *r
	thinned.Samples = thin(r.Samples)
	var all []picture
	for _, draw := range []func(*result.Result) (*picture, *lineChart){
		byPercentile, sweptRate, sweptLatency, rateOverTime, latencyOverTime, connectionsOverTime,
		memoryOverTime, coresOverTime,
	} {
		p, chart := draw(&thinned)
		if p == nil {
			continue
		}
		chart.about = p.Title
		var err error
		if p.SVG, err = chart.svg(); err != nil {
			return nil, err
		}
		all = append(all, *p)
	}
	return all, nil
}

// byPercentile shows the tails: equally far apart, 90 %, 99 %, 99.9 % and so on.
func byPercentile(r *result.Result) (*picture, *lineChart) {
	p := &picture{Title: "Latency by percentile", Note: "log scale"}
	chart := &lineChart{}
	classes := []string{"blue", "amber", "gray"}
	least, most, last := math.Inf(1), 0.0, 0.0
	for _, d := range distributions(r) {
		if d.Latency == r.Client.Late {
			continue // it is part of the others
		}
		l := line{class: classes[len(chart.lines)]}
		// The longest one alone lies beyond the half of its share.
		end := nines(1 - 0.5/float64(d.Count()))
		for i := range 201 {
			x := nines(0.5) + (end-nines(0.5))*float64(i)/200
			l.xs = append(l.xs, x)
			l.ys = append(l.ys, d.Quantile(1-math.Pow(10, -x)))
		}
		last, most = max(last, end), max(most, slices.Max(l.ys))
		least = min(least, slices.Min(l.ys))
		chart.lines = append(chart.lines, l)
		p.Keys = append(p.Keys, key{l.class, d.Name})
	}
	if len(chart.lines) == 0 {
		return nil, nil
	}
	chart.x, chart.y = ninesAxis(last), logAxis(shortest(least), shortest(most), "us")
	logarithms(chart.lines)
	return p, chart
}

// shortest bounds a time for a logarithmic axis, where 0 has no place.
func shortest(us float64) float64 { return max(us, 1e-3) }

// logarithms prepares lines for a logarithmic axis: a value of 0 becomes the axis's end.
func logarithms(lines []line) {
	for _, l := range lines {
		for i, y := range l.ys {
			l.ys[i] = math.Log10(shortest(y)) // keeps NaN
		}
	}
}

// sweptRate shows how much of the offered rate a server kept up with.
func sweptRate(r *result.Result) (*picture, *lineChart) {
	offered, done := swept(r, func(s result.Step) float64 { return s.PerSecond })
	if len(offered) == 0 {
		return nil, nil
	}
	end := slices.Max(offered)
	lines := []line{
		{class: "gray", xs: []float64{0, end}, ys: []float64{0, end}},
		{class: "blue", xs: offered, ys: done, dots: true},
	}
	return &picture{
			Title: "Throughput by offered rate", Note: plain(r) + " a second",
			Keys: []key{{"blue", "done"}, {"gray", "offered"}},
		}, &lineChart{
			x: offeredAxis(offered), y: linearAxis(0, most(lines...), 5, ""), lines: lines,
		}
}

// sweptLatency shows where waiting begins.
func sweptLatency(r *result.Result) (*picture, *lineChart) {
	var lines []line
	least, most := math.Inf(1), 0.0
	for _, q := range []struct {
		class string
		share float64
	}{{"blue", 0.5}, {"amber", 0.99}} {
		l := line{class: q.class, dots: true}
		l.xs, l.ys = swept(r, func(s result.Step) float64 {
			if s.Latency.Count() == 0 {
				return math.NaN()
			}
			us := s.Latency.Quantile(q.share)
			least, most = min(least, us), max(most, us)
			return us
		})
		lines = append(lines, l)
	}
	if most == 0 {
		return nil, nil
	}
	offered := lines[0].xs
	logarithms(lines)
	return &picture{
			Title: "Latency by offered rate", Note: "log scale, over " + plain(r) + " a second",
			Keys: []key{{"blue", "p50"}, {"amber", "p99"}},
		}, &lineChart{
			x: offeredAxis(offered), y: logAxis(shortest(least), shortest(most), "us"), lines: lines,
		}
}

// swept gives a figure of a sweep's steps by the rate offered.
func swept(r *result.Result, figure func(result.Step) float64) (offered, values []float64) {
	steps := slices.Clone(r.Steps)
	slices.SortStableFunc(steps, func(a, b result.Step) int { return cmp.Compare(a.Offered, b.Offered) })
	for _, s := range steps {
		if r.Plan.Scenario == result.Sweep && s.Offered > 0 {
			offered, values = append(offered, s.Offered), append(values, figure(s))
		}
	}
	return offered, values
}

// offeredAxis ends at the highest rate, labelled or not.
func offeredAxis(offered []float64) *axis {
	a := linearAxis(0, slices.Max(offered), 5, "")
	a.Max = slices.Max(offered)
	a.ticks = slices.DeleteFunc(a.ticks, func(t chartdraw.Tick) bool { return t.Value > a.Max })
	return a
}

// plain is the plural of a result's unit.
func plain(r *result.Result) string { return unit(r) + "s" }

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
