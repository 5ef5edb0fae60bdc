package compare

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/report"
)

// table is cells in rows; the first row is the header.
type table [][]string

// Markdown sets a table so that it reads well as it is, too: so many columns to the
// left, the others to the right.
func (t table) Markdown(left int) string {
	t = t.escaped()
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	for n, row := range t {
		rule := "|"
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			line := strings.Repeat("-", widths[i])
			if i < left {
				b.WriteString("| " + cell + pad + " ")
				rule += " " + line + " |"
			} else {
				b.WriteString("| " + pad + cell + " ")
				rule += " " + line[1:] + ": |"
			}
		}
		b.WriteString("|\n")
		if n == 0 {
			b.WriteString(rule + "\n")
		}
	}
	return b.String()
}

// escaped gives a copy in which no cell ends before its end.
func (t table) escaped() table {
	var all table
	for _, row := range t {
		var cells []string
		for _, cell := range row {
			cells = append(cells, strings.ReplaceAll(cell, "|", `\|`))
		}
		all = append(all, cells)
	}
	return all
}

// Cells gives a table for a page.
func (t table) Cells() report.Table {
	var all report.Table
	for _, row := range t {
		all = append(all, report.Row(row...))
	}
	return all
}

// serverTable tells what was compared.
func (c *Comparison) serverTable() table {
	t := table{{"server", "version", "command"}}
	for _, s := range c.Servers {
		t = append(t, []string{s.Name, s.Version, s.Command})
	}
	return t
}

// table has a row for each server: its medians, each with its ratio to the first
// server's, and how many runs are behind them.
func (s *Scenario) table(servers []Server) table {
	header := []string{"server"}
	for _, figure := range s.Figures {
		header = append(header, figure, "to "+servers[0].Name)
	}
	t := table{append(header, "runs", "failed")}
	for i, server := range servers {
		if !server.takesPart(s.Name) {
			continue
		}
		row := []string{server.Name}
		for _, figure := range s.Figures {
			m := s.summary(server.Name, figure)
			value := "-"
			if m.Value.Count > 0 {
				value = format(figure, m.Value.Median)
			}
			if i == 0 {
				row = append(row, value, "")
			} else {
				row = append(row, value, m.told())
			}
		}
		good, failed := s.tally(server.Name)
		t = append(t, append(row, fmt.Sprint(good), fmt.Sprint(failed)))
	}
	return t
}

// told is a ratio for markdown: bold if it tells servers apart.
func (m *Summary) told() string {
	if m.Verdict.tells() {
		return "**" + m.ratio() + "**"
	}
	return m.ratio()
}

// in shows an estimate in a unit, "x" for a ratio: "1.05x [1.01, 1.20]", with the
// range in round brackets where it is no confidence interval; "-" if there is none.
func (e Estimate) in(unit string) string {
	median := report.Format(e.Median, unit)
	bound := func(v float64) string {
		if unit == "x" {
			return fmt.Sprintf("%.2f", v)
		}
		return report.Format(v, unit)
	}
	switch {
	case e.Count == 0:
		return "-"
	case e.Count == 1:
		return median
	case e.Confident:
		return fmt.Sprintf("%s [%s, %s]", median, bound(e.Low), bound(e.High))
	}
	return fmt.Sprintf("%s (%s, %s)", median, bound(e.Low), bound(e.High))
}

// reading says how to read the figures.
func (c *Comparison) reading() string {
	times := fmt.Sprintf("%d times", c.Repetitions)
	if c.Until {
		times = fmt.Sprintf("at least %d times, at most %v a scenario,", c.Repetitions, c.AtMost)
	}
	text := fmt.Sprintf("Medians; %s %v for each server, after %v to warm up; %s.\n"+
		"\"cpu\" is the server's CPU time for a message (in churn for a connection, in broadcast for a\n"+
		"delivery), \"rss\" its memory for a connection.\n",
		times, c.Duration, c.Warmup, c.cpus())
	if c.Slice > 0 {
		text += fmt.Sprintf("In each repetition the servers are started anew. They take turns: in slices of %v, thrown away if the host took more\n"+
			"than %s of a CPU, or run by run where the load can not be cut. A ratio is that to the slices, or the run, of %s next to it,\nin the middle of all repetitions",
			c.Slice, share(c.MostStolen), c.Servers[0].Name)
	} else {
		text += fmt.Sprintf("The servers take turns within each repetition; a ratio is the median of the ratios to %s in the same repetition", c.Servers[0].Name)
	}
	if c.Repetitions < leastConfident && !c.Until {
		return text + fmt.Sprintf(",\nin round brackets the lowest and the highest: fewer than %d runs give no 95 %% confidence interval.", leastConfident)
	}
	sure := ""
	if c.Until {
		sure = fmt.Sprintf(" (of %.1f %% at each look at it, so that all looks have 95 %%)", 100*c.confidence())
	}
	return text + fmt.Sprintf(",\nin brackets its 95 %% confidence interval%s (round ones: the lowest and the highest, of too few runs for one).\n"+
		"Better and worse are by more than %s, and equal is within that. \"? 9 min\" is not decided, and would need about so much longer.\n"+
		"A ratio that is client-bound, or in round brackets as a whole, is the client's, which was at its limit, and not the servers'.", sure, share(c.Width))
}

// Decided says how many of the ratios have a verdict; "" if there are none, or too few
// repetitions for any.
func (c *Comparison) Decided() string {
	all, decided, clients, need := 0, 0, 0, time.Duration(0)
	for _, s := range c.Scenarios {
		for _, m := range s.Summary {
			switch v := m.Verdict; {
			case v == (Verdict{}):
				continue
			case v.Says != "":
				decided++
			case v.ClientBound != "":
				clients++
			default:
				need = max(need, v.Needs)
			}
			all++
		}
	}
	if all == 0 {
		return ""
	}
	text := fmt.Sprintf("Of %d ratios %d are decided", all, decided)
	if clients > 0 {
		text += fmt.Sprintf(", %d are the client's", clients)
	}
	if left := all - decided - clients; left > 0 {
		text += fmt.Sprintf(", %d would need longer: up to %s in a scenario", left, roughly(need))
	}
	return text + "."
}

// share shows one in percent.
func share(of float64) string { return fmt.Sprintf("%.3g %%", 100*of) }

func (c *Comparison) cpus() string {
	cpus := func(list string) string {
		if list == "" {
			return "all CPUs"
		}
		return "CPU " + list
	}
	return "servers on " + cpus(c.ServerCPUs) + ", the load on " + cpus(c.ClientCPUs) + ", by " + c.Generator
}
