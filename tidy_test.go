package millrace_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTidy holds the shape of the source: what may import what, how long a
// function is, and so on. tidy_rules_test.go has the rules.
func TestTidy(t *testing.T) {
	files, modules := read(t, ".")
	for _, known := range []string{"poller/poller.go", "ws/doc.go", "server/doc.go", "tidy_test.go"} {
		if _, ok := files[known]; !ok {
			t.Errorf("%s was not read: the walk misses files", known)
		}
	}
	for _, broken := range check(files, modules...) {
		t.Error(broken)
	}
	for _, stray := range strays(files) {
		t.Errorf("%s: no file of server has the name that it begins with", stray)
	}
}

// read gives all Go files below root, and the folders that are modules of their
// own. Folders the go command ignores, and those of npm, are left out.
func read(t *testing.T, root string) (files source, modules []string) {
	t.Helper()
	files = source{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			ignored := name != "." && strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")
			if ignored || base == "testdata" || base == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if base == "go.mod" && name != base {
			modules = append(modules, path.Dir(name))
		}
		if path.Ext(base) == ".go" {
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
			files[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, modules
}

// lines is a function body of n lines.
func lines(n int) string { return strings.Repeat("\t_ = 0\n", n) }

// ours begins the import paths of our own packages.
const ours = modulePath + "/"

// on is a documented package with one import.
func on(file, imported string) source {
	pkg := path.Base(path.Dir(file))
	return source{file: "// Package " + pkg + " is a sample.\npackage " + pkg + "\n\nimport _ \"" + imported + "\"\n"}
}

// TestTidyRules shows the checker good and bad samples.
func TestTidyRules(t *testing.T) {
	const doc = "// Package a is a sample.\npackage a\n\n"
	tests := []struct {
		name  string
		files source
		want  string // in the one line reported; empty: nothing is reported
	}{
		{"poller imports easygo", on("poller/a.go", "github.com/mailru/easygo/netpoll"), ""},
		{"a folder of poller imports x/sys", on("poller/simnet/a.go", "golang.org/x/sys/unix"), ""},
		{"server imports x/sys", on("server/conn_a.go", "golang.org/x/sys/unix"), "must not import"},
		{"a test of server imports x/sys", on("server/conn_a_test.go", "golang.org/x/sys/unix"), "must not import"},
		{"ws imports gobwas", on("ws/a.go", "github.com/gobwas/ws/wsflate"), ""},
		{"server imports gobwas", on("server/conn_a.go", "github.com/gobwas/ws"), "must not import"},
		{"wsutil is not ws", on("wsutil/a.go", "github.com/gobwas/ws"), "must not import"},
		{"a peer's module", on("server/conn_a_test.go", "github.com/gorilla/websocket"), "must not import"},
		{"the module of the examples", on("server/conn_a_test.go", ours+"examples/internal/program"), "must not import"},
		{"the module of the peers", on("server/conn_a_test.go", ours+"interop"), "must not import"},
		{"poller imports ws", on("poller/a.go", ours+"ws"), "must not import"},
		{"simnet imports poller", on("poller/simnet/a.go", ours+"poller"), ""},
		{"ws imports poller", on("ws/a.go", ours+"poller/simnet"), "must not import"},
		{"ws imports server", on("ws/a.go", ours+"server"), "must not import"},
		{"poller imports server", on("poller/a_test.go", ours+"server"), "must not import"},
		{"server imports both", on("server/conn_a.go", ours+"ws"), ""},
		{"buffer imports ws", on("internal/buffer/a.go", ours+"ws"), "must not import"},
		{"ws imports asynclog", on("ws/a.go", ours+"asynclog"), "must not import"},
		{"ws imports proxyproto", on("ws/a.go", ours+"proxyproto"), "must not import"},
		{"server imports bench", on("server/conn_a.go", ours+"bench"), "must not import"},
		{"cmd imports bench", on("cmd/millbench/a.go", ours+"bench"), ""},
		{"bench imports cmd", on("bench/a.go", ours+"cmd/millrace"), "must not import"},
		{"cmd imports itself", on("cmd/a/a.go", ours+"cmd/b"), ""},
		{"unsafe in poller", on("poller/a.go", "unsafe"), ""},
		{"unsafe in ws", on("ws/a.go", "unsafe"), "must not import"},
		{"cgo", on("poller/a.go", "C"), "must not import"},
		{"the standard library", on("internal/buffer/a.go", "net/http"), ""},

		{"70 lines", source{"a/a.go": doc + "func a() {\n" + lines(68) + "}\n"}, ""},
		{"71 lines", source{"a/a.go": doc + "func a() {\n" + lines(69) + "}\n"}, "a has 71 lines"},
		{"71 lines in a test", source{"a/a_test.go": doc + "func a() {\n" + lines(69) + "}\n"}, "a has 71 lines"},
		{"400 lines", source{"a/a.go": doc + strings.Repeat("//\n", 397)}, ""},
		{"401 lines", source{"a/a.go": doc + strings.Repeat("//\n", 398)}, "401 lines"},
		{"401 lines in a test", source{"a/a_test.go": doc + strings.Repeat("//\n", 398)}, ""},
		{"no package doc", source{"a/a.go": "package a\n"}, "no doc comment"},
		{"a package doc in another file", source{"a/a.go": "package a\n", "a/doc.go": doc}, ""},
		{"a package doc in a test only", source{"a/a.go": "package a\n", "a/a_test.go": doc}, "no doc comment"},
		{"a license is no package doc", source{"a/a.go": "// Copyright someone.\npackage a\n"}, "no doc comment"},
		{"norace", source{"a/a.go": doc + "//go:norace\nfunc a() {}\n"}, "hides a race"},
		{"TODO alone", source{"a/a.go": doc + "// TODO\nvar a int\n"}, "what and why"},
		{"TODO in a few words", source{"a/a.go": doc + "// TODO(me): fix this\nvar a int\n"}, "what and why"},
		{"TODO with its reason", source{"a/a.go": doc + "// TODO: sort by size, since most are small.\nvar a int\n"}, ""},
		{"a chapter", on("server/conn_a.go", "fmt"), ""},
		{"no chapter", on("server/turn_a.go", "fmt"), "no chapter"},
		{"package util", on("util/a.go", "fmt"), "says nothing"},
		{"a test of package helpers", source{"a/a_test.go": "package helpers_test\n"}, "says nothing"},
		{"no Go", source{"a/a.go": "pakcage a\n"}, "expected 'package'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := check(tt.files)
			if tt.want == "" && len(got) > 0 {
				t.Errorf("reported %q, want nothing", got)
			}
			if tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("reported %q, want one line with %q", got, tt.want)
			}
		})
	}
}

// TestTidyStrays shows where a test of server stands beside what it tests.
func TestTidyStrays(t *testing.T) {
	const text = "package server\n"
	got := strays(source{
		"server/conn.go": text, "server/conn_send.go": text, "server/loop_worker.go": text, "ws/head_odd_test.go": text,
		"server/conn_test.go": text, "server/conn_send_test.go": text, "server/conn_send_large_test.go": text, "server/conn_odd_test.go": text,
		"server/loop_worker_test.go": text, "server/loop_bench_test.go": text, "server/harness_client_test.go": text, "server/chaos_test.go": text,
		"server/loop_odd_test.go": text, "server/loop_work_test.go": text, "server/loop_test.go": text, "server/mux_odd_bench_test.go": text,
	})
	want := []string{"server/loop_odd_test.go", "server/loop_test.go", "server/loop_work_test.go", "server/mux_odd_bench_test.go"}
	if !slices.Equal(got, want) {
		t.Errorf("stray tests %q, want %q", got, want)
	}
}

// TestTidyLoop: who runs when knows nothing of what runs, and nobody but the server
// knows it.
func TestTidyLoop(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files source
		want  string // as above
	}{
		{"the loop imports poller", on("internal/loop/a.go", ours+"poller"), ""},
		{"the loop imports ws", on("internal/loop/a.go", ours+"ws"), "must not import"},
		{"the loop imports server", on("internal/loop/a_test.go", ours+"server"), "must not import"},
		{"the loop imports net/http", on("internal/loop/a.go", "net/http/httptest"), "must not import"},
		{"the loop imports crypto/tls", on("internal/loop/a.go", "crypto/tls"), "must not import"},
		{"server imports the loop", on("server/conn_a.go", ours+"internal/loop"), ""},
		{"bench imports the loop", on("bench/a.go", ours+"internal/loop"), "must not import"},
	} {
		got := check(tt.files)
		if (len(got) > 0) != (tt.want != "") || len(got) > 0 && !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: reported %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestTidyModules shows that a module of its own may import what it likes, and
// that the other rules hold there too.
func TestTidyModules(t *testing.T) {
	const text = "package util\n\nimport _ \"github.com/gorilla/websocket\"\n"
	got := check(source{"interop/a_test.go": text, "interop2/a_test.go": text}, "interop")
	isImport := func(s string) bool {
		return strings.HasPrefix(s, "interop2/") && strings.Contains(s, "must not import")
	}
	if len(got) != 3 || !slices.ContainsFunc(got, isImport) {
		t.Errorf("reported %q, want both names and the import of interop2", got)
	}
}

// TestTidyInternal shows that internal is a folder above packages, as the go
// command knows it, and no package.
func TestTidyInternal(t *testing.T) {
	const text = "// Package a is a sample.\npackage a\n"
	got := check(source{"internal/a/a.go": text, "ws/internal/a/a.go": text, "internal/a.go": text})
	if len(got) != 1 || !strings.HasPrefix(got[0], "internal/a.go: ") || !strings.Contains(got[0], "says nothing") {
		t.Errorf("reported %q, want the package in the folder itself", got)
	}
}

// TestTidyRooms shows what may enter the rooms behind bench.
func TestTidyRooms(t *testing.T) {
	for _, tt := range []struct {
		importer, imported string
		may                bool
	}{
		{"internal/report", "bench", true},
		{"internal/compare", "internal/report", true},
		{"cmd/millbench/internal/cli", "internal/compare", true},
		{"bench", "internal/load", true},
		{"bench/echo", "internal/load", false},
		{"internal/load", "bench/result", true},
		{"internal/load", "internal/process", true},
		{"bench", "internal/report", false},
		{"internal/process", "bench", false},
		{"internal/report", "internal/compare", false},
		{"server", "internal/process", false},
		{"cmd/millrace/serve", "internal/flags", true},
		{"server", "internal/flags", false},
		{"server", "internal/outqueue", true},
		{"internal/outqueue", "ws", true},
		{"internal/outqueue", "server", false},
		{"internal/outqueue", "poller", false},
		{"internal/outqueue", "internal/loop", false},
		{"bench", "internal/outqueue", false},
		{"server", "internal/netconn", true},
		{"internal/netconn", "internal/tlsrecord", true},
		{"internal/netconn", "server", false},
		{"internal/netconn", "ws", false},
		{"internal/netconn", "poller", false},
		{"internal/netconn", "internal/loop", false},
		{"internal/netconn", "net/http", true},
		{"internal/loop", "internal/netconn", false},
		{"internal/wsload", "cmd/millbench/internal/cli", false},
	} {
		if may := allowed(tt.importer, ours+tt.imported); may != tt.may {
			t.Errorf("%s may import %s: %v, want %v", tt.importer, tt.imported, may, tt.may)
		}
	}
}
