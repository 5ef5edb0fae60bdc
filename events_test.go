package millrace_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// eventRow is a row of the table in docs/log.md of log events: the event's name and
// its level, or what that depends on.
var eventRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (debug|info|warn|error|by [a-z]+) \\|")

// logMethods are those of slog.Logger, with the place of the event among their
// arguments, and the function for who has no Logger.
var logMethods = map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "Log": 2, "LogAttrs": 2, newRecord: 2}

const newRecord = "NewRecord"

// TestEvents: every thing that server, internal/loop, asynclog, pubsub/nats and cmd/millrace log has a name of its own,
// in one place of the code, and the table in docs/log.md has it with its level, so
// that alerts and searches can stand on it.
func TestEvents(t *testing.T) {
	text, err := os.ReadFile("docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, row := range eventRow.FindAllStringSubmatch(string(text), -1) {
		if _, twice := listed[row[1]]; twice {
			t.Errorf("docs/log.md lists the event %q twice", row[1])
		}
		listed[row[1]] = row[2]
	}
	files, _ := read(t, ".")
	seen := map[string]string{}
	for name, text := range files {
		ours := within(name, "server") || within(name, "internal/loop") || within(name, "asynclog") || within(name, "cmd/millrace") || within(name, "pubsub/nats")
		if ours && !strings.HasSuffix(name, "_test.go") {
			events(t, name, text, func(event, level, at string) {
				if before, twice := seen[event]; twice {
					t.Errorf("%s: the event %q is logged at %s too: two things need two names", at, event, before)
				}
				seen[event] = at
				if !strings.HasPrefix(listed[event], level) {
					t.Errorf("%s: docs/log.md must list the event %q with the level %s; it says %q", at, event, level, listed[event])
				}
			})
		}
	}
	for event := range listed {
		if seen[event] == "" {
			t.Errorf("docs/log.md lists the event %q, which is not logged", event)
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d events found: the search misses them", len(seen))
	}
}

// events finds the calls of a logger in a file.
func events(t *testing.T, name, text string, found func(event, level, at string)) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		place, isLog := logMethods[method.Sel.Name]
		if !isLog || len(call.Args) <= place || isPackage(f, method.X) != (method.Sel.Name == newRecord) {
			return true
		}
		at := fset.Position(call.Pos()).String()
		literal, ok := call.Args[place].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			t.Errorf("%s: an event's name must stand there as it is", at)
			return true
		}
		event, _ := strconv.Unquote(literal.Value) // the parser has read it
		found(event, levelOf(method.Sel.Name, call), at)
		return true
	})
}

// levelOf is how the table begins to tell an event's level.
func levelOf(method string, call *ast.CallExpr) string {
	switch method {
	case newRecord:
		if level, ok := call.Args[1].(*ast.SelectorExpr); ok { // slog.LevelWarn
			return strings.ToLower(strings.TrimPrefix(level.Sel.Name, "Level"))
		}
	case "Log", "LogAttrs":
		return "by "
	}
	return strings.ToLower(method)
}

// isPackage says whether x is the name of an imported package: http.Error.
func isPackage(f *ast.File, x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	return ok && slices.ContainsFunc(f.Imports, func(spec *ast.ImportSpec) bool {
		imported, _ := strconv.Unquote(spec.Path.Value) // the parser has read it
		return imported == id.Name || strings.HasSuffix(imported, "/"+id.Name)
	})
}
