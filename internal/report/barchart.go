package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"math"
	"unicode/utf8"

	"github.com/go-analyze/charts/chartdraw"
)

// chartCSS gives charts their colors and fonts. Where a page does not define its
// variables, colors hold that can be read on black and on white.
//
//go:embed chart.css
var chartCSS string

const (
	barStep  = 30 * drawn // from one bar to the next
	barSize  = 18 * drawn
	maxLabel = 40 // characters
)

// Bars draws a horizontal bar for each value, from the top down, with its label on the
// left and the value, as Format gives it, on the right. Low and high are the bounds of
// an interval around each value (a confidence interval), both nil for none. The first
// bar, against which the others are held, stands out.
//
// The SVG may stand in a page or be a file of its own: with the XML namespace, its own
// style and no reference to anything outside.
func Bars(title, unit string, labels []string, values, low, high []float64) (template.HTML, error) {
	if len(values) == 0 {
		return "", errors.New("report: bars: no value")
	}
	s := bars{unit: unit, values: values, low: low, high: high}
	if len(low) == 0 && len(high) == 0 {
		s.low, s.high = values, values
	}
	if len(labels) != len(values) || len(s.low) != len(values) || len(s.high) != len(values) {
		return "", fmt.Errorf("report: bars: %d values, %d labels, %d and %d bounds", len(values), len(labels), len(low), len(high))
	}
	y := newAxis(-0.5, float64(len(values))-0.5)
	var least, most float64
	var widest int // value, in characters
	for i := range values {
		for _, v := range []float64{values[i], s.low[i], s.high[i]} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return "", fmt.Errorf("report: bars: %s: not a number", labels[i])
			}
			least, most = min(least, v), max(most, v)
		}
		widest = max(widest, len(Format(values[i], unit)))
		y.tick(s.at(i), shorten(clean(labels[i])))
	}
	x := linearAxis(least, most, 5, unit)
	chart := newChart(chartWidth+80*drawn, (len(values)*barStep)+70*drawn, x, y)
	chart.XAxis.GridLines, chart.XAxis.GridMajorStyle = x.grid(), chart.YAxisSecondary.GridMajorStyle
	chart.YAxisSecondary.GridMajorStyle = chartdraw.Hidden()
	chart.Background.Padding.Top += 28 * drawn
	chart.Background.Padding.Left += 6 * drawn
	chart.Background.Padding.Right += 8*drawn + widest*fontSize*6/10 // room behind the longest bar
	chart.Series = []chartdraw.Series{s}
	chart.Elements = []chartdraw.Renderable{func(r chartdraw.Renderer, _ chartdraw.Box, defaults chartdraw.Style) {
		chartdraw.Draw.Text(r, clean(title), 8*drawn, 20*drawn, text("title").InheritFrom(defaults))
	}}
	return render(chart, chartdraw.SVGWithCSS(chartCSS, ""), title)
}

func shorten(label string) string {
	if utf8.RuneCountInString(label) <= maxLabel {
		return label
	}
	return string([]rune(label)[:maxLabel-1]) + "…"
}

// bars is a series of horizontal bars with intervals.
type bars struct {
	unit              string
	values, low, high []float64
}

// at is the place of a bar on the y axis: the first is on top.
func (s bars) at(i int) float64 { return float64(len(s.values) - 1 - i) }

func (s bars) GetName() string               { return "" }
func (s bars) GetYAxis() chartdraw.YAxisType { return chartdraw.YAxisSecondary }
func (s bars) GetStyle() chartdraw.Style     { return chartdraw.Style{} }
func (s bars) Validate() error               { return nil }

func (s bars) Render(r chartdraw.Renderer, canvas chartdraw.Box, x, y chartdraw.Range, defaults chartdraw.Style) {
	place := func(v float64) int { return canvas.Left + x.Translate(v) }
	for i, v := range s.values {
		class := "other"
		if i == 0 {
			class = "first"
		}
		middle := canvas.Bottom - y.Translate(s.at(i))
		chartdraw.Draw.Box(r, chartdraw.Box{
			Left: place(min(v, 0)), Right: place(max(v, 0)), Top: middle - barSize/2, Bottom: middle + barSize/2,
		}, chartdraw.Style{ClassName: class, FillColor: chartdraw.ColorBlack})
		end := max(v, 0)
		if s.low[i] < s.high[i] {
			s.whisker(r, place(s.low[i]), place(s.high[i]), middle)
			end = max(end, s.high[i])
		}
		chartdraw.Draw.Text(r, Format(v, s.unit), place(end)+8*drawn, middle+fontSize/3, text("value").InheritFrom(defaults))
	}
}

// whisker is a thin line with a cap at both ends.
func (s bars) whisker(r chartdraw.Renderer, from, to, middle int) {
	const cap = 4 * drawn
	chartdraw.Style{ClassName: "whisker", StrokeColor: chartdraw.ColorBlack, StrokeWidth: drawn}.WriteToRenderer(r)
	defer r.ResetStyle()
	r.MoveTo(from, middle)
	r.LineTo(to, middle)
	for _, end := range []int{from, to} {
		r.MoveTo(end, middle-cap)
		r.LineTo(end, middle+cap)
	}
	r.Stroke()
}
