package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/go-analyze/charts/chartdraw"
)

// chartCSS gives charts their colors and fonts. Where a page does not define its
// variables, colors hold that can be read on black and on white.
//
//go:embed chart.css
var chartCSS string

const (
	barStep   = 30 * drawn // from one bar to the next
	barSize   = 18 * drawn
	titleLine = 20 * drawn
	titleChar = 15 // mean width of a character of a title
)

// Bar is one value of a BarChart with an interval around it (a confidence interval);
// Low and High are Value for none.
type Bar struct {
	Label            string
	Value, Low, High float64
	// Bound tells that the client, not what is named, set the value: such a bar is drawn
	// hollow.
	Bound bool
}

// BarChart is a horizontal bar for each value, from the top down, with its label on the
// left and the value, as Format gives it, on the right. The first bar, against which
// the others are held, stands out.
type BarChart struct {
	Title, Unit string
	Bars        []Bar
}

// File draws the chart as an SVG that may be a file of its own: with the title, the XML
// namespace, its own style and no reference to anything outside.
func (c *BarChart) File() (template.HTML, error) {
	s := half
	s.class, s.width = "", s.width+80*drawn
	titles := Wrap(clean(c.Title), (s.width-16*drawn)/titleChar)
	return c.draw(s, titles, 40, chartdraw.SVGWithCSS(chartCSS, ""))
}

// Figure draws the chart for a page, which shows the title itself: once for a broad
// screen, once for a phone.
func (c *BarChart) Figure() (template.HTML, error) {
	broad, err := c.draw(half, nil, 32, chartdraw.SVG)
	if err != nil {
		return "", err
	}
	small, err := c.draw(narrow, nil, 14, chartdraw.SVG)
	return broad + small, err
}

// draw draws the chart with the lines of its title, and labels of at most so many
// characters.
func (c *BarChart) draw(s size, titles []string, longest int, with chartdraw.RendererProvider) (template.HTML, error) {
	if len(c.Bars) == 0 {
		return "", errors.New("report: bars: no value")
	}
	y := newAxis(-0.5, float64(len(c.Bars))-0.5)
	var least, most float64
	var widest int // value, in characters
	var labels, words []string
	for _, b := range c.Bars {
		for _, v := range []float64{b.Value, b.Low, b.High} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return "", fmt.Errorf("report: bars: %s: not a number", b.Label)
			}
			least, most = min(least, v), max(most, v)
		}
		text := Format(b.Value, c.Unit)
		widest = max(widest, len(text))
		labels, words = append(labels, clean(b.Label)), append(words, b.Label+": "+text+".")
	}
	for i, label := range Shorten(labels, longest) {
		y.tick(c.at(i), label)
	}
	axisUnit := c.Unit
	if axisUnit == "1/s" {
		axisUnit = "" // the values have it, and the labels would meet
	}
	x := linearAxis(least, most, s.labels*5/8, axisUnit)
	chart := newChart(s.width, len(c.Bars)*barStep+42*drawn+len(titles)*titleLine, x, y)
	chart.XAxis.GridLines, chart.XAxis.GridMajorStyle = x.grid(), chart.YAxisSecondary.GridMajorStyle
	chart.YAxisSecondary.GridMajorStyle = chartdraw.Hidden()
	chart.Background.Padding.Top += len(titles) * titleLine
	chart.Background.Padding.Right += 8*drawn + widest*fontSize*6/10 // room behind the longest bar
	chart.Series = []chartdraw.Series{bars{c}}
	chart.Elements = append(chart.Elements, func(r chartdraw.Renderer, _ chartdraw.Box, defaults chartdraw.Style) {
		for i, line := range titles {
			chartdraw.Draw.Text(r, line, 8*drawn, (i+1)*titleLine, text("title").InheritFrom(defaults))
		}
	})
	return render(chart, with, s.class, about{c.Title, strings.Join(words, " ")})
}

// at is the place of a bar on the y axis: the first is on top.
func (c *BarChart) at(i int) float64 { return float64(len(c.Bars) - 1 - i) }

// bars is a series of horizontal bars with intervals.
type bars struct{ *BarChart }

func (s bars) GetName() string               { return "" }
func (s bars) GetYAxis() chartdraw.YAxisType { return chartdraw.YAxisSecondary }
func (s bars) GetStyle() chartdraw.Style     { return chartdraw.Style{} }
func (s bars) Validate() error               { return nil }

func (s bars) Render(r chartdraw.Renderer, canvas chartdraw.Box, x, y chartdraw.Range, defaults chartdraw.Style) {
	place := func(v float64) int { return canvas.Left + x.Translate(v) }
	for i, b := range s.Bars {
		class := "other"
		if i == 0 {
			class = "first"
		}
		if b.Bound {
			class += " hollow"
		}
		middle := canvas.Bottom - y.Translate(s.at(i))
		chartdraw.Draw.Box(r, chartdraw.Box{
			Left: place(min(b.Value, 0)), Right: place(max(b.Value, 0)), Top: middle - barSize/2, Bottom: middle + barSize/2,
		}, chartdraw.Style{ClassName: class, FillColor: chartdraw.ColorBlack})
		end := max(b.Value, 0)
		if b.Low < b.High {
			whisker(r, place(b.Low), place(b.High), middle)
			end = max(end, b.High)
		}
		chartdraw.Draw.Text(r, Format(b.Value, s.Unit), place(end)+8*drawn, middle+fontSize/3, text("value").InheritFrom(defaults))
	}
}

// whisker is a thin line with a cap at both ends.
func whisker(r chartdraw.Renderer, from, to, middle int) {
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
