package millrace_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The rules of the source. They apply to test files too unless they say
// otherwise. A package is named by its folder below the module's root ("." the
// root itself), and a folder's name stands for the folders in it too.

const (
	modulePath  = "github.com/millrace/millrace"
	maxFunction = 70  // lines from "func" to the closing brace
	maxFile     = 400 // lines, test files excepted
	minTODO     = 5   // words of a TODO: what is to do, and why
)

// importers says which packages may import a module from outside. One that is
// not listed may be imported by none: it would enter every user's go.sum. What
// only tests need lives in a module of its own.
var importers = map[string][]string{
	"github.com/go-analyze/charts":        {"internal/report"},
	"github.com/aclements":                {"internal/compare"},
	"github.com/gobwas":                   {"ws"},
	"github.com/HdrHistogram":             {"bench/result"},
	"github.com/KimMachineGun":            {"internal/heapwatch", "cmd"},
	"github.com/klauspost/compress":       {"ws"},
	"github.com/mailru/easygo":            {"poller"},
	"github.com/nats-io":                  {"pubsub/nats"},
	"github.com/prometheus/procfs":        {"internal/process"},
	"github.com/prometheus/client_golang": {"server/prom", "pubsub/prom", "pubsub/gateway/prom", "pubsub/nats/prom", "cmd"},
	"github.com/prometheus/client_model":  {"server/prom", "cmd"}, // their tests
	"github.com/prometheus/common":        {"server/prom", "cmd"}, // their tests
	"github.com/segmentio/asm":            {"ws"},
	"golang.org/x/sys":                    {"poller", "internal/process"},
	"github.com/goccy/go-yaml":            {"pubsub/gateway/keyfile"},
	"github.com/golang-jwt":               {"pubsub/gateway/jwtauth", "cmd"}, // its tests
	"github.com/MicahParks":               {"pubsub/gateway/jwtauth"},
}

// leaves know nothing of a connection, a loop or a poller, nor of what else is ours,
// but each other.
var leaves = []string{
	"internal/buffer", "internal/rate", "internal/heapwatch", "internal/route", "internal/filters", "internal/addrcount", "internal/tlsrecord", "internal/netconn",
	"proxyproto", "asynclog", "sse", "client",
}

func leafOr(others ...string) func(string) bool { return oneOf(append(others, leaves...)...) }

// keptFrom says which packages must not import a folder of ours, or part of the
// standard library; all others may. A folder may always import itself. Of a folder in another
// one that stands here both rules hold.
var keptFrom = map[string]func(importer string) bool{
	"poller": leafOr("ws", "internal/outqueue"),
	"ws":     leafOr("poller", "internal/loop"),
	"server": leafOr("poller", "ws", "internal/loop", "internal/outqueue"),
	"pubsub": leafOr("server", "ws", "poller", "internal", "client"),
	"client": leafOr("server", "ws", "poller", "internal", "pubsub"),

	// Users of server need not compile what they do not use.
	"server/cert":       serverItself,
	"server/debug":      serverItself,
	"server/prom":       serverItself,
	"server/servertest": serverItself,
	"server/xconnect":   serverItself,

	"sse": leafOr("poller", "internal/loop"),
	"proxyproto": func(importer string) bool {
		return !within(importer, "server") && !within(importer, "cmd")
	},
	"asynclog": func(importer string) bool {
		return !within(importer, "server") && !within(importer, "cmd")
	},
	"bench":    notOf("cmd", "internal/load", "internal/report", "internal/compare"),
	"cmd":      everybody,
	"interop":  everybody,
	"examples": everybody,

	"internal/reload":     notOf("server/cert", "cmd"),
	"internal/flags":      notOf("cmd", "internal/compare"),
	"internal/load":       func(importer string) bool { return importer != "bench" && importer != "internal/compare" },
	"internal/report":     notOf("cmd", "internal/compare"),
	"internal/compare":    notOf("cmd"),
	"internal/process":    notOf("internal/load", "internal/compare"),
	"internal/socketpath": notOf("server", "cmd"), // their tests
	"internal/wsload":     notOf("internal/load", "internal/compare"),

	"internal/buffer":    oneOf("proxyproto", "asynclog", "sse", "client"),
	"internal/rate":      notOf("server", "pubsub"),
	"internal/heapwatch": notOf("server"),
	"internal/route":     notOf("server"),
	"internal/filters":   notOf("pubsub"),
	"internal/shorttext": notOf("server", "pubsub"),
	"internal/addrcount": notOf("server"),
	"internal/tlsrecord": notOf("server", "internal/netconn"),
	"internal/netconn":   notOf("server"), // knows blocking calls, and nothing of loops
	"internal/outqueue":  notOf("server"), // knows frames, and nothing of who sends them

	// Who runs when knows a poller, and nothing of what runs.
	"internal/loop": notOf("server"),
	"net/http":      oneOf("internal/loop"),
	"crypto/tls":    oneOf("internal/loop"),

	"unsafe": func(importer string) bool { return !within(importer, "poller") },
	"C":      everybody,
}

// chapters are what the names of server's files begin with: the file is about that. Tests
// stand beside what they test, under the same prefix.
var chapters = []string{
	"chaos", "conn", "conns", "doc", "drain", "example", "group", "handler", "harness", "http", "limit", "log", "loop", "mux", "server", "stats", "tls",
}

// grabBags are names that say nothing of what is in a package.
var grabBags = []string{"common", "helper", "helpers", "misc", "util", "utils"}

var (
	todo       = regexp.MustCompile(`^[\s/*]*(?:TODO|FIXME|XXX|HACK)\b[^\w\n]*(.*)`)
	packageDoc = regexp.MustCompile(`^(?:Package|Command) \w`)
)

func everybody(string) bool { return true }

func serverItself(importer string) bool { return importer == "server" }

// notOf says that only these may import it.
func notOf(folders ...string) func(string) bool {
	may := oneOf(folders...)
	return func(importer string) bool { return !may(importer) }
}

func oneOf(folders ...string) func(string) bool {
	return func(importer string) bool {
		return slices.ContainsFunc(folders, func(f string) bool { return within(importer, f) })
	}
}

// within tells whether a slash-separated path is folder or below it.
func within(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, folder+"/")
}

// source is the files of a tree, path below its root to content.
type source map[string]string

// check gives what breaks a rule, a line each, sorted. Folders named in modules
// are modules of their own: the rules for imports do not apply there.
func check(files source, modules ...string) []string {
	var c checker
	c.documented = map[string]bool{}
	for name, text := range files {
		c.file(name, text, slices.ContainsFunc(modules, func(m string) bool { return within(name, m) }))
	}
	for folder, ok := range c.documented {
		if !ok {
			c.report("%s: no doc comment that begins with \"Package\" or \"Command\"", folder)
		}
	}
	slices.Sort(c.broken)
	return c.broken
}

type checker struct {
	broken     []string
	documented map[string]bool // by folder
}

func (c *checker) report(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

func (c *checker) file(name, text string, ownModule bool) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		c.report("%v", err)
		return
	}
	folder, isTest := path.Dir(name), strings.HasSuffix(name, "_test.go")
	if !isTest {
		c.documented[folder] = c.documented[folder] || packageDoc.MatchString(f.Doc.Text())
		if n := fset.File(f.FileStart).LineCount(); n > maxFile {
			c.report("%s: %d lines, more than %d", name, n, maxFile)
		}
	}
	c.names(name, f.Name.Name)
	c.functions(fset, f)
	c.comments(fset, f)
	if !ownModule {
		c.imports(fset, f, folder)
	}
}

func (c *checker) names(name, packageName string) {
	chapter, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".go"), "_test"), "_")
	if path.Dir(name) == "server" && !slices.Contains(chapters, chapter) {
		c.report("%s: no chapter of server begins with %s", name, chapter)
	}
	if path.Base(path.Dir(name)) == "internal" { // a folder above packages, as the go command knows it
		c.report("%s: a package named internal says nothing of what is in it", name)
		return
	}
	elements := append(strings.Split(path.Dir(name), "/"), strings.TrimSuffix(packageName, "_test"))
	for _, e := range elements {
		if slices.Contains(grabBags, e) {
			c.report("%s: a package named %s says nothing of what is in it", name, e)
			return
		}
	}
}

// strays are the test files of server that stand beside nothing: what they test is in a
// file whose name theirs begins with. What is shared, and what shows or tries everything
// at once, is about no file; a benchmark or fuzz test may be about a chapter.
func strays(files source) (strays []string) {
	for name := range files {
		base, isTest := strings.CutSuffix(name, "_test.go")
		if !isTest || path.Dir(name) != "server" {
			continue
		}
		chapter, _, _ := strings.Cut(path.Base(base), "_")
		if slices.Contains([]string{"chaos", "example", "harness"}, chapter) || base == "server/"+chapter+"_bench" || base == "server/"+chapter+"_fuzz" {
			continue
		}
		for files[base+".go"] == "" && base != "server/"+chapter {
			base = base[:strings.LastIndex(base, "_")]
		}
		if files[base+".go"] == "" {
			strays = append(strays, name)
		}
	}
	slices.Sort(strays)
	return strays
}

func (c *checker) functions(fset *token.FileSet, f *ast.File) {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		from, to := fset.Position(fn.Type.Func), fset.Position(fn.End())
		if n := to.Line - from.Line + 1; n > maxFunction {
			c.report("%s: %s has %d lines, more than %d", from, fn.Name.Name, n, maxFunction)
		}
	}
}

func (c *checker) comments(fset *token.FileSet, f *ast.File) {
	for _, group := range f.Comments {
		for _, comment := range group.List {
			at := fset.Position(comment.Slash)
			if strings.HasPrefix(comment.Text, "//go:norace") {
				c.report("%s: //go:norace hides a race", at)
			}
			if m := todo.FindStringSubmatch(comment.Text); m != nil && len(strings.Fields(m[1])) < minTODO {
				c.report("%s: a TODO that does not say what and why", at)
			}
		}
	}
}

func (c *checker) imports(fset *token.FileSet, f *ast.File, folder string) {
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !allowed(folder, imported) {
			c.report("%s: %s must not import %s", fset.Position(spec.Pos()), folder, spec.Path.Value)
		}
	}
}

// allowed tells whether the package in folder may import what it imports.
func allowed(folder, imported string) bool {
	host, _, _ := strings.Cut(imported, "/")
	if strings.Contains(host, ".") && !within(imported, modulePath) { // the standard library has no dot there
		for module, may := range importers {
			if within(imported, module) {
				return oneOf(may...)(folder)
			}
		}
		return false
	}
	imported = strings.TrimPrefix(imported, modulePath+"/")
	for kept, from := range keptFrom {
		if within(imported, kept) && !within(folder, kept) && from(folder) {
			return false
		}
	}
	return true
}

// TestTidyBorders shows what each border of the packages for users keeps out.
func TestTidyBorders(t *testing.T) {
	for _, tt := range []struct {
		importer, imported string
		may                bool
	}{
		{"client", "server", false},
		{"client", "ws", false},
		{"client", "pubsub/gateway", false},
		{"client", "internal/buffer", false},
		{"sse", "internal/buffer", false},
		{"sse", "pubsub", false},
		{"asynclog", "pubsub", false},
		{"ws", "pubsub", false},
		{"poller", "pubsub", false},
		{"internal/loop", "pubsub", false},
		{"server", "pubsub", false},
		{"server/debug", "pubsub", false},
		{"server", "client", false},
		{"pubsub/gateway", "client", false},
		{"server", "server/cert", false},
		{"server", "server/debug", false},
		{"server", "server/prom", false},
		{"server", "server/servertest", false},
		{"server", "server/xconnect", false},
		{"poller", "server/prom", false},
		{"cmd/millrace/serve", "server/prom", true},
		{"server/debug", "server/prom", true},
		{"server/prom", "server", true},
		{"pubsub/gateway", "pubsub", true},
		{"pubsub/gateway", "sse", true},
		{"pubsub/gateway", "server/servertest", true}, // in its tests
		{"cmd/millrace/serve", "pubsub/nats", true},
		{"cmd/millrace/serve", "client", true},
	} {
		if may := allowed(tt.importer, modulePath+"/"+tt.imported); may != tt.may {
			t.Errorf("%s may import %s: %v, want %v", tt.importer, tt.imported, may, tt.may)
		}
	}
	if allowed("cmd/millrace/serve", "github.com/nats-io/nats.go") || !allowed("pubsub/nats", "github.com/nats-io/nats.go") {
		t.Error("nats.go is for pubsub/nats alone")
	}
}
