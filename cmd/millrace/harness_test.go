package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// program is the command, built once for all tests.
var program string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "millrace-test-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }() // in the system's temporary folder anyway
		err = os.Chmod(dir, 0o755)               // a test runs it as another user
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(dir, "millrace")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// command is the binary with these arguments and no MILLRACE_ variables but those
// in env.
func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MILLRACE_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// runToEnd runs the binary until it exits by itself.
func runToEnd(t *testing.T, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return finish(t, command(ctx, env, args...))
}

func finish(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// process is a running "millrace serve".
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string // host:port it listens on
	admin  string // the same of --admin
	stderr bytes.Buffer
	exited chan struct{} // after it, stderr may be read
}

// serve starts "millrace serve" on a free port of 127.0.0.1 and waits until it
// says that it listens. It ends with the test.
func serve(t *testing.T, env []string, flags ...string) *process {
	t.Helper()
	return serveTo(t, nil, env, flags...)
}

// spoken is what a process has said on stderr so far, for serveTo.
type spoken struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// said is all of it.
func (s *spoken) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// expect waits until it has said something.
func (s *spoken) expect(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		said := s.said()
		switch {
		case strings.Contains(said, text):
			return
		case time.Now().After(end):
			t.Fatalf("it has said %q, want %q", said, text)
		}
	}
}

// serveTo is serve with another stderr, unless that is nil.
func serveTo(t *testing.T, stderr io.Writer, env []string, flags ...string) *process {
	t.Helper()
	return start(t, command(context.Background(), env, serveArgs(flags)...), stderr, flags)
}

// serveArgs are those of "millrace serve", on a free port unless the flags say where.
func serveArgs(flags []string) []string {
	if slices.Contains(flags, "--listen") {
		return append([]string{"serve"}, flags...)
	}
	return append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...)
}

// serveIn is serve in a control group.
func serveIn(t *testing.T, group string, flags ...string) *process {
	t.Helper()
	cmd := command(context.Background(), nil)
	cmd.Path = "/bin/sh"
	cmd.Args = append([]string{"sh", "-c", `echo $$ > "$1/cgroup.procs" && shift && exec "$@"`, "sh", group, program}, serveArgs(flags)...)
	return start(t, cmd, nil, flags)
}

// start starts a command that runs "millrace serve".
func start(t *testing.T, cmd *exec.Cmd, stderr io.Writer, flags []string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, exited: make(chan struct{})}
	if p.cmd.Stderr = stderr; stderr == nil {
		p.cmd.Stderr = &p.stderr
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	lines := make(chan string, 2)
	go func() {
		r := bufio.NewReader(stdout)
		for range cap(lines) {
			text, _ := r.ReadString('\n') // a line that is cut short does not fit
			lines <- text
		}
		_, _ = io.Copy(io.Discard, r) // ends with the process
		_ = p.cmd.Wait()              // its status is in ProcessState
		close(p.exited)
	}()
	scheme := "http"
	if slices.Contains(flags, "--tls-cert") {
		scheme = "https"
	}
	p.addr = p.expectLine(lines, "listening on "+beginningOf(flags, "--listen", scheme))
	if slices.Contains(flags, "--admin") {
		p.admin = p.expectLine(lines, "admin on "+beginningOf(flags, "--admin", "http"))
	}
	return p
}

// beginningOf is how the address that a flag gives is shown, up to the address itself.
func beginningOf(flags []string, flag, scheme string) string {
	if i := slices.Index(flags, flag); i >= 0 && strings.HasPrefix(flags[i+1], "unix:") {
		return "unix:"
	}
	return scheme + "://"
}

// expectLine waits for a line on stdout and gives what is behind its beginning.
func (p *process) expectLine(lines <-chan string, beginning string) (rest string) {
	p.t.Helper()
	select {
	case text := <-lines:
		rest, ok := strings.CutPrefix(text, beginning)
		if !ok {
			_ = p.cmd.Process.Kill() // it may have exited
			<-p.exited
			p.t.Fatalf("it said %q on stdout and %q on stderr, want %q", text, p.stderr.String(), beginning)
		}
		return strings.TrimSpace(rest)
	case <-time.After(patience):
		p.t.Fatalf("it does not say %q", beginning)
	}
	return ""
}

func (p *process) end() {
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.exited
	if p.t.Failed() {
		p.t.Logf("stderr of %v:\n%s", p.cmd.Args, p.stderr.String())
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// status waits for the exit and gives its status and the text on stderr.
func (p *process) status() (status int, stderr string) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("it does not exit")
	}
	return p.cmd.ProcessState.ExitCode(), p.stderr.String()
}

// expectStatus waits for the exit, and fails the test for another status or when
// stderr does not have the text.
func (p *process) expectStatus(want int, text string) {
	p.t.Helper()
	if got, stderr := p.status(); got != want || !strings.Contains(stderr, text) {
		p.t.Errorf("exit status %d, stderr %q; want %d and %q in it", got, stderr, want, text)
	}
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// tempFile makes a file with a text.
func tempFile(t *testing.T, name, text string) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), name), []byte(text))
}

// asking sends a request with a body and header fields; Host is one of them.
func asking(t *testing.T, method, url, body string, fields ...string) (status int, header http.Header, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Add(name, value)
	}
	r.Close = true
	resp, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}
