package report

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/bench/result"
)

// Table is cells in rows; the first row is the header.
type Table [][]Cell

// Cell is one of a table. Class is for a page: "tells" stands out, "soft" steps back,
// "left" is text. "" is a number, or a name in the first column.
type Cell struct{ Text, Class string }

// Row makes cells without a class.
func Row(texts ...string) []Cell {
	var cells []Cell
	for _, text := range texts {
		cells = append(cells, Cell{Text: text})
	}
	return cells
}

// quantiles are the columns of a table of distributions.
var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}}

// latencyTable has a row for each distribution; nil if there is none.
func latencyTable(r *result.Result) Table {
	all := distributions(r)
	if len(all) == 0 {
		return nil
	}
	header := []string{"latency"}
	for _, q := range quantiles {
		header = append(header, q.name)
	}
	rows := Table{Row(append(header, "mean")...)}
	for _, d := range all {
		row := []string{d.Name}
		for _, q := range quantiles {
			row = append(row, Format(d.Quantile(q.share), "us"))
		}
		rows = append(rows, Row(append(row, Format(d.Mean(), "us"))...))
	}
	return rows
}

// stepTable has a row for each step; nil if there is none.
func stepTable(r *result.Result) Table {
	if len(r.Steps) == 0 {
		return nil
	}
	header, offered, last, judged := []string{"step", "time"}, false, false, false
	for _, s := range r.Steps {
		offered = offered || s.Offered > 0
		last = last || s.Last.Count() > 0
		judged = judged || s.Verdict != ""
	}
	if offered {
		header = append(header, "offered")
	}
	header = append(header, "done", "p50", "p99", "p99.9", "max")
	if last {
		header = append(header, "p95 of last")
	}
	rows := Table{Row(header...)}
	if judged {
		rows[0] = append(rows[0], Cell{Text: "verdict", Class: "left"})
	}
	for _, s := range r.Steps {
		row := []string{clean(s.Name), Format(s.Seconds*1e6, "us")}
		if offered {
			row = append(row, Format(s.Offered, "1/s"))
		}
		row = append(row, Format(s.PerSecond, "1/s"))
		for _, share := range []float64{0.5, 0.99, 0.999, 1} {
			row = append(row, orDash(s.Latency.Quantile(share), "us"))
		}
		if last {
			row = append(row, orDash(s.Last.Quantile(0.95), "us"))
		}
		cells := Row(row...)
		if judged {
			cells = append(cells, Cell{Text: verdict(s), Class: "left"})
		}
		rows = append(rows, cells)
	}
	return rows
}

// verdict is a sweep's of a try; one that does not count says why.
func verdict(s result.Step) string { return clean(cmp.Or(s.Disturbed, s.Verdict, "-")) }

// maxRows is how many a table over time may have.
const maxRows = 60

// table has the timeline's figures for those who can't see the charts, neighbours put
// together; nil if there are none.
func (t *timeline) table(r *result.Result) Table {
	if len(t.intervals) == 0 {
		return nil
	}
	rows := Table{Row("from", "for", "connections", plain(r), "p50", "p99", "max", "server cores", "server memory")}
	cell := func(value float64, unit string) string {
		if math.IsNaN(value) {
			return "-"
		}
		return Format(value, unit)
	}
	for _, i := range merged(t.intervals, maxRows) {
		rows = append(rows, Row(seconds(i.from), seconds(i.seconds()), cell(i.open, ""), cell(i.count, ""), cell(i.p50, "us"),
			cell(i.p99, "us"), cell(i.max, "us"), cell(i.cores, ""), cell(i.rss, "B")))
	}
	return rows
}

// Columns is how wide a terminal is taken to be.
const Columns = 80

// Lines sets a table in columns: the first to the left and at least first wide, those
// of class "left" too, the others to the right. The lines have at most Columns
// characters: if they would have more, the names of the first column are shortened, and
// then columns are left out: those that have one of the headers spare, in that order, and
// if that is not enough the ones before the last.
func (t Table) Lines(first int, spare ...string) []string {
	t = t.fit(first, spare)
	widths := t.widths()
	widths[0] = max(widths[0], first)
	var lines []string
	for _, row := range t {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(cell.Text), 0))
			switch {
			case i == 0:
				line.WriteString(cell.Text + pad)
			case strings.HasPrefix(cell.Class, "left"):
				line.WriteString(columnGap + cell.Text + pad)
			default:
				line.WriteString(columnGap + pad + cell.Text)
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}

const (
	columnGap  = "  "
	leastNames = 12 // characters of the first column are kept
)

func (t Table) widths() []int {
	var widths []int
	for _, row := range t {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell.Text))
		}
	}
	return widths
}

// fit gives a table that fits into Columns.
func (t Table) fit(first int, spare []string) Table {
	for {
		widths := t.widths()
		rest := 0
		for _, w := range widths[1:] {
			rest += w + len(columnGap)
		}
		room := Columns - rest
		if max(widths[0], first) <= room || len(widths) < 3 && room < leastNames {
			return t
		}
		if room >= max(first, leastNames) {
			return t.renamed(room)
		}
		leave := len(widths) - 2
		for len(spare) > 0 {
			at := t.column(spare[0])
			if spare = spare[1:]; at > 0 {
				leave = at
				break
			}
		}
		t = t.without(leave)
	}
}

// column finds a column by its header; -1: there is none.
func (t Table) column(header string) int {
	return slices.IndexFunc(t[0], func(c Cell) bool { return c.Text == header })
}

// renamed shortens the names in the first column.
func (t Table) renamed(width int) Table {
	var names []string
	for _, row := range t {
		names = append(names, row[0].Text)
	}
	names = Shorten(names, width)
	var all Table
	for i, row := range t {
		row = slices.Clone(row)
		row[0].Text = names[i]
		all = append(all, row)
	}
	return all
}

// without leaves a column out.
func (t Table) without(column int) Table {
	var all Table
	for _, row := range t {
		if column < len(row) {
			row = slices.Delete(slices.Clone(row), column, column+1)
		}
		all = append(all, row)
	}
	return all
}
