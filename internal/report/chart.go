package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"

	"github.com/go-analyze/charts/chartdraw"
)

// The library works in whole pixels, so charts are drawn at twice their size and the
// browser brings them to the width it has.
const (
	drawn       = 2
	chartWidth  = 560 * drawn
	chartHeight = 230 * drawn
	fontSize    = 12 * drawn
)

// line is one of a chart. Colors belong to the style sheet: class says which.
type line struct {
	class  string
	xs, ys []float64 // a y that is not finite is a gap
	dots   bool      // at each value
}

// lineChart is lines over a shaded part of the x axis.
type lineChart struct {
	about    string // for those who can't see it
	x, y     *axis
	lines    []line
	from, to float64 // shaded; equal: nothing is
}

// svg draws the chart, for a page with the style sheet chart.css.
func (c *lineChart) svg() (template.HTML, error) {
	var series []chartdraw.Series
	if c.from < c.to {
		series = append(series, band{c.from, c.to})
	}
	for _, l := range c.lines {
		series = append(series, l.series()...)
	}
	chart := newChart(chartWidth, chartHeight, c.x, c.y)
	chart.Series = series
	return render(chart, chartdraw.SVG, c.about)
}

// newChart has its y axis on the left, which the library calls the secondary one, and
// no color of its own.
func newChart(width, height int, x, y *axis) *chartdraw.Chart {
	none := chartdraw.Style{FillColor: chartdraw.ColorTransparent, StrokeColor: chartdraw.ColorTransparent}
	background := none
	background.Padding = chartdraw.NewBox(5*drawn, 2*drawn, 4*drawn, 4*drawn)
	// Grid lines can't have a class. This gray is right on black and on white.
	grid := chartdraw.Style{StrokeColor: chartdraw.ColorAlternateGray.WithAlpha(56), StrokeWidth: drawn}
	return &chartdraw.Chart{
		Width: width, Height: height,
		DPI:        72, // a point is a pixel
		Background: background,
		Canvas:     none,
		XAxis:      chartdraw.XAxis{Range: x, Style: text("axis x")},
		YAxis: chartdraw.YAxis{
			Style: chartdraw.Hidden(),
			Range: &chartdraw.ContinuousRange{Max: 1},
		},
		YAxisSecondary: chartdraw.YAxis{
			Range: y, Style: text("axis y"),
			GridLines: y.grid(), GridMajorStyle: grid,
		},
	}
}

// text is a style by class; the size is for the library to measure with.
func text(class string) chartdraw.Style {
	return chartdraw.Style{ClassName: class, FontStyle: chartdraw.FontStyle{FontSize: fontSize}}
}

// render gives a chart as inline SVG that also stands for itself as a file.
func render(chart *chartdraw.Chart, with chartdraw.RendererProvider, about string) (template.HTML, error) {
	var b bytes.Buffer
	if err := chart.Render(with, &b); err != nil {
		return "", fmt.Errorf("report: %s: %w", about, err)
	}
	head := fmt.Sprintf(`<svg class="chart" role="img" aria-label="%s" width="%d" height="%d" `,
		html.EscapeString(clean(about)), chart.Width/drawn, chart.Height/drawn)
	// The library escapes the labels that it draws.
	return template.HTML(head + strings.TrimPrefix(b.String(), "<svg ")), nil
}

// series cuts a line at its gaps. A value with none beside it is a dot.
func (l *line) series() []chartdraw.Series {
	var all []chartdraw.Series
	for i := 0; i < len(l.xs); i++ {
		first := i
		for i < len(l.xs) && !math.IsNaN(l.ys[i]) && !math.IsInf(l.ys[i], 0) {
			i++
		}
		if i == first {
			continue
		}
		part := chartdraw.ContinuousSeries{
			YAxis:   chartdraw.YAxisSecondary,
			XValues: l.xs[first:i],
			YValues: l.ys[first:i],
			// The color is never seen: the class sets it. Without one nothing is drawn.
			Style: chartdraw.Style{ClassName: l.class, StrokeColor: chartdraw.ColorBlack, StrokeWidth: drawn},
		}
		if i-first == 1 || l.dots {
			part.Style.DotColor, part.Style.DotWidth = chartdraw.ColorBlack, 3*drawn
		}
		all = append(all, part)
	}
	return all
}

// band is a series that shades a part of the x axis.
type band struct{ from, to float64 }

func (b band) GetName() string               { return "" }
func (b band) GetYAxis() chartdraw.YAxisType { return chartdraw.YAxisSecondary }
func (b band) GetStyle() chartdraw.Style     { return chartdraw.Style{} }
func (b band) Validate() error               { return nil }

func (b band) Render(r chartdraw.Renderer, canvas chartdraw.Box, x, _ chartdraw.Range, _ chartdraw.Style) {
	box := canvas
	box.Left, box.Right = canvas.Left+x.Translate(b.from), canvas.Left+x.Translate(b.to)
	chartdraw.Draw.Box(r, box, chartdraw.Style{ClassName: "band", FillColor: chartdraw.ColorBlack})
}
