package cli_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

// expectFiles: the folder has these and no others.
func expectFiles(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}

// expectContent: the file has these words.
func expectContent(t *testing.T, path string, words ...string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range words {
		if !strings.Contains(string(content), word) {
			t.Errorf("%s lacks %q: %.300q", path, word, content)
		}
	}
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	s := newStage()
	s.result.Service = result.NewLatency()
	s.result.Service.Record(time.Millisecond)
	s.result.Skew = result.NewLatency() // empty: there is none
	s.expect(t, 0, []string{"rate", "--json", in("r.json"), "--hgrm", in("r.a.hgrm"), "--report", in("r.html")})
	expectFiles(t, folder, "r.json", "r.a.hgrm", "r.a-service.hgrm", "r.html")
	expectContent(t, in("r.json"), `"scenario": "rate"`)
	expectContent(t, in("r.json"), `"command": "millbench rate --json `)
	expectContent(t, in("r.html"), "millbench rate --json ")
	expectContent(t, in("r.a.hgrm"), "Percentile", " 2000.")
	expectContent(t, in("r.a-service.hgrm"), "Percentile", " 1000.")
	expectContent(t, in("r.html"), "<svg", "</html>")
	want := fmt.Sprintf("\nwritten: %s, %s, %s, %s\n", in("r.json"), in("r.a.hgrm"), in("r.a-service.hgrm"), in("r.html"))
	if !strings.HasSuffix(s.stdout.String(), want) {
		t.Errorf("stdout %q, want %q at its end", s.stdout.String(), want)
	}

	s = newStage()
	s.result.Skew = result.NewLatency()
	s.result.Skew.Record(time.Millisecond)
	s.expect(t, 0, []string{"broadcast", "--hgrm", in("noext"), "--quiet"})
	expectContent(t, in("noext-skew"), "Percentile")

	s.expect(t, 0, []string{"echo", "--json", "-", "--quiet"})
	if r, err := report.ReadJSON(&s.stdout); err != nil || r.Plan.Scenario != "echo" {
		t.Errorf("stdout is no result of echo: %v", err)
	}
}

// TestFileKept: a file that is there is replaced at the end, if there is a
// result, and keeps its mode; a link to it stays one.
func TestFileKept(t *testing.T) {
	folder := t.TempDir()
	path, link := filepath.Join(folder, "r.json"), filepath.Join(folder, "link.json")
	write(t, path, "before", 0o640)
	if err := os.Symlink("r.json", link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	s := newStage()
	s.perform = func(context.Context, bench.Watch) { expectContent(t, path, "before") }
	s.err = io.ErrUnexpectedEOF
	s.expect(t, 1, []string{"echo", "--json", link})
	expectFiles(t, folder, "r.json", "link.json")
	expectContent(t, path, "before")

	s.err = nil
	s.expect(t, 0, []string{"echo", "--json", link})
	expectFiles(t, folder, "r.json", "link.json")
	expectContent(t, path, `"plan"`)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 && runtime.GOOS != "windows" {
		t.Errorf("the mode became %v, %v", info.Mode(), err)
	}
}

// TestUnwritable: what can't be written is told before the run, and nothing is
// left of what could.
func TestUnwritable(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	good := []string{"echo", "--json", in("r.json")}
	expectMisuse(t, append(good, "--hgrm", in("none/r.hgrm")), "--hgrm: open "+in("none/r.hgrm")+": ")
	expectMisuse(t, append(good, "--report", folder), "--report: "+folder+" is a folder")
	expectMisuse(t, append(good, "--report", in("./r.json")), "--report: "+in("./r.json")+" is the file of --json")
	expectMisuse(t, append(good, "--report", in("r.json/r.html")), "--report: ")
	expectFiles(t, folder)

	write(t, in("protected"), "", 0o400)
	if f, err := os.OpenFile(in("protected"), os.O_WRONLY, 0); err == nil {
		_ = f.Close()
		t.Skip("may write files that are protected, as root may")
	}
	expectMisuse(t, append(good, "--report", in("protected")), "--report: ", "permission denied")
	expectFiles(t, folder, "protected")
}

// TestPipe: what is no regular file is written in place.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	path := fmt.Sprintf("/dev/fd/%d", w.Fd())
	if _, err := os.Stat(path); err != nil {
		t.Skip("no names for descriptors here: ", err)
	}
	s := newStage()
	s.result.Service = s.result.Latency
	s.expect(t, 0, []string{"rate", "--hgrm", path, "--quiet"})
	_ = w.Close()
	content, err := io.ReadAll(r)
	if err != nil || strings.Count(string(content), "SubBuckets") != 1 {
		t.Errorf("through the pipe came %q, %v", content, err)
	}
}

// TestFileLost: a file that can't be put in its place after all is an error, and
// the others are written.
func TestFileLost(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	s := newStage()
	s.perform = func(context.Context, bench.Watch) {
		if err := os.MkdirAll(in("r.json/full"), 0o755); err != nil {
			t.Error(err)
		}
	}
	s.expect(t, 1, []string{"echo", "--json", in("r.json"), "--report", in("r.html")}, "millbench echo: --json: ")
	expectFiles(t, folder, "r.json", "r.html")
	if !strings.Contains(s.stdout.String(), "round trip") {
		t.Errorf("no summary: %q", s.stdout.String())
	}
}
