package compare

import (
	"fmt"
	htmltemplate "html/template"
	"math"

	"github.com/millrace/millrace/internal/report"
)

// figure is one figure of a scenario, held against the first server's.
type figure struct {
	Name, Unit string // of the column of medians
	Better     string // "more is better"
	Against    string // the first server
	Lines      []line
	File, Link string // its chart's as a picture, and to it as the markdown file sees it
	Chart      htmltemplate.HTML
	Picture    htmltemplate.HTML // the chart as a file of its own
}

// line is a figure of one server. Median and bounds are in the column's unit.
type line struct {
	Server   string
	Median   string
	Ratio    string // "" for the first server
	Interval string
	Tells    bool // the interval of the ratio excludes 1
	Verdict  string
	Bound    bool // the client set it
	Runs     int  // that are good
	value    Estimate
}

// figures gives those of a scenario.
func (s *Scenario) figures(servers []Server) ([]figure, error) {
	var all []figure
	for _, name := range s.Figures {
		f := s.figure(name, servers)
		if err := f.draw(s, name); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (s *Scenario) figure(name string, servers []Server) figure {
	unit, moreIsBetter := describe(name)
	f := figure{Name: name, Against: servers[0].Name, Better: "less is better"}
	if moreIsBetter {
		f.Better = "more is better"
	}
	var medians []float64
	for i, server := range servers {
		if !server.takesPart(s.Name) {
			continue
		}
		m := s.summary(server.Name, name)
		l := line{Server: server.Name, Bound: s.clientBound(server.Name, servers[0].Name, name) != "", value: m.Value}
		l.Runs, _ = s.tally(server.Name)
		if i > 0 {
			l.Ratio, l.Interval = m.Ratio.columns()
			l.Tells, l.Verdict = m.Verdict.tells(), m.word()
		}
		if l.Bound {
			l.Verdict = "client-bound"
		}
		median := math.NaN()
		if m.Value.Count > 0 {
			median = m.Value.Median
		}
		medians, f.Lines = append(medians, median), append(f.Lines, l)
	}
	texts, in := report.Column(medians, unit)
	f.Unit = in
	for i := range f.Lines {
		f.Lines[i].Median = texts[i]
	}
	return f
}

// draw makes the figure's chart, of the servers of which it is known.
func (f *figure) draw(s *Scenario, name string) error {
	unit, _ := describe(name)
	chart := report.BarChart{Title: s.Title + ": " + name + " (" + f.Better + ")", Unit: unit}
	for _, l := range f.Lines {
		if e := l.value; e.Count > 0 {
			chart.Bars = append(chart.Bars, report.Bar{Label: l.Server, Value: e.Median, Low: e.Low, High: e.High, Bound: l.Bound})
		}
	}
	if len(chart.Bars) == 0 {
		return nil
	}
	var err error
	if f.Chart, err = chart.Figure(); err != nil {
		return err
	}
	f.File = s.Name + "-" + name + ".svg"
	f.Picture, err = chart.File()
	return err
}

// tells is whether a verdict tells two servers apart.
func (v Verdict) tells() bool { return v.Says == better || v.Says == worse }

// word is a verdict for a column.
func (m *Summary) word() string {
	switch v := m.Verdict; {
	case m.Ratio.Count == 0:
		return "-"
	case v.Says != "":
		return v.Says
	case v.Needs > 0 && m.Ratio.Confident:
		return "? " + roughly(v.Needs)
	}
	return "not decided"
}

// Table is the figure as a page shows it.
func (f *figure) Table() report.Table { return f.table("to " + f.Against) }

// table has a line for each server, with a name for the column of ratios.
func (f *figure) table(ratio string) report.Table {
	head := f.Name
	if f.Unit != "" {
		head += ", " + f.Unit
	}
	t := report.Table{{{Text: "server"}, {Text: head}, {Text: ratio}, {Text: "verdict", Class: "left"}, {Text: "interval"}, {Text: "runs"}}}
	for _, l := range f.Lines {
		class := "soft"
		if l.Tells {
			class = "tells"
		}
		t = append(t, []report.Cell{{Text: l.Server}, {Text: l.Median}, {Text: l.Ratio, Class: class},
			{Text: l.Verdict, Class: "left " + class}, {Text: l.Interval, Class: "soft"}, {Text: fmt.Sprint(l.Runs)}})
	}
	return t
}

// columns are a ratio and its interval, in round brackets where it is the range of too
// few runs; "-" if there is none.
func (e Estimate) columns() (ratio, interval string) {
	switch {
	case e.Count == 0:
		return "-", ""
	case e.Count == 1:
		return report.Format(e.Median, "x"), ""
	}
	interval = fmt.Sprintf("%.2f to %.2f", e.Low, e.High)
	if !e.Confident {
		interval = "(" + interval + ")"
	}
	return report.Format(e.Median, "x"), interval
}
