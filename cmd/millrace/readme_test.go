package main_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// helpEntry is a flag in the help, with its default.
var helpEntry = regexp.MustCompile(`(?m)^  --([a-z0-9-]+) .*\n(?:        .*\n)*?        \(default (.+)\)$`)

// readmeRow is a row of README's tables of flags, with the default.
var readmeRow = regexp.MustCompile("(?m)^\\| `--([a-z0-9-]+)` \\| ([^|]+) \\|")

// TestFlagsInREADME: README's tables list every flag of millrace serve with its
// default, once, and no other.
func TestFlagsInREADME(t *testing.T) {
	t.Parallel()
	help, _, _ := runToEnd(t, nil, "serve", "--help")
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, row := range readmeRow.FindAllStringSubmatch(string(readme), -1) {
		if _, twice := listed[row[1]]; twice {
			t.Errorf("README lists --%s twice", row[1])
		}
		listed[row[1]] = strings.TrimSpace(row[2])
	}
	entries := helpEntry.FindAllStringSubmatch(help, -1)
	if len(entries) < len(settings)/3 {
		t.Fatalf("found %d flags in the help:\n%s", len(entries), help)
	}
	for _, entry := range entries {
		name, byDefault := entry[1], entry[2]
		if listed[name] != byDefault {
			t.Errorf("README says that --%s has the default %q, the help %q", name, listed[name], byDefault)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("README lists --%s, which is no flag", name)
	}
}
