package interop_test

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// millrace is the binary, running.
type millrace struct {
	*exec.Cmd
	addr, admin string // where it listens
}

// buildMillrace builds the binary into a folder of the test's; go's cache makes
// that quick.
func buildMillrace(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "millrace")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/millrace")
	cmd.Dir = ".." // its module
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// startMillrace runs "millrace serve" with --admin among its flags, until the test
// ends.
func startMillrace(t *testing.T, flags ...string) *millrace {
	t.Helper()
	m := &millrace{Cmd: exec.Command(buildMillrace(t), append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...)...)}
	stdout, err := m.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	m.Stderr = &stderr
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Process.Kill() // it may have exited
		_ = m.Wait()         // it was killed
		if t.Failed() {
			t.Logf("%v:\n%s", m.Args, stderr.String())
		}
	})
	watchdog := time.AfterFunc(patience, func() { _ = m.Process.Kill() }) // and the lines end
	defer watchdog.Stop()
	r := bufio.NewReader(stdout)
	m.addr, m.admin = lineAfter(t, r, "listening on http://"), lineAfter(t, r, "admin on http://")
	return m
}

// lineAfter reads a line and gives what is behind its beginning.
func lineAfter(t *testing.T, r *bufio.Reader, beginning string) string {
	t.Helper()
	line, err := r.ReadString('\n')
	rest, ok := strings.CutPrefix(line, beginning)
	if !ok {
		t.Fatalf("it said %q, %v, want %q", line, err, beginning)
	}
	return strings.TrimSpace(rest)
}
