package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/bench/result"
)

// What a summary may take: it is to be seen at once, below the last lines of progress.
const (
	maxLines    = 30
	maxTroubles = 4
	maxNotes    = 4
	maxEach     = 3 // lines of a text
)

const nameWidth = 13 // of the first column

// Summary writes what a person reads at the end of a run: at most 30 lines of at most
// Columns characters, each with the figures that matter to its scenario. Texts that
// are too long for that are cut.
func Summary(w io.Writer, r *result.Result) error {
	var lines []string
	for each := maxEach; each > 0; each-- {
		if lines = summary(r, each); len(lines) <= maxLines {
			break
		}
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// summary has so many lines for each text.
func summary(r *result.Result, each int) []string {
	var lines []string
	lines = append(lines, named(clean(r.Plan.Scenario), clean(r.Plan.URL), each)...)
	lines = append(append(lines, named("", load(&r.Plan), each)...), "")
	for _, f := range facts(r) {
		lines = append(lines, named(f.Name, f.Text, each)...)
	}
	if t := latencyTable(r); t != nil {
		lines = append(append(lines, ""), t.Lines(nameWidth, "p99.99", "p90", "mean")...)
	}
	tail := list("trouble", troubles(r), maxTroubles, each)
	tail = append(tail, list("note", notes(r), maxNotes, each)...)
	if len(tail) > 0 {
		tail = append([]string{""}, tail...)
	}
	lines = append(lines, stepLines(r, maxLines-len(lines)-len(tail))...)
	return append(lines, tail...)
}

// named gives a text with a name before it, in at most so many lines.
func named(name, text string, most int) []string {
	lines := Wrap(text, Columns-nameWidth-len(columnGap))
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] = string([]rune(lines[most-1])[:max(utf8.RuneCountInString(lines[most-1])-1, 0)]) + "…"
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(fmt.Sprintf("%-*s%s%s", nameWidth, Shorten([]string{name}, nameWidth)[0], columnGap, line), " ")
		name = ""
	}
	return lines
}

// list gives entries, the first with a name before it: so many, each in so many lines.
func list(name string, entries []string, room, each int) []string {
	var lines []string
	for i, entry := range entries {
		if i == room-1 && len(entries) > room {
			return append(lines, named("", fmt.Sprintf("and %d more", len(entries)-i), 1)...)
		}
		lines = append(lines, named(name, entry, each)...)
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
	lines := t.Lines(nameWidth, "p99.9", "p50", "time")
	if len(lines)+1 <= room {
		return append([]string{""}, lines...)
	}
	left := len(lines) - 1 - max(room-besides, 1)
	return append([]string{"", lines[0], fmt.Sprintf("(%s before)", plural(left, "step"))}, lines[1+left:]...)
}
