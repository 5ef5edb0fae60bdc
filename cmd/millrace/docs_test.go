package main_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// helpEntry is a flag in the help, with its default.
var helpEntry = regexp.MustCompile(`(?m)^  --([a-z0-9-]+) .*\n(?:        .*\n)*?        \(default (.+)\)$`)

// flagRow is a row of the tables of flags, with the default.
var flagRow = regexp.MustCompile("(?m)^\\| `--([a-z0-9-]+)` \\| ([^|]+) \\|")

// flagTables are the pages that have them.
func flagTables(t *testing.T) (text string) {
	t.Helper()
	for _, name := range []string{"flags.md", "limits.md", "gateway.md", "cluster.md"} {
		page, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(page)
	}
	return text
}

// TestFlagsInDocs: docs/flags.md, docs/limits.md, docs/gateway.md and docs/cluster.md list every flag of millrace serve with
// its default, once, and no other.
func TestFlagsInDocs(t *testing.T) {
	t.Parallel()
	help, _, _ := runToEnd(t, nil, "serve", "--help")
	listed := map[string]string{}
	for _, row := range flagRow.FindAllStringSubmatch(flagTables(t), -1) {
		if _, twice := listed[row[1]]; twice {
			t.Errorf("the docs list --%s twice", row[1])
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
			t.Errorf("the docs say that --%s has the default %q, the help %q", name, listed[name], byDefault)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("the docs list --%s, which is no flag", name)
	}
}
