package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

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

// size is the width of a chart, and for how many labels its x axis has room, and for how
// many intervals a heat map. Text does
// not shrink with the screen, so each chart is drawn for a broad one and for a phone,
// and the style sheet shows one of them.
type size struct {
	class                string
	width, labels, cells int
}

var (
	half   = size{"broad", chartWidth, 8, 200}
	full   = size{"broad", 1152 * drawn, 16, 400}
	narrow = size{"narrow", 328 * drawn, 4, 130}
)

// line is one of a chart. Colors belong to the style sheet: class says which.
type line struct {
	class  string
	xs, ys []float64 // a y that is not finite is a gap
	dots   bool      // at each value
	only   bool      // the dots, without the line
}

// lineChart is lines over shaded parts of the x axis.
type lineChart struct {
	size
	tall     bool
	about    about
	overTime bool // x is the time of a run
	x, y     *axis
	unit     string // of y, as Format takes it
	log      bool   // y is logarithms
	bands    []band
	heat     *heat // nil: none
	lines    []line
}

// about is a chart in words, for those who can't see it.
type about struct{ title, text string }

// svg draws the chart, for a page with the style sheet chart.css.
func (c *lineChart) svg() (template.HTML, error) {
	height := chartHeight
	if c.tall {
		height += 70 * drawn
	}
	chart := newChart(c.width, height, c.x, c.y)
	if n := len(c.x.ticks); n > 0 { // the last label may be at the end, and half of it beyond
		chart.Background.Padding.Right += utf8.RuneCountInString(c.x.ticks[n-1].Label) * charWidth / 2
	}
	if len(c.bands) > 0 {
		chart.Series = append(chart.Series, bands(c.bands))
		chart.Background.Padding.Top = labelHeight
	}
	if c.heat != nil {
		chart.Series = append(chart.Series, c.heat)
	}
	for _, l := range c.lines {
		chart.Series = append(chart.Series, l.series()...)
	}
	return render(chart, chartdraw.SVG, c.class, c.about)
}

// newChart has its y axis on the left, which the library calls the secondary one, and
// no color of its own.
func newChart(width, height int, x, y *axis) *chartdraw.Chart {
	none := chartdraw.Style{FillColor: chartdraw.ColorTransparent, StrokeColor: chartdraw.ColorTransparent}
	background := none
	background.Padding = chartdraw.NewBox(5*drawn, y.labelWidth()+4*drawn, 4*drawn, 4*drawn)
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
			Range: unlabelled{y}, Style: text("axis y"),
			GridLines: y.grid(), GridMajorStyle: grid,
		},
		Elements: []chartdraw.Renderable{y.draw},
	}
}

// unlabelled is a y axis whose labels the library leaves to us: it would place their
// left ends by a font that may not be the reader's. The style sheet has them end at
// the axis.
type unlabelled struct{ *axis }

func (u unlabelled) GetTicks(chartdraw.ValueFormatter) []chartdraw.Tick {
	ticks := slices.Clone(u.ticks)
	for i := range ticks {
		ticks[i].Label = ""
	}
	return ticks
}

// labelWidth is the room for the labels of a y axis, in a broad font.
func (a *axis) labelWidth() int {
	widest := 0
	for _, t := range a.ticks {
		widest = max(widest, utf8.RuneCountInString(t.Label))
	}
	return widest * fontSize * 3 / 5
}

// draw draws the labels of a y axis.
func (a *axis) draw(r chartdraw.Renderer, canvas chartdraw.Box, defaults chartdraw.Style) {
	for _, t := range a.ticks {
		chartdraw.Draw.Text(r, t.Label, canvas.Left-4*drawn, canvas.Bottom-a.Translate(t.Value)+fontSize/3, text("axis y").InheritFrom(defaults))
	}
}

// text is a style by class; the size is for the library to measure with.
func text(class string) chartdraw.Style {
	return chartdraw.Style{ClassName: class, FontStyle: chartdraw.FontStyle{FontSize: fontSize}}
}

// render gives a chart as inline SVG that also stands for itself as a file. Class, if
// any, is one more for the style sheet.
func render(chart *chartdraw.Chart, with chartdraw.RendererProvider, class string, a about) (template.HTML, error) {
	var b bytes.Buffer
	if err := chart.Render(with, &b); err != nil {
		return "", fmt.Errorf("report: %s: %w", a.title, err)
	}
	escape := func(text string) string { return html.EscapeString(clean(text)) }
	head := fmt.Sprintf(`<svg class="%s" role="img" aria-label="%s" width="%d" height="%d" `,
		strings.TrimSpace("chart "+class), escape(a.title), chart.Width/drawn, chart.Height/drawn)
	begin, rest, _ := strings.Cut(strings.TrimPrefix(b.String(), "<svg "), ">")
	// The library escapes the labels that it draws.
	return template.HTML(head + begin + "><title>" + escape(a.title) + "</title><desc>" + escape(a.text) + "</desc>" + rest), nil
}

// series cuts a line at its gaps. A value with none beside it is a dot.
func (l *line) series() []chartdraw.Series {
	var all []chartdraw.Series
	for i := 0; i < len(l.xs); {
		first := i
		for i < len(l.xs) && !math.IsNaN(l.ys[i]) && !math.IsInf(l.ys[i], 0) {
			if i++; l.only {
				break // nothing joins the dots
			}
		}
		if i == first {
			i++ // a gap
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
