package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rss is the resident memory of a process in bytes.
func rss(t *testing.T, p *process) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// unfinished opens connections that send the first part of a message each.
func unfinished(t *testing.T, addr string, conns, part, whole int) []*client {
	t.Helper()
	clients := make([]*client, conns)
	for i := range clients {
		clients[i] = open(t, addr)
		_, _ = clients[i].Write(append(header(fin|opBinary, whole), make([]byte, part)...)) // it may be cut
	}
	return clients
}

// waitUntil waits for what must come in a minute.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a minute went by without: %s", what)
		}
	}
}

// TestPeakIsGivenBack: the memory of a peak is with the system again within a minute.
func TestPeakIsGivenBack(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: the garbage collector takes its time")
	}
	t.Parallel()
	const conns, part, whole = 150, 900_000, 1_000_000
	p := serve(t, nil)
	open(t, p.addr)
	before := rss(t, p)
	clients := unfinished(t, p.addr, conns, part, whole)
	waitUntil(t, "the peak", func() bool { return rss(t, p) > before+conns*part })
	for _, c := range clients {
		c.write(make([]byte, whole-part))
		c.expect(opBinary, string(make([]byte, whole)))
	}
	waitUntil(t, fmt.Sprintf("the peak of %d bytes is given back", conns*part), func() bool { return rss(t, p) < before+(24<<20) })
}

// TestControlGroup: in a control group of 64 MiB and without GOMEMLIMIT, 200 peers
// with an unfinished message of 600 KB each do not bring the server down, nor cut
// who sends in time.
func TestControlGroup(t *testing.T) {
	t.Parallel()
	group := controlGroup(t, 64<<20)
	p := serveIn(t, group)
	unfinished(t, p.addr, 200, 600_000, 1_000_000)
	c := open(t, p.addr)
	message := strings.Repeat("in time", 10_000)
	c.send(fin|opBinary, message)
	c.expect(opBinary, message)
	if used := rss(t, p); used > 64<<20 {
		t.Errorf("%d bytes are resident", used)
	}
	p.end()
	if log := p.stderr.String(); !strings.Contains(log, `msg="memory limit set" bytes=60397977`) || !strings.Contains(log, "limit=inbound") {
		t.Errorf("the log says %s", log)
	}
}

// controlGroup makes a control group with a memory limit below the test's own.
func controlGroup(t *testing.T, limit int) (dir string) {
	t.Helper()
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skipf("no control groups: %v", err)
	}
	parent, file := "", ""
	for line := range strings.Lines(string(groups)) {
		switch parts := strings.SplitN(strings.TrimSpace(line), ":", 3); {
		case parts[1] == "memory":
			parent, file = filepath.Join("/sys/fs/cgroup/memory", parts[2]), "memory.limit_in_bytes"
		case parts[1] == "" && parent == "":
			parent, file = filepath.Join("/sys/fs/cgroup", parts[2]), "memory.max"
		}
	}
	dir = filepath.Join(parent, fmt.Sprintf("millrace-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) }) // its process has ended
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0); err != nil {
		t.Skipf("a control group's memory can not be limited here: %v", err)
	}
	return dir
}
