package report

import (
	"math"
	"strings"

	"github.com/go-analyze/charts/chartdraw"
)

// axis is a range of values with the places to label. On a logarithmic axis, values
// and ticks are logarithms to base 10 (the library's own logarithmic range has no
// place for values below 1).
type axis struct {
	chartdraw.ContinuousRange
	ticks []chartdraw.Tick
}

// GetTicks implements chartdraw.TicksProvider. Ticks given to the chart itself would
// narrow the range to them.
func (a *axis) GetTicks(chartdraw.ValueFormatter) []chartdraw.Tick { return a.ticks }

func (a *axis) tick(value float64, label string) {
	a.ticks = append(a.ticks, chartdraw.Tick{Value: value, Label: label})
}

func newAxis(least, most float64) *axis {
	return &axis{ContinuousRange: chartdraw.ContinuousRange{Min: least, Max: most}}
}

// grid gives a line for each tick.
func (a *axis) grid() []chartdraw.GridLine {
	var lines []chartdraw.GridLine
	for _, t := range a.ticks {
		lines = append(lines, chartdraw.GridLine{Value: t.Value})
	}
	return lines
}

// linearAxis goes from least to most, 0 included, or somewhat beyond, labelled at about
// count round values in a unit of Format.
func linearAxis(least, most float64, count int, unit string) *axis {
	const nothing = 1e-9 // what is less reads as 0 in all units
	least, most = min(least, 0), max(most, 0)
	if most-least < nothing {
		most = 1
	}
	scale := 1.0 // bytes are round in KiB or MiB
	for unit == "B" && (most-least)/scale >= 1024 {
		scale *= 1024
	}
	step := roundUp((most-least)/scale/float64(count)) * scale
	first, last := math.Floor(least/step+1e-9), math.Ceil(most/step-1e-9)
	a := newAxis(first*step, last*step)
	for i := first; i <= last; i++ {
		a.tick(i*step, Format(i*step, unit))
	}
	return a
}

// roundUp gives the next of 1, 2, 2.5 and 5 times a power of ten.
func roundUp(step float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if step <= m*power*1.0001 {
			return m * power
		}
	}
	return 10 * power
}

// timeSteps are the distances between labels of a time axis, in seconds.
var timeSteps = []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400}

// timeAxis goes from 0 to most seconds, with at most about count labels.
func timeAxis(most float64, count int) *axis {
	const day = 86400
	step := day * max(roundUp(most/day/float64(count)), 1)
	for _, s := range timeSteps {
		if most/s <= float64(count) {
			step = s
			break
		}
	}
	unit, size := " s", 1.0
	switch {
	case step > day:
		unit, size = " d", day
	case step >= 3600:
		unit, size = " h", 3600
	case step >= 60:
		unit, size = " min", 60
	}
	a := newAxis(0, most)
	for at := 0.0; at <= most; at += step {
		a.tick(at, number(at/size)+unit)
	}
	return a
}

// logAxis holds the values from least to most, both above 0, and ends at labels: at
// powers of ten, or at 1, 2 and 5 times them where those would be few.
func logAxis(least, most float64, unit string) *axis {
	from, to := math.Floor(math.Log10(least)+1e-9), math.Ceil(math.Log10(most)-1e-9)
	multiples := []float64{1}
	if most/least <= 200 {
		multiples = []float64{1, 2, 5}
	}
	var values []float64
	for e := from; e <= to; e++ {
		for _, m := range multiples {
			values = append(values, m*math.Pow(10, e))
		}
	}
	// Drop what lies outside but for one label at each end.
	for len(values) > 2 && values[1] <= least*1.0001 {
		values = values[1:]
	}
	for len(values) > 2 && values[len(values)-2] >= most*0.9999 {
		values = values[:len(values)-1]
	}
	a := newAxis(math.Log10(values[0]), math.Log10(values[len(values)-1]))
	for _, v := range values {
		a.tick(math.Log10(v), Format(v, unit))
	}
	return a
}

// ninesAxis is for shares of 50 % and more: 90 %, 99 %, 99.9 % and so on lie as far
// from each other. Its values are the number of nines: 99 % is 2. It has at most about
// count labels.
func ninesAxis(most float64, count int) *axis {
	least := nines(0.5)
	a := newAxis(least, max(most, 1))
	a.tick(least, "50%")
	each := int(math.Ceil(a.Max / float64(count)))
	for n := max(each-1, 1); float64(n) <= a.Max; n += each {
		label := "9" + strings.Repeat("9", n-1)
		switch {
		case n == 1:
			label = "90"
		case n > 2:
			label = "99." + strings.Repeat("9", n-2)
		}
		a.tick(float64(n), label+"%")
	}
	return a
}

// mostNines is how many there is room for: a billion times have nine. Only a file that is
// wrong has more.
const mostNines = 10

func nines(share float64) float64 { return -math.Log10(1 - share) }
