package compare

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	page     = report.Page(pageText)
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
	Figures []figure
}

// Made says when and where the comparison was made.
func (v *view) Made() string {
	text := v.Started.Format("2006-01-02 15:04 MST")
	if machine := report.Machine(v.Machine); machine != "" {
		text += " · " + machine
	}
	return text
}

// Overview has the servers for a page.
func (v *view) Overview() report.Table {
	all := v.Table.Cells()
	for _, row := range all {
		for i := range row[1:] {
			row[i+1].Class = "left"
		}
	}
	return all
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
	if err := v.writeText(tables); err != nil {
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
		{s.markdown, func(w io.Writer) error { return errors.Join(markdown.Execute(w, v), copyKept(w, s.markdown)) }},
	} {
		err = errors.Join(err, writeFile(f.name, stdout, f.write))
	}
	return err
}

// keptFrom is the line of a markdown file from which on it stays as it is.
const keptFrom = "<!-- From this line on a comparison changes nothing. -->\n"

// copyKept copies what stays of a file, if it is there and has such a part.
func copyKept(w io.Writer, name string) error {
	before, err := os.ReadFile(name)
	if name == "-" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if i := bytes.Index(before, []byte("\n"+keptFrom)); err == nil && i >= 0 {
		_, err = w.Write(before[i:])
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
		figures, err := sc.figures(c.Servers)
		if err != nil {
			return nil, err
		}
		for i := range figures {
			figures[i].Link = s.link(figures[i].File)
		}
		remarks := sc.remarks(c.Servers)
		if unknown := c.unknown(sc); len(unknown) > 0 {
			remarks = append(remarks, "not known of any server: "+strings.Join(unknown, ", "))
		}
		v.Sections = append(v.Sections, section{sc, sc.table(c.Servers), remarks, figures})
	}
	return v, nil
}

// link gives the way from the markdown file to a picture.
func (s *study) link(file string) string {
	link, err := filepath.Rel(filepath.Dir(s.markdown), filepath.Join(s.pictures, file))
	if err != nil { // one of them is relative, the other is not
		link = filepath.Join(s.pictures, file)
	}
	return filepath.ToSlash(link)
}

func (s *study) writePictures(v *view) error {
	if s.pictures == "" {
		return nil
	}
	for _, section := range v.Sections {
		for _, f := range section.Figures {
			if f.File == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(s.pictures, f.File), []byte(f.Picture), 0o644); err != nil {
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
