package report

import (
	"fmt"
	"math"

	"github.com/go-analyze/charts/chartdraw"

	"github.com/millrace/millrace/bench/result"
)

// shades are how many a heat map has. The style sheet has their colors: one hue, from
// faint to strong, so that lightness alone tells them apart.
const shades = 6

// heatOverTime shows how many latencies lay where in each interval.
func heatOverTime(r *result.Result, t *timeline, s size) (*picture, *lineChart) {
	all := merged(t.intervals, s.cells)
	least, longest, most := math.Inf(1), 0.0, 0.0
	for _, i := range all {
		for _, c := range i.cells {
			least, longest, most = min(least, c.low), max(longest, c.high), max(most, c.count/i.seconds())
		}
	}
	if most == 0 {
		return nil, nil
	}
	p, chart := overTime(t, s, "Every latency over time", timed(r)+"; a cell has up to "+Format(most, "")+" a second")
	chart.logarithmic(least, longest)
	chart.tall = true
	chart.heat = &heat{intervals: all, most: most}
	for n := 1; n <= shades; n++ {
		p.Keys = append(p.Keys, key{Class: fmt.Sprintf("heat%d", n), Kind: box})
	}
	p.Keys[0].Name, p.Keys[shades-1].Name = "few", "many"
	return p, chart
}

// heat is a series of cells in shades.
type heat struct {
	intervals []interval
	most      float64 // count of a cell, a second
}

func (h *heat) GetName() string               { return "" }
func (h *heat) GetYAxis() chartdraw.YAxisType { return chartdraw.YAxisSecondary }
func (h *heat) GetStyle() chartdraw.Style     { return chartdraw.Style{} }
func (h *heat) Validate() error               { return nil }

// shade goes with the logarithm of a count, so that single ones can be seen beside
// thousands.
func (h *heat) shade(perSecond float64) int {
	share := math.Log1p(perSecond) / math.Log1p(h.most)
	return min(max(int(math.Ceil(share*shades)), 1), shades)
}

// block is a cell that goes on through intervals.
type block struct {
	cell
	from, to float64
	shade    int
}

// blocks puts neighbours of the same shade together: a page has thousands of cells.
func (h *heat) blocks() []block {
	var all []block
	last := map[float64]int{} // index of the last one of a row
	for _, i := range h.intervals {
		for _, c := range i.cells {
			shade := h.shade(c.count / i.seconds())
			if n, ok := last[c.low]; ok && all[n].shade == shade && all[n].to > i.from-1e-6 {
				all[n].to = i.to
				continue
			}
			last[c.low] = len(all)
			all = append(all, block{c, i.from, i.to, shade})
		}
	}
	return all
}

// Render draws the blocks of each shade as one path.
func (h *heat) Render(r chartdraw.Renderer, canvas chartdraw.Box, x, y chartdraw.Range, _ chartdraw.Style) {
	all := h.blocks()
	for shade := 1; shade <= shades; shade++ {
		chartdraw.Style{ClassName: fmt.Sprintf("heat%d", shade), FillColor: chartdraw.ColorBlack}.WriteToRenderer(r)
		for _, b := range all {
			if b.shade != shade {
				continue
			}
			left, right := canvas.Left+x.Translate(b.from), canvas.Left+x.Translate(b.to)
			bottom := canvas.Bottom - y.Translate(math.Log10(shortest(b.low)))
			top := canvas.Bottom - y.Translate(math.Log10(shortest(b.high)))
			rectangle(r, left, max(right, left+1), min(top, bottom-1), bottom)
		}
		r.Fill() // of nothing draws nothing
		r.ResetStyle()
	}
}

func rectangle(r chartdraw.Renderer, left, right, top, bottom int) {
	r.MoveTo(left, top)
	r.LineTo(right, top)
	r.LineTo(right, bottom)
	r.LineTo(left, bottom)
	r.Close()
}
