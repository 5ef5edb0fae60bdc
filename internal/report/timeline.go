package report

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/millrace/millrace/bench/result"
)

// interval is a sample as it is drawn: what is not known is NaN.
type interval struct {
	from, to float64 // seconds since the run began
	measured bool
	count    float64 // units done in it
	open     float64 // connections at its end
	p50      float64 // microseconds, as p99 and max
	p99      float64
	max      float64
	rss      float64 // bytes
	cores    float64
	cells    []cell // its latencies
}

// cell is how many latencies lay between two bounds, in microseconds.
type cell struct{ low, high, count float64 }

// maxIntervals is how many a chart can show.
const maxIntervals = 600

// longest is a bound for times that a file may claim, in seconds: a century.
const longest = 100 * 365 * 86400

// timeline is a run over time: what was sampled, and what happened.
type timeline struct {
	intervals []interval
	end       float64 // of the plan, or of the run if that is later
	bands     []band
	stories   []string // what happened, in words
}

// newTimeline reads a result's samples. They may be from a file that somebody has
// changed: samples out of place are left out.
func newTimeline(r *result.Result) *timeline {
	t := &timeline{}
	for _, one := range intervals(r) {
		last := 0.0
		if n := len(t.intervals); n > 0 {
			last = t.intervals[n-1].to
		}
		if one.from >= last-1e-6 && one.to > one.from && one.to < longest {
			t.intervals = append(t.intervals, one)
		}
	}
	if len(t.intervals) == 0 {
		return t
	}
	t.end = t.intervals[len(t.intervals)-1].to
	t.stalls(r)
	t.phases(r)
	slices.SortStableFunc(t.bands, func(a, b band) int { return cmp.Compare(a.from, b.from) })
	t.intervals = merged(t.intervals, maxIntervals)
	return t
}

// known is a value that can be drawn, or NaN.
func known(value float64, is bool) float64 {
	if !is || value < 0 || value > math.MaxFloat64/4 || math.IsNaN(value) {
		return math.NaN()
	}
	return value
}

// merged puts neighbours together until there are at most so many, so that the page of
// a day stays small. The worst of their values stand for all.
func merged(all []interval, most int) []interval {
	each := (len(all) + most - 1) / most
	if each <= 1 {
		return all
	}
	var few []interval
	for group := range slices.Chunk(all, each) {
		one := group[0]
		one.cells = slices.Clone(one.cells)
		for _, next := range group[1:] {
			one.to, one.open = next.to, next.open
			one.count += next.count
			one.measured = one.measured || next.measured
			one.p50, one.p99, one.max = larger(one.p50, next.p50), larger(one.p99, next.p99), larger(one.max, next.max)
			one.rss, one.cores = larger(one.rss, next.rss), larger(one.cores, next.cores)
			one.cells = added(one.cells, next.cells)
		}
		few = append(few, one)
	}
	return few
}

// larger is the greater of two values, of which either may be NaN.
func larger(a, b float64) float64 {
	if math.IsNaN(a) || b > a {
		return b
	}
	return a
}

// added puts two sorted lists of cells together.
func added(a, b []cell) []cell {
	var all []cell
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].low < b[0].low:
			all, a = append(all, a[0]), a[1:]
		case a[0].low > b[0].low:
			all, b = append(all, b[0]), b[1:]
		default:
			a[0].count += b[0].count
			all, a, b = append(all, a[0]), a[1:], b[1:]
		}
	}
	return append(append(all, a...), b...)
}

func (i *interval) seconds() float64 { return i.to - i.from }

// hasWindow tells whether a scenario measures for Plan.Duration, and so has a
// planned end.
func hasWindow(scenario string) bool {
	switch scenario {
	case result.Echo, result.Rate, result.Churn, result.Slow, result.Broadcast, result.Receive:
		return true
	}
	return false
}

// phases shades what was not measured, and what the plan had more than the run.
func (t *timeline) phases(r *result.Result) {
	first := slices.IndexFunc(t.intervals, func(i interval) bool { return i.measured })
	if first < 0 {
		t.neverMeasured(r)
		return
	}
	begin, done := t.intervals[first].from, t.intervals[first].to
	warm := max(begin-max(r.Plan.Warmup.Seconds(), 0), 0)
	t.shade("quiet", "connecting", 0, warm)
	t.shade("quiet", "warm-up", warm, begin)
	for _, i := range t.intervals[first:] {
		if i.measured {
			t.shade("quiet", "", done, i.from)
			done = i.to
		}
	}
	planned := begin + r.Plan.Duration.Seconds()
	if short := planned - done; hasWindow(r.Plan.Scenario) && planned < longest && short > 0.02*r.Plan.Duration.Seconds()+0.15 {
		t.end = max(t.end, planned)
		t.shade("ended", "ended early", done, t.end)
		t.ended(r, "The run ended after "+seconds(done-begin)+" of the "+span(r.Plan.Duration)+" that were to be measured")
		return
	}
	t.shade("quiet", "after", done, t.end)
}

// neverMeasured is a run that ended before its measured window.
func (t *timeline) neverMeasured(r *result.Result) {
	reached := t.end
	t.shade("quiet", "not measured", 0, reached)
	if planned := reached + r.Plan.Duration.Seconds(); hasWindow(r.Plan.Scenario) && planned > reached && planned < longest {
		t.end = planned
		t.shade("ended", "ended early", reached, planned)
		t.ended(r, "The run ended after "+seconds(reached)+", before anything was measured")
	}
}

func (t *timeline) shade(class, label string, from, to float64) {
	if to-from > 1e-6 {
		t.bands = append(t.bands, band{from: from, to: to, class: class, label: label})
	}
}

// ended tells of an early end, and why if the result knows.
func (t *timeline) ended(r *result.Result, story string) {
	if r.EndedEarly != "" {
		story += ": " + clean(r.EndedEarly)
	}
	t.tell(story + ".")
}

func (t *timeline) tell(story string) { t.stories = append(t.stories, story) }

// seconds is a time for a person to read.
func seconds(s float64) string { return Format(s*1e6, "us") }

// leastMissed is how many completions must be missing for a stall: fewer may be
// lacking by chance, or by the plan.
const leastMissed = 10

// leastStall is the shortest that is told, in seconds: less is the rest of a sample that
// a window's begin or end has cut.
const leastStall = 0.05

// maxStories is how many stalls are told one by one.
const maxStories = 6

// stalls finds where nothing came back while there was load, and where no connection
// was left.
func (t *timeline) stalls(r *result.Result) {
	from, to := t.loaded()
	if to-from < 2 || r.Plan.Scenario == result.Idle || r.Plan.Scenario == result.Wave || r.Plan.Scenario == result.Storm {
		return
	}
	usual := t.usual(from, to)
	ramp := r.Plan.RampLimit > 0 // nothing is sent while connections are added
	var found []band
	for i := from; i < to; i++ {
		first := i
		gone := t.intervals[i].open == 0
		for i < to && t.intervals[i].count == 0 && (t.intervals[i].open == 0) == gone && (t.intervals[i].measured || !ramp) {
			i++
		}
		if i == first {
			continue
		}
		b := band{from: t.intervals[first].from, to: t.intervals[i-1].to, class: "stall", label: "stall"}
		if gone {
			b.class, b.label = "ended", "no connection"
		}
		if usual*(b.to-b.from) >= leastMissed && b.to-b.from >= leastStall {
			found = append(found, b)
		}
		i-- // the next one may be of the other kind
	}
	for n, b := range found {
		if n == maxStories {
			t.tell("And " + plural(len(found)-n, "more stall") + ".")
			break
		}
		what := "Nothing came back"
		if b.class == "ended" {
			what = "No connection was left"
		}
		t.tell(what + " for " + seconds(b.to-b.from) + ", from " + seconds(b.from) + " on.")
	}
	t.bands = append(t.bands, found...)
}

// loaded is the part of the intervals in which completions were due: from the first
// one that has some to the last one that has some or is measured.
func (t *timeline) loaded() (from, to int) {
	from = slices.IndexFunc(t.intervals, func(i interval) bool { return i.count > 0 || i.measured })
	if from < 0 {
		return 0, 0
	}
	for to = len(t.intervals); to > from; to-- {
		if i := t.intervals[to-1]; i.count > 0 || i.measured {
			break
		}
	}
	return from, to
}

// usual is how many completions there were a second.
func (t *timeline) usual(from, to int) float64 {
	count, time := 0.0, 0.0
	for _, i := range t.intervals[from:to] {
		count, time = count+i.count, time+i.seconds()
	}
	return count / time
}

// intervals reads samples as they are.
func intervals(r *result.Result) []interval {
	var all []interval
	for _, s := range r.Samples {
		some := s.Count > 0 && s.Max > 0
		all = append(all, interval{
			from: s.At, to: s.At + s.Seconds, measured: s.Measured,
			count: max(float64(s.Count), 0), open: float64(max(s.Connections, 0)),
			p50: known(s.P50, some), p99: known(s.P99, some), max: known(s.Max, some),
			rss: known(float64(s.RSS), s.RSS > 0), cores: known(s.ServerCores, r.Server != nil), cells: cells(s.Heat),
		})
	}
	return all
}

// cells reads a sample's buckets, sorted.
func cells(heat map[int]int64) []cell {
	var all []cell
	for _, bucket := range slices.Sorted(maps.Keys(heat)) {
		if count := heat[bucket]; count > 0 && bucket >= 0 && bucket < result.HeatBuckets {
			all = append(all, cell{result.HeatFrom(bucket), result.HeatFrom(bucket + 1), float64(count)})
		}
	}
	return all
}
