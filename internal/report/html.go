package report

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// baseHTML is what all pages have; a page defines "title" and "content". It offers
// "table", of a Table, and "command", of a command line.
//
//go:embed base.html
var baseHTML string

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = Page(pageHTML)

// Page makes a template of a page in the style of all of them, from its templates
// "title" and "content". They may use "table", with a Table, and "command", with a command
// line. It panics if they can not be read.
func Page(text string) *template.Template {
	style := func() template.CSS { return template.CSS(pageCSS + chartCSS) }
	base := template.New("page").Funcs(template.FuncMap{"style": style})
	return template.Must(template.Must(base.Parse(baseHTML)).New("own").Parse(text)).Lookup("page")
}

// section is what the page shows of one result.
type section struct {
	ID        string
	Scenario  string
	URL       string
	Load      string
	Started   string
	Machine   string
	Tiles     []fact
	Facts     []fact
	Command   string
	Version   string
	Stories   []string
	Latency   Table
	Steps     Table
	OverTime  Table
	Troubles  []string
	Notes     []string
	Pictures  []picture
	Figures   []fact
	PlanText  string
	Headlines []string // for the index, as headlines has them
}

// HTML writes a page that shows the results one below the other, each with its figures
// and charts. It needs nothing but itself: no scripts, nothing is loaded.
func HTML(w io.Writer, results ...*result.Result) error {
	if len(results) == 0 {
		return errors.New("report: no result")
	}
	var sections []section
	for i, r := range results {
		s, err := newSection(fmt.Sprintf("run-%d", i+1), r)
		if err != nil {
			return err
		}
		sections = append(sections, s)
	}
	return pageTemplate.Execute(w, map[string]any{
		"Headlines": headlines,
		"Sections":  sections,
	})
}

func newSection(id string, r *result.Result) (section, error) {
	plan, err := json.MarshalIndent(&r.Plan, "", "  ")
	if err != nil {
		return section{}, fmt.Errorf("report: %w", err)
	}
	t := newTimeline(r)
	drawn, err := pictures(r, t)
	if err != nil {
		return section{}, err
	}
	s := section{
		ID: id, Scenario: clean(r.Plan.Scenario), URL: clean(r.Plan.URL), Load: load(&r.Plan),
		Machine: Machine(r.Machine), Facts: facts(r),
		Latency: latencyTable(r), Steps: stepTable(r), Troubles: troubles(r), Notes: notes(r),
		Pictures: drawn, PlanText: string(plan), Command: clean(r.Command), Version: clean(r.Version), Stories: t.stories, OverTime: t.table(r),
	}
	if !r.Started.IsZero() {
		s.Started = r.Started.Format(time.RFC1123)
	}
	known := map[string]string{}
	for _, f := range r.Figures() {
		text := "not measured"
		if f.Known && (f.Name != "rate" || hasRate(r)) {
			text = Format(f.Value, f.Unit)
			known[f.Name] = text
		}
		s.Figures = append(s.Figures, fact{f.Name, text})
	}
	s.Tiles = tiles(r, known)
	for _, h := range headlines {
		s.Headlines = append(s.Headlines, cmp.Or(known[h.figure], "-"))
	}
	return s, nil
}

// headlines are the columns of the index.
var headlines = []struct{ Name, figure string }{
	{"rate", "rate"}, {"p50", "p50"}, {"p99", "p99"}, {"max", "max"}, {"CPU a unit", "cpu"}, {"RSS a connection", "rss"},
}

// Machine says in a line where a run took place; "" if nothing is known.
func Machine(m result.Machine) string {
	text := ""
	for _, part := range []string{m.CPU, plural(m.Cores, "core"), m.System, m.Go} {
		if part == "" || m.Cores == 0 && part == plural(0, "core") {
			continue
		}
		if text != "" {
			text += " · "
		}
		text += clean(part)
	}
	return text
}

// tiles are the figures to see first, of those that are known.
func tiles(r *result.Result, known map[string]string) []fact {
	var all []fact
	add := func(name, of string) {
		if text, ok := known[of]; ok {
			all = append(all, fact{name, text})
		}
	}
	add("kept the limit", "clients")
	add(plain(r), "rate")
	add("p50", "p50")
	add("p99", "p99")
	if r.Last.Count() > 0 {
		add("p99 of the last arrival", "last-p99")
	} else {
		add("max", "max")
	}
	add("CPU a "+unit(r), "cpu")
	add("RSS a connection", "rss")
	return all
}
