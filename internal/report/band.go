package report

import (
	"unicode/utf8"

	"github.com/go-analyze/charts/chartdraw"
)

// band shades a part of the x axis. Its class is "quiet" for what was not measured,
// "stall" and "ended" for what went wrong, "knee" and "limit" in a sweep.
type band struct {
	from, to float64
	class    string
	label    string // above it
}

// bands is a series of them, with their labels in a strip above the canvas.
type bands []band

const (
	labelHeight = 20 * drawn // of the strip
	labelGap    = 6 * drawn
	charWidth   = fontSize * 11 / 20 // of a mean character
)

func (b bands) GetName() string               { return "" }
func (b bands) GetYAxis() chartdraw.YAxisType { return chartdraw.YAxisSecondary }
func (b bands) GetStyle() chartdraw.Style     { return chartdraw.Style{} }
func (b bands) Validate() error               { return nil }

func (b bands) Render(r chartdraw.Renderer, canvas chartdraw.Box, x, _ chartdraw.Range, defaults chartdraw.Style) {
	var taken []chartdraw.Box
	for _, loud := range []bool{true, false} { // what went wrong is named first
		for _, one := range b {
			if loud == (one.class == "quiet") {
				continue
			}
			box := canvas
			box.Left, box.Right = canvas.Left+x.Translate(one.from), canvas.Left+x.Translate(one.to)
			box.Right = max(box.Right, box.Left+drawn)
			chartdraw.Draw.Box(r, box, chartdraw.Style{ClassName: "band " + one.class, FillColor: chartdraw.ColorBlack})
			if at, ok := place(one.label, box, canvas, loud, taken); ok {
				taken = append(taken, at)
				chartdraw.Draw.Text(r, one.label, at.Left, canvas.Top-labelGap, text("of-band "+one.class).InheritFrom(defaults))
			}
		}
	}
}

// place finds where a label goes: over the middle of its band. One of a quiet band
// must about fit over it, others may be wider; none meets another one.
func place(label string, over, canvas chartdraw.Box, loud bool, taken []chartdraw.Box) (at chartdraw.Box, ok bool) {
	width := utf8.RuneCountInString(label) * charWidth
	if label == "" || !loud && width > over.Width()*3/2 || width > canvas.Width() {
		return at, false
	}
	at.Left = min(max((over.Left+over.Right-width)/2, canvas.Left), canvas.Right-width)
	at.Right = at.Left + width
	for _, t := range taken {
		if at.Left < t.Right+labelGap && t.Left < at.Right+labelGap {
			return at, false
		}
	}
	return at, true
}
