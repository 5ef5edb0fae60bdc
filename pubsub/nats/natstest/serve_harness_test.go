package natstest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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

// The tests of "millrace serve": the program itself, on servers of NATS.

// natsProgram is set in a process that is nats-server, with its arguments.
const natsProgram = "MILLRACE_TEST_NATS_SERVER"

// programs is the folder of the programs, which are made when a test needs them.
var programs string

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "millrace-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the system's temporary folder anyway
	programs = dir
	return m.Run()
}

// buildPrograms builds millrace, and makes nats-server of this very program.
var buildPrograms = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", filepath.Join(programs, "millrace"), "./cmd/millrace")
	cmd.Dir = "../../.." // its module
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", natsProgram, self)
	return os.WriteFile(filepath.Join(programs, "nats-server"), []byte(script), 0o755)
})

// serveCommand is "millrace serve", with no variables of ours.
func serveCommand(t testing.TB, flags ...string) *exec.Cmd {
	t.Helper()
	if err := buildPrograms(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programs, "millrace"), append([]string{"serve"}, flags...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MILLRACE_") })
	return cmd
}

// text is what a process writes.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// served is a running "millrace serve".
type served struct {
	t      testing.TB
	cmd    *exec.Cmd
	addr   string // of topics
	admin  string
	log    text
	exited chan struct{}
}

// startServe starts one with topics, on free ports unless the flags say where.
func startServe(t testing.TB, flags ...string) *served {
	t.Helper()
	if !slices.Contains(flags, "--listen") {
		flags = append([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, flags...)
	}
	s := &served{t: t, cmd: serveCommand(t, append(flags, "--topics")...), exited: make(chan struct{})}
	s.cmd.Stderr = &s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%v:\n%s", s.cmd.Args, s.log.String())
		}
	})
	watchdog := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() }) // and the lines end
	defer watchdog.Stop()
	r := bufio.NewReader(stdout)
	line := func(beginning string) string {
		text, err := r.ReadString('\n')
		rest, ok := strings.CutPrefix(text, beginning)
		if !ok {
			t.Fatalf("it said %q, %v, want %q\n%s", text, err, beginning, s.log.String())
		}
		return strings.TrimSpace(rest)
	}
	s.addr, s.admin = line("listening on http://"), line("admin on http://")
	go func() {
		_, _ = io.Copy(io.Discard, r) // ends with the process
		_ = s.cmd.Wait()              // its status is in ProcessState
		close(s.exited)
	}()
	return s
}

// end sends a signal and waits for the end.
func (s *served) end(signal os.Signal) {
	s.t.Helper()
	_ = s.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		s.t.Errorf("%v does not end", s.cmd.Args)
	}
}

// serveFails runs one that can't start, and gives its error.
func serveFails(t testing.TB, flags ...string) string {
	t.Helper()
	cmd := serveCommand(t, append([]string{"--listen", "127.0.0.1:0", "--topics", "--log-level", "error"}, flags...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v: %v, want status 1; %s", flags, err, stderr.String())
	}
	return strings.TrimSuffix(stderr.String(), "\n")
}

// ask sends a request with header lines, and gives the answer behind its status.
func ask(t testing.TB, method, url, body string, lines ...string) string {
	t.Helper()
	answer, err := tryAsk(t.Context(), method, url, body, lines...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func tryAsk(ctx context.Context, method, url, body string, lines ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(text)), err
}

// askFor asks until the answer has a text in it.
func askFor(t testing.TB, want, method, url, body string, lines ...string) (answer string) {
	t.Helper()
	eventually(t, method+" "+url+": "+want, func() bool {
		got, err := tryAsk(t.Context(), method, url, body, lines...)
		answer = got
		return err == nil && strings.Contains(got, want)
	})
	return answer
}

// nodesOf is what /debug/nodes shows.
func nodesOf(t testing.TB, s *served) (report struct {
	Partial bool
	NATS    struct {
		Connected   bool
		Error       string
		StreamFound bool   `json:"stream_found"`
		StreamError string `json:"stream_error"`
	}
	Nodes []struct {
		ID          string
		Version     string
		Connections int64
		Draining    bool
		Gone        bool
	}
}) {
	t.Helper()
	text, ok := strings.CutPrefix(ask(t, "GET", "http://"+s.admin+"/debug/nodes", ""), "200 ")
	if !ok {
		t.Fatal(text)
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	return report
}
