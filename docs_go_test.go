package millrace_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// docImports are what Go code in the pages may use without an import.
var docImports = []string{
	modulePath + "/server", modulePath + "/ws", modulePath + "/bench", modulePath + "/server/servertest", modulePath + "/server/cert",
	modulePath + "/pubsub", modulePath + "/pubsub/gateway", modulePath + "/pubsub/nats", modulePath + "/pubsub/gateway/keyfile", modulePath + "/sse", modulePath + "/server/prom", modulePath + "/server/debug", modulePath + "/asynclog", "github.com/prometheus/client_golang/prometheus",
	"github.com/prometheus/client_golang/prometheus/promhttp",
	"cmp", "context", "crypto/tls", "errors", "fmt", "log", "log/slog", "net", "net/http", "net/http/httputil", "net/netip", "net/url", "os", "os/signal", "sync", "sync/atomic", "syscall", "testing", "time",
}

// TestDocsGo: the Go code in the pages compiles. A block that begins with "package" is a
// program of its own. Others are declarations, or the body of a function; all of a
// page's are one package, together with its hidden declarations, and may use docImports,
// without an import unless the block has imports itself.
func TestDocsGo(t *testing.T) {
	imports := exported(t, append(slices.Clone(docImports), modulePath+"/server/xconnect"))
	programs, fragments := 0, 0
	for page, text := range pages(t) {
		var together []block
		for _, b := range blocksOf(page, text) {
			switch {
			case !strings.HasPrefix(b.language, "go"):
			case strings.HasPrefix(b.text, "package "):
				programs++
				report(t, compileBlocks(imports, true, b))
			default:
				fragments++
				together = append(together, b)
			}
		}
		report(t, compileBlocks(imports, false, together...))
	}
	if programs < 2 || fragments < 15 {
		t.Errorf("only %d programs and %d fragments found", programs, fragments)
	}
}

func report(t *testing.T, problems []error) {
	t.Helper()
	for _, problem := range problems {
		t.Error(problem)
	}
}

// TestDocsGoFinds: what does not compile is found, where it stands.
func TestDocsGoFinds(t *testing.T) {
	imports := exported(t, docImports)
	for code, want := range map[string]string{
		"var a int = srv":                              "page.md:7",
		"c.Sned(ws.Text, nil)":                         "page.md:7",
		"var srv = &server.Server{}":                   "",
		"srv := &server.Server{}":                      "",
		"a := 1\nb := a +":                             "page.md:",
		"package main\n\nfunc main() { a := 1 }":       "page.md:9",
		"package main\n\nfunc main() {}":               "",
		"import \"errors\"\nvar a = errors.New":        "",
		"import \"errors\"\nvar a = fmt.Sprint":        "page.md:8",
		"import \"no/such\"":                           "page.md:7",
		"package main\n\nimport \"os\"\nfunc main(){}": "page.md:9",
	} {
		got := compileBlocks(imports, strings.HasPrefix(code, "package"), block{"page.md", 7, "go", code + "\n"})
		if want == "" && len(got) > 0 || want != "" && (len(got) == 0 || !strings.Contains(got[0].Error(), want)) {
			t.Errorf("%s: %v, want %q", code, got, want)
		}
	}
}

// exported gives the compiled packages, and those they need, from go's build cache.
func exported(t *testing.T, packages []string) types.Importer {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}"}, packages...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[name] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) {
		if files[name] == "" {
			return nil, fmt.Errorf("%s is not among docImports", name)
		}
		return os.Open(files[name])
	})
}

// compileBlocks checks blocks as one package, and gives what a compiler would say. In
// fragments, what is declared and not used is fine.
func compileBlocks(imports types.Importer, program bool, blocks ...block) (problems []error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, b := range blocks {
		at := fmt.Sprintf("//line %s:%d\n", b.page, b.line)
		source := at + b.text
		if !program {
			head := "package page\n"
			for _, name := range docImports {
				if !strings.HasPrefix(b.text, "import ") {
					head += fmt.Sprintf("import %q\n", name)
				}
			}
			source = head + at + b.text
			if _, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution); err != nil {
				source = head + "func _() {\n" + at + b.text + "}\n"
			}
		}
		f, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		files = append(files, f)
	}
	config := types.Config{Importer: imports, Error: func(err error) {
		var wrong types.Error
		if program || !errors.As(err, &wrong) || !wrong.Soft {
			problems = append(problems, err)
		}
	}}
	_, _ = config.Check("page", fset, files, nil) // Error has got all
	return problems
}
