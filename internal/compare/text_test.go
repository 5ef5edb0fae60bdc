package compare

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/internal/report"
)

// TestCommandInLines: sh reads the same words from the lines.
func TestCommandInLines(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("needs sh: ", err)
	}
	for _, words := range [][]string{
		{"millbench"},
		{"go", "run", "./cmd/millbench", "compare", "--servers", "millrace,gws,gnet,floor", "--scenarios", "echo-100,churn-64", "--reps", "6"},
		{"millbench", strings.Repeat("long", 100), "--servers", "mine=" + strings.Repeat("./it's a server -addr LISTEN ", 9)},
		{strings.Repeat(`\`, 200), strings.Repeat("'", 200), strings.Repeat("ä ", 100), "", " "},
	} {
		lines := command(flags.CommandLine(words...))
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > report.Columns {
				t.Errorf("%d characters: %s", n, line)
			}
		}
		out, err := exec.Command("sh", "-c", `printf '%s\n' `+strings.Join(lines, "\n")).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, words) {
			t.Errorf("%q became %q through\n%s", words, got, strings.Join(lines, "\n"))
		}
	}
}

// TestBarsFit: on a terminal the bars keep all their columns, as wide as they get.
func TestBarsFit(t *testing.T) {
	var servers []Server
	for _, s := range known {
		servers = append(servers, Server{Name: s.name})
	}
	c := Comparison{Servers: servers}
	all := c.verdicts()
	for _, e := range []Estimate{{8, 12.345, 10.234, 14.321, true}, {2, 0.99, 0.98, 1.01, false}} {
		for _, b := range bars {
			if b.against == bestRival {
				b.against = "centrifuge"
			}
			measured := e.in(b.unit())
			all = append(all, []string{b.name(), b.against, b.wanted(), measured, "under, not certain"})
			if b.figure != "rss" { // the client never bounds it
				all = append(all, []string{b.name(), b.against, b.wanted(), "(" + measured + ")", "client-bound"})
			}
		}
	}
	lines := all.barLines()
	head := strings.Join(strings.Fields(lines[0]), " ")
	if want := strings.Join(all[0], " "); head != want {
		t.Errorf("columns %q, want %q", head, want)
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > report.Columns {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}
