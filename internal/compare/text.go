package compare

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/report"
)

// writeText writes the tables for a terminal: nothing in them is wider than
// report.Columns, however long names and commands are.
func (v *view) writeText(w io.Writer) error {
	var lines []string
	add := func(indent string, texts ...string) {
		for _, text := range texts {
			for _, line := range report.Wrap(text, report.Columns-len(indent)) {
				lines = append(lines, strings.TrimRight(indent+line, " "))
			}
		}
	}
	blank := func() { lines = append(lines, "") }

	lines = append(lines, command(v.Command)...)
	blank()
	add("", v.Made())
	add("", v.Reading)
	if decided := v.Decided(); decided != "" {
		add("", decided)
	}
	blank()
	for _, s := range v.Servers {
		add("", strings.TrimSpace(s.Name+"  "+s.Version))
		add("    ", s.Command)
	}
	if len(v.Notes) > 0 {
		blank()
	}
	for _, note := range v.Notes {
		lines = append(lines, item(note)...)
	}
	for _, section := range v.Sections {
		blank()
		add("", section.Name+": "+section.Title)
		add("    ", v.Generator+" "+section.Load)
		for _, f := range section.Figures {
			blank()
			lines = append(lines, f.table("ratio").Lines(12, "runs", "interval")...)
		}
		if remarks := section.Remarks; len(remarks) > 0 {
			blank()
			for _, remark := range remarks {
				lines = append(lines, item(remark)...)
			}
		}
	}
	if v.Verdicts != nil {
		blank()
		add("", "The bars")
		lines = append(lines, v.Verdicts.barLines()...)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// barLines sets the table of the bars.
func (t table) barLines() []string { return t.Cells().Lines(12, "wanted") }

// item is a text of a list.
func item(text string) []string {
	lines := report.Wrap(text, report.Columns-2)
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	lines[0] = "- " + lines[0][2:]
	return lines
}

// command breaks a line of sh, as flags.CommandLine gives it, into lines that sh still
// reads as the same words.
func command(text string) []string {
	const indent, end = "  ", ` \`
	room := report.Columns - len(end)
	lines := []string{""}
	for _, word := range shellWords(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last)+1+utf8.RuneCountInString(word) <= room:
			*last += " " + word
			continue
		default:
			*last += end
			lines = append(lines, indent+word)
		}
		lines = append(lines[:len(lines)-1], chopped(lines[len(lines)-1], room)...)
	}
	return lines
}

// quoting is where in a line of sh one is: behind a quote that is still open, or behind a
// backslash.
type quoting struct{ quoted, escaped bool }

// read goes on by a character.
func (q *quoting) read(c rune) {
	switch {
	case q.escaped:
		q.escaped = false
	case c == '\'':
		q.quoted = !q.quoted
	case c == '\\':
		q.escaped = !q.quoted
	}
}

// shellWords splits a line of sh between its words.
func shellWords(text string) []string {
	var all []string
	word, q := "", quoting{}
	for _, c := range text {
		if c == ' ' && q == (quoting{}) {
			all, word = append(all, word), ""
			continue
		}
		q.read(c)
		word += string(c)
	}
	return append(all, word)
}

// chopped cuts a word of sh into lines that are still one word: outside of quotes a
// backslash joins them.
func chopped(word string, room int) []string {
	var lines []string
	line, q := "", quoting{}
	for _, c := range word {
		if utf8.RuneCountInString(line) >= room-1 && !q.escaped {
			if q.quoted {
				line += "'"
			}
			lines, line = append(lines, line+`\`), ""
			if q.quoted {
				line = "'"
			}
		}
		line += string(c)
		q.read(c)
	}
	return append(lines, line)
}
