package report

import (
	"math"
	"slices"
	"strings"

	"github.com/millrace/millrace/bench/result"
)

// overTime is a chart over the time of a run, and its words.
func overTime(t *timeline, s size, title string, notes ...string) (*picture, *lineChart) {
	c := &lineChart{overTime: true, x: timeAxis(t.end, s.labels), bands: t.bands}
	return &picture{Title: title, Note: strings.Join(notes, ", ")}, c
}

// stepped makes a line of one value of each interval, drawn from its begin to its
// end.
func (t *timeline) stepped(class string, value func(i interval) float64) line {
	l := line{class: class}
	before := 0.0
	for n, i := range t.intervals {
		if n > 0 && i.from > before+1e-6 { // no sample of the time between
			l.xs, l.ys = append(l.xs, before), append(l.ys, math.NaN())
		}
		y := value(i)
		l.xs, l.ys = append(l.xs, i.from, i.to), append(l.ys, y, y)
		before = i.to
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

func rateOverTime(r *result.Result, t *timeline, s size) (*picture, *lineChart) {
	if !hasRate(r) {
		return nil, nil
	}
	return linear(t, s, capital(plain(r))+" a second", "", func(i interval) float64 { return i.count / i.seconds() })
}

// timed says how times over time are drawn, and of what they are if that is no latency.
func timed(r *result.Result) string {
	if r.Plan.Scenario == result.Receive {
		return "from one message of a connection to its next, log scale"
	}
	return "log scale"
}

func latencyOverTime(r *result.Result, t *timeline, s size) (*picture, *lineChart) {
	p, c := overTime(t, s, "Latency over time", timed(r))
	c.lines = []line{
		t.stepped("red", func(i interval) float64 { return i.max }),
		t.stepped("amber", func(i interval) float64 { return i.p99 }),
		t.stepped("blue", func(i interval) float64 { return i.p50 }),
	}
	p.Keys = []key{{"blue", "p50", ""}, {"amber", "p99", ""}, {"red", "max", ""}}
	top := most(c.lines...)
	if top == 0 {
		return nil, nil
	}
	least, _ := bounds(slices.Concat(c.lines[0].ys, c.lines[1].ys, c.lines[2].ys))
	c.logarithmic(min(least, top), top)
	return p, c
}

func connectionsOverTime(_ *result.Result, t *timeline, s size) (*picture, *lineChart) {
	return linear(t, s, "Connections open", "", func(i interval) float64 { return i.open })
}

func memoryOverTime(_ *result.Result, t *timeline, s size) (*picture, *lineChart) {
	return linear(t, s, "Server memory", "B", func(i interval) float64 { return i.rss }, "resident")
}

func coresOverTime(_ *result.Result, t *timeline, s size) (*picture, *lineChart) {
	return linear(t, s, "Server cores busy", "", func(i interval) float64 { return i.cores })
}

// linear is a chart of one value from 0 up; nil if it is never known.
func linear(t *timeline, s size, title, unit string, value func(interval) float64, notes ...string) (*picture, *lineChart) {
	p, c := overTime(t, s, title, notes...)
	c.lines = []line{t.stepped("blue", value)}
	if least, most := bounds(c.lines[0].ys); least > most {
		return nil, nil
	}
	c.y, c.unit = linearAxis(0, most(c.lines...), 5, unit), unit
	return p, c
}
