package compare

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/millrace/millrace/internal/report"
)

//go:embed comparison.md
var markdownText string

//go:embed comparison.html
var pageText string

var (
	markdown = template.Must(template.New("markdown").Parse(markdownText))
	page     = htmltemplate.Must(htmltemplate.New("page").Parse(pageText))
)

// view is a comparison as the templates show it.
type view struct {
	*Comparison
	Reading  string // how to read the figures
	Table    table  // of the servers
	Sections []section
	Verdicts table // nil: not asked for, or none is for these servers
	Linked   bool  // pictures are linked
}

// section is a scenario.
type section struct {
	*Scenario
	Table   table
	Remarks []string
	Charts  []chart
}

// chart has a bar for each server: one figure of one scenario.
type chart struct {
	Title string
	File  string // its name as a picture
	Link  string // to the picture, as the markdown file sees it
	SVG   htmltemplate.HTML
}

// show prints the tables and writes the files that were asked for.
func (s *study) show(stdout io.Writer) error {
	v, err := s.view()
	if err != nil {
		return err
	}
	tables := stdout
	if s.json == "-" {
		tables = s.stderr
	}
	if err := markdown.Execute(tables, v); err != nil {
		return err
	}
	err = s.writePictures(v) // one file's failure is no reason to lose the others
	v.Linked = s.pictures != "" && err == nil
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{s.json, s.result.writeJSON},
		{s.report, func(w io.Writer) error { return page.Execute(w, v) }},
		{s.markdown, func(w io.Writer) error { return markdown.Execute(w, v) }},
	} {
		err = errors.Join(err, writeFile(f.name, stdout, f.write))
	}
	return err
}

func (s *study) view() (*view, error) {
	c := &s.result
	v := &view{Comparison: c, Reading: c.reading(), Table: c.serverTable()}
	if verdicts := c.verdicts(); s.bars && len(verdicts) > 1 {
		v.Verdicts = verdicts
	}
	for i := range c.Scenarios {
		sc := &c.Scenarios[i]
		charts, err := s.charts(sc)
		if err != nil {
			return nil, err
		}
		v.Sections = append(v.Sections, section{sc, sc.table(c.Servers), sc.remarks(c.Servers), charts})
	}
	return v, nil
}

// charts draws each figure of a scenario that is known.
func (s *study) charts(sc *Scenario) ([]chart, error) {
	var charts []chart
	for _, figure := range sc.Figures {
		var labels []string
		var values, low, high []float64
		for _, server := range s.result.Servers {
			if e := sc.summary(server.Name, figure).Value; e.Count > 0 {
				labels = append(labels, server.Name)
				values, low, high = append(values, e.Median), append(low, e.Low), append(high, e.High)
			}
		}
		if len(values) == 0 {
			continue
		}
		unit, moreIsBetter := describe(figure)
		title := sc.Title + ": " + figure + " (less is better)"
		if moreIsBetter {
			title = sc.Title + ": " + figure + " (more is better)"
		}
		svg, err := report.Bars(title, unit, labels, values, low, high)
		if err != nil {
			return nil, err
		}
		file := sc.Name + "-" + figure + ".svg"
		link, err := filepath.Rel(filepath.Dir(s.markdown), filepath.Join(s.pictures, file))
		if err != nil { // one of them is relative, the other is not
			link = filepath.Join(s.pictures, file)
		}
		charts = append(charts, chart{title, file, filepath.ToSlash(link), svg})
	}
	return charts, nil
}

func (s *study) writePictures(v *view) error {
	if s.pictures == "" {
		return nil
	}
	for _, section := range v.Sections {
		for _, c := range section.Charts {
			if err := os.WriteFile(filepath.Join(s.pictures, c.File), []byte(c.SVG), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeFile writes a file: "" is none, "-" stdout.
func writeFile(name string, stdout io.Writer, write func(io.Writer) error) error {
	switch name {
	case "":
		return nil
	case "-":
		return write(stdout)
	}
	var text strings.Builder
	if err := write(&text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, []byte(text.String()), 0o644)
}

// writeJSON writes all that was measured.
func (c *Comparison) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	return encoder.Encode(c)
}
