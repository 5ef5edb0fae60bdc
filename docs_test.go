package millrace_test

import (
	"encoding/xml"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The tests of the documentation. Here: links, lengths, names. docs_go_test.go compiles
// the Go code, docs_commands_test.go checks commands. The tables of flags, limits and
// metrics are compared where these are: cmd/millrace, server and server/prom; that of
// events by events_test.go; the recipes of balancers are run by interop.

// block is a fenced block of a page, or a comment that declares what the page's Go code
// takes for granted: its language is "go, hidden" then.
type block struct {
	page     string
	line     int // of its first line of text
	language string
	text     string
}

// pages are all pages in Markdown, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "testdata"):
			return fs.SkipDir
		case path.Ext(name) == ".md" && name != "internal/compare/comparison.md": // a template
			text, err := os.ReadFile(name)
			found[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 20 {
		t.Fatalf("only %d pages found", len(found))
	}
	return found
}

// blocksOf gives the blocks of a page.
func blocksOf(page, text string) (all []block) {
	var open *block
	end, number := "", 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\n")
		language, fenced := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case open != nil && strings.TrimSpace(line) == end:
			all, open = append(all, *open), nil
		case open != nil:
			open.text += line + "\n"
		case fenced:
			open, end = &block{page, number + 1, language, ""}, "```"
		case line == "<!-- go":
			open, end = &block{page, number + 1, "go, hidden", ""}, "-->"
		}
	}
	if open != nil {
		all = append(all, block{page, number, "never closed", ""})
	}
	return all
}

// blockLanguages are those of fenced blocks: each is checked somewhere, or is no code.
var blockLanguages = map[string]bool{
	"go": true, "go, hidden": true, "js": true, "sh": true, "console": true, "ini": true, "yaml": true, "text": true, "mermaid": true,
	"haproxy": true, "nginx": true, "caddy": true, "apache": true, "lighttpd": true, "vcl": true, "squid": true, "stunnel": true,
}

// TestDocsBlocks: each block says what it is.
func TestDocsBlocks(t *testing.T) {
	for page, text := range pages(t) {
		for _, b := range blocksOf(page, text) {
			plain := b.language == "" && !strings.HasPrefix(page, "docs/") && page != "README.md" || b.language == "" && strings.HasPrefix(page, "docs/design/")
			if !blockLanguages[b.language] && !plain {
				t.Errorf("%s:%d: a block in %q", b.page, b.line, b.language)
			}
		}
	}
}

// TestPageLengths: README is read in five minutes, ARCHITECTURE in a quarter of an hour.
func TestPageLengths(t *testing.T) {
	for page, most := range map[string]int{"README.md": 150, "ARCHITECTURE.md": 300} {
		if n := strings.Count(pages(t)[page], "\n"); n > most {
			t.Errorf("%s has %d lines, more than %d", page, n, most)
		}
	}
}

var (
	fences   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inline   = regexp.MustCompile("`[^`\n]+`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.+)$`)
	unlinked = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// prose is a page without its blocks.
func prose(text string) string { return fences.ReplaceAllString(text, "") }

// anchors are those of a page's headings, as GitHub makes them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(prose(text), -1) {
		name := unlinked.ReplaceAllString(strings.ToLower(h[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

// TestDocsLinks: links within the repository lead to files and headings that are there.
func TestDocsLinks(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, l := range link.FindAllStringSubmatch(inline.ReplaceAllString(prose(text), ""), -1) {
			for _, problem := range checkLink(all, page, l[1]) {
				t.Errorf("%s: the link %s: %s", page, l[1], problem)
			}
		}
	}
}

func checkLink(all map[string]string, page, to string) (problems []string) {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return nil
	}
	file, anchor, _ := strings.Cut(to, "#")
	target := page
	if file != "" {
		target = path.Join(path.Dir(page), file)
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return []string{err.Error()}
	case anchor == "":
		return nil
	case info.IsDir() || !anchors(all[target])[anchor]:
		return []string{"there is no such heading"}
	}
	return nil
}

// TestDocsChecks: the checks above find what is wrong.
func TestDocsChecks(t *testing.T) {
	all := map[string]string{"README.md": "# A title\n```\n# no title\n```\n## Two `words` (here)\n"}
	for to, wrong := range map[string]bool{
		"#a-title": false, "#two-words-here": false, "#no-title": true, "#b": true, "docs/README.md": false, "docs/missing.md": true, "https://example.com/#b": false, "docs#a": true,
	} {
		if problems := checkLink(all, "README.md", to); (len(problems) > 0) != wrong {
			t.Errorf("%s: %q", to, problems)
		}
	}
	got := blocksOf("a.md", "text\n```go\nvar a int\n```\n<!-- go\nvar b int\n-->\n```sh\nmake\n")
	if len(got) != 3 || got[0] != (block{"a.md", 3, "go", "var a int\n"}) || got[1] != (block{"a.md", 6, "go, hidden", "var b int\n"}) || got[2].language != "never closed" {
		t.Errorf("%+v", got)
	}
	for name, wrong := range map[string]bool{"Limits.Message": false, "Limits.Mesage": true, "Server.Drain": false, "Server.Drian": true, "Conn.Send": false, "Upgrader.Any": false} {
		if got := unknownName("`" + name + "`"); (got != "") != wrong {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestDocsIndex: each page of docs stands in the index of its folder.
func TestDocsIndex(t *testing.T) {
	all := pages(t)
	for page := range all {
		folder, name := path.Split(page)
		if strings.HasPrefix(page, "docs/") && name != "README.md" && !strings.Contains(all[folder+"README.md"], "]("+name+")") {
			t.Errorf("%sREADME.md does not list %s", folder, name)
		}
	}
}

// TestDocsPictures: the pictures that are drawn by hand are well-formed.
func TestDocsPictures(t *testing.T) {
	found, err := filepath.Glob("docs/*.svg")
	if err != nil || len(found) == 0 {
		t.Fatalf("%q, %v", found, err)
	}
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err == nil {
			err = xml.Unmarshal(text, new(struct{}))
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// documented are the types whose fields and methods pages name as Type.Name.
var documented = map[string]reflect.Type{
	"Server": reflect.TypeFor[*server.Server](), "Conn": reflect.TypeFor[*server.Conn](), "Handler": reflect.TypeFor[server.Handler](), "Accept": reflect.TypeFor[*server.Accept](),
	"Origin": reflect.TypeFor[*server.Origin](), "Proxy": reflect.TypeFor[*server.Proxy](), "Limits": reflect.TypeFor[*server.Limits](), "Queue": reflect.TypeFor[*server.Queue](),
	"Timeouts": reflect.TypeFor[*server.Timeouts](), "Keepalive": reflect.TypeFor[*server.Keepalive](), "Runtime": reflect.TypeFor[*server.Runtime](), "Deflate": reflect.TypeFor[*server.Deflate](),
	"ServerStats": reflect.TypeFor[*server.ServerStats](), "DrainOptions": reflect.TypeFor[*server.DrainOptions](), "ConnInfo": reflect.TypeFor[*server.ConnInfo](),
	"Message": reflect.TypeFor[*ws.Message](), "Request": reflect.TypeFor[*ws.Request](),
}

var dotted = regexp.MustCompile("`(?:server\\.|ws\\.)?([A-Z]\\w+)\\.([A-Z]\\w+)(?:\\.([A-Z]\\w+))?[^`\n]*`")

// unknownName gives the first Type.Name in code that is a documented type's and is not there.
func unknownName(text string) string {
	for _, name := range dotted.FindAllStringSubmatch(text, -1) {
		of, ok := documented[name[1]]
		for _, part := range name[2:] {
			if !ok || part == "" {
				break
			}
			next, there := member(of, part)
			if !there {
				return strings.Trim(name[0], "`")
			}
			of, ok = next, next != nil
		}
	}
	return ""
}

// member gives the type of a field or nil for a method.
func member(of reflect.Type, name string) (next reflect.Type, ok bool) {
	if _, ok := of.MethodByName(name); ok {
		return nil, true
	}
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return nil, false
	}
	field, ok := of.FieldByName(name)
	if !ok {
		return nil, false
	}
	if k := field.Type.Kind(); k == reflect.Struct || k == reflect.Pointer {
		return field.Type, true
	}
	return nil, true
}

// TestDocsNames: fields, methods, metrics and tests that the pages name are there.
func TestDocsNames(t *testing.T) {
	all := pages(t)
	tests := testNames(t)
	metrics := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(millrace_[a-z_]+)`").FindAllStringSubmatch(all["docs/metrics-and-alerts.md"]+all["docs/topics.md"]+all["docs/gateway.md"]+all["docs/cluster.md"], -1) {
		metrics[row[1]] = true
	}
	for page, text := range all {
		if !strings.HasPrefix(page, "docs/") && page != "README.md" && page != "ARCHITECTURE.md" && page != "SECURITY.md" {
			continue
		}
		if name := unknownName(prose(text)); name != "" {
			t.Errorf("%s names %s, which is not there", page, name)
		}
		for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(text, -1) {
			if !tests[name[1]] {
				t.Errorf("%s names %s, which is no test", page, name[1])
			}
		}
		for _, name := range regexp.MustCompile(`\bmillrace_[a-z_]+[a-z]`).FindAllString(text, -1) {
			if !metrics[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s names %s, which is no metric", page, name)
			}
		}
	}
}
