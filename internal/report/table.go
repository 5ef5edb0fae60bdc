package report

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/bench/result"
)

// table is cells in rows; the first row is the header.
type table [][]string

// quantiles are the columns of a table of distributions.
var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}}

// latencyTable has a row for each distribution; nil if there is none.
func latencyTable(r *result.Result) table {
	all := distributions(r)
	if len(all) == 0 {
		return nil
	}
	header := []string{"latency"}
	for _, q := range quantiles {
		header = append(header, q.name)
	}
	rows := table{append(header, "mean")}
	for _, d := range all {
		row := []string{d.Name}
		for _, q := range quantiles {
			row = append(row, Format(d.Quantile(q.share), "us"))
		}
		rows = append(rows, append(row, Format(d.Mean(), "us")))
	}
	return rows
}

// stepTable has a row for each step; nil if there is none.
func stepTable(r *result.Result) table {
	if len(r.Steps) == 0 {
		return nil
	}
	header, offered, judged := []string{"step", "time"}, false, false
	for _, s := range r.Steps {
		offered = offered || s.Offered > 0
		judged = judged || s.Verdict != ""
	}
	if offered {
		header = append(header, "offered")
	}
	header = append(header, "done", "p50", "p99", "p99.9", "max")
	if judged {
		header = append(header, "verdict")
	}
	rows := table{header}
	for _, s := range r.Steps {
		row := []string{clean(s.Name), Format(s.Seconds*1e6, "us")}
		if offered {
			row = append(row, Format(s.Offered, "1/s"))
		}
		row = append(row, Format(s.PerSecond, "1/s"))
		for _, share := range []float64{0.5, 0.99, 0.999, 1} {
			cell := "-"
			if s.Latency.Count() > 0 {
				cell = Format(s.Latency.Quantile(share), "us")
			}
			row = append(row, cell)
		}
		if judged {
			row = append(row, verdict(s))
		}
		rows = append(rows, row)
	}
	return rows
}

// verdict is a sweep's of a try; one that does not count says why.
func verdict(s result.Step) string { return clean(cmp.Or(s.Disturbed, s.Verdict, "-")) }

// lines sets a table in columns: the first to the left, at least first wide, the
// others to the right.
func (t table) lines(first int) []string {
	var widths []int
	for _, row := range t {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var lines []string
	for _, row := range t {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString(cell + pad + strings.Repeat(" ", max(0, first-widths[0])))
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}
