package report

import (
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/bench/result"
)

// picture is a chart with its words.
type picture struct {
	Title string
	Note  string // what the axes are
	Keys  []key
	Wide  bool // it goes over the whole width
	// SVG is for broad screens and paper, Narrow for phones.
	SVG, Narrow template.HTML
}

// key explains a line, or a mark or a color.
type key struct{ Class, Name, Kind string }

// kinds of keys; "" is a line.
const (
	mark = "mark"
	box  = "box"
)

// drawing draws a chart at a size; nil if the result has no data for it.
type drawing func(*result.Result, *timeline, size) (*picture, *lineChart)

// pictures draws all charts that a result has data for.
func pictures(r *result.Result, t *timeline) ([]picture, error) {
	drawings := []drawing{sweptRate, sweptLatency, byPercentile}
	if len(t.intervals) > 1 {
		drawings = append(drawings, rateOverTime, latencyOverTime, connectionsOverTime, coresOverTime, memoryOverTime)
	}
	var all []picture
	if p, err := pair(heatOverTime, r, t, full); err != nil || p != nil {
		if err != nil {
			return nil, err
		}
		all = append(all, *p)
	}
	for _, d := range drawings {
		p, err := pair(d, r, t, half)
		if err != nil {
			return nil, err
		}
		if p != nil {
			all = append(all, *p)
		}
	}
	return all, nil
}

// pair draws a chart for a broad screen and for a phone.
func pair(d drawing, r *result.Result, t *timeline, broad size) (*picture, error) {
	var p *picture
	var drawn [2]template.HTML
	for i, s := range []size{broad, narrow} {
		var chart *lineChart
		if p, chart = d(r, t, s); p == nil {
			return nil, nil
		}
		chart.size, chart.about = s, about{p.Title, chart.words(p, t)}
		var err error
		if drawn[i], err = chart.svg(); err != nil {
			return nil, err
		}
	}
	p.SVG, p.Narrow, p.Wide = drawn[0], drawn[1], broad == full
	return p, nil
}

// byPercentile shows the tails: equally far apart, 90 %, 99 %, 99.9 % and so on.
func byPercentile(r *result.Result, _ *timeline, s size) (*picture, *lineChart) {
	p := &picture{Title: "Latency by percentile", Note: "log scale"}
	chart := &lineChart{}
	least, most, last := math.Inf(1), 0.0, 0.0
	for _, d := range distributions(r) {
		if d.Latency == r.Client.Late {
			continue // it is part of the others
		}
		l := line{class: d.Class}
		// The longest one alone lies beyond the half of its share.
		end := min(math.Log10(2*float64(d.Count())), mostNines)
		for i := range 201 {
			x := nines(0.5) + (end-nines(0.5))*float64(i)/200
			l.xs = append(l.xs, x)
			l.ys = append(l.ys, d.Quantile(1-math.Pow(10, -x)))
		}
		last, most = max(last, end), max(most, slices.Max(l.ys))
		least = min(least, slices.Min(l.ys))
		chart.lines = append(chart.lines, l)
		p.Keys = append(p.Keys, key{l.class, d.Name, ""})
	}
	if len(chart.lines) == 0 {
		return nil, nil
	}
	chart.x = ninesAxis(last, s.labels*3/4)
	chart.logarithmic(least, most)
	return p, chart
}

// shortest bounds a time for a logarithmic axis, where 0 has no place.
func shortest(us float64) float64 { return max(us, 1e-3) }

// logarithmic gives the chart a logarithmic y axis of times, and prepares its lines for
// it: a value of 0 becomes the axis's end.
func (c *lineChart) logarithmic(least, most float64) {
	c.y, c.unit, c.log = logAxis(shortest(least), shortest(most), "us"), "us", true
	for _, l := range c.lines {
		for i, y := range l.ys {
			l.ys[i] = math.Log10(shortest(y)) // keeps NaN
		}
	}
}

// words tell what a chart shows: the lowest and the highest value of each line, and what
// happened.
func (c *lineChart) words(p *picture, t *timeline) string {
	var parts []string
	for _, l := range c.lines {
		name := p.Title
		if i := slices.IndexFunc(p.Keys, func(k key) bool { return k.Class == l.class }); i >= 0 {
			name = p.Keys[i].Name
		}
		least, most := bounds(l.ys)
		if c.log {
			least, most = math.Pow(10, least), math.Pow(10, most)
		}
		if least <= most {
			parts = append(parts, name+": "+Format(least, c.unit)+" to "+Format(most, c.unit)+".")
		}
	}
	if c.overTime {
		parts = append(parts, t.stories...)
	}
	return strings.Join(parts, " ")
}

// bounds are the lowest and the highest of values; gaps do not count.
func bounds(values []float64) (least, most float64) {
	least, most = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			least, most = min(least, v), max(most, v)
		}
	}
	return least, most
}

// plain is the plural of a result's unit.
func plain(r *result.Result) string { return several(unit(r)) }

func capital(text string) string {
	_, first := utf8.DecodeRuneInString(text)
	return strings.ToUpper(text[:first]) + text[first:]
}
