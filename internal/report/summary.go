package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/millrace/millrace/bench/result"
)

// What a summary may take: it is to be seen at once, below the last lines of progress.
const (
	maxLines    = 30
	maxTroubles = 4
	maxNotes    = 4
)

const nameWidth = 13 // of the first column

// Summary writes what a person reads at the end of a run: at most 30 lines, each with
// the figures that matter to its scenario.
func Summary(w io.Writer, r *result.Result) error {
	lines := []string{
		named(r.Plan.Scenario, clean(r.Plan.URL)),
		named("", load(&r.Plan)),
		"",
	}
	for _, f := range facts(r) {
		lines = append(lines, named(f.Name, f.Text))
	}
	if t := latencyTable(r); t != nil {
		lines = append(append(lines, ""), t.lines(nameWidth)...)
	}
	tail := list("trouble", troubles(r), maxTroubles)
	tail = append(tail, list("note", notes(r), maxNotes)...)
	if len(tail) > 0 {
		tail = append([]string{""}, tail...)
	}
	lines = append(lines, stepLines(r, maxLines-len(lines)-len(tail))...)
	lines = append(lines, tail...)
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

func named(name, text string) string {
	return fmt.Sprintf("%-*s  %s", nameWidth, name, text)
}

// list gives entries, the first with a name before it, in at most room lines.
func list(name string, entries []string, room int) []string {
	var lines []string
	for i, entry := range entries {
		if i == room-1 && len(entries) > room {
			return append(lines, named("", fmt.Sprintf("and %d more", len(entries)-i)))
		}
		lines = append(lines, named(name, entry))
		name = ""
	}
	return lines
}

// stepLines gives the steps in at most room lines. If there are too many, the last
// ones: a sweep's knee is there.
func stepLines(r *result.Result, room int) []string {
	t := stepTable(r)
	if t == nil {
		return nil
	}
	const besides = 3 // an empty line, the header, how many are left out
	lines := t.lines(nameWidth)
	if len(lines)+1 <= room {
		return append([]string{""}, lines...)
	}
	left := len(lines) - 1 - (room - besides)
	return append([]string{"", lines[0], fmt.Sprintf("(%s before)", plural(left, "step"))}, lines[1+left:]...)
}
