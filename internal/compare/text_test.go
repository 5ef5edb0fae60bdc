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
