package compare_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/compare"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// program is this test binary.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// fake gives a server for --servers, this test binary.
func fake(t *testing.T, name, behaviour string, args ...string) string {
	t.Helper()
	return fmt.Sprintf("%s='%s' serve LISTEN %s %s", name, program(t), behaviour, strings.Join(args, " "))
}

// run calls the command, on all CPUs.
func run(ctx context.Context, servers []string, flags ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	args := append([]string{"--servers", strings.Join(servers, ","), "--warmup", "250ms", "--duration", "1s",
		"--server-cpus", "all", "--client-cpus", "all"}, flags...)
	status = compare.Main(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

// expect fails the test for each text that is not there.
func expect(t *testing.T, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("no %q in\n%s", text, got)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCompare runs two servers with all that can be shown of them.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	const kept = "\n<!-- From this line on a comparison changes nothing. -->\n\n## Kept\n\nby hand\n"
	if err := os.WriteFile(at("c.md"), []byte("an older comparison\n"+kept), 0o644); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := run(t.Context(),
		[]string{fake(t, "one", "answer", "1000", "4"), fake(t, "two", "answer", "500", "5")},
		"--scenarios", "echo-100", "--reps", "6", "--bars",
		"--json", at("c.json"), "--report", at("c.html"), "--markdown", at("c.md"), "--pictures", at("pictures/deep"))
	if status != 0 {
		t.Fatalf("exit status %d, stderr:\n%s", status, stderr)
	}
	expect(t, stderr, "12 runs, at least 15s", "echo-100, 2 of 6: two: rate 500 /s, cpu 5 us")
	text := []string{
		"| server | rate | to one | cpu | to one | p50 | to one | p99 | to one | runs | failed |",
		"| one | 1,000 /s | | 4 us | | 1 ms | | 1 ms | | 6 | 0 |",
		"| two | 500 /s | **0.50x [0.50, 0.50] worse** | 5 us | **1.25x [1.25, 1.25] worse** | - | - | - | - | 6 | 0 |",
		"Of 2 ratios 2 are decided.", "a fake · 2 cores · none · go0", "## echo-100: echo 64 B, 100 connections", "`millbench echo --connections 100 --size 64`",
	}
	for _, line := range text {
		expect(t, squeeze(read(t, at("c.md"))), line)
	}
	if md := read(t, at("c.md")); !strings.HasSuffix(md, kept) || strings.Contains(md, "older") {
		t.Errorf("the markdown file does not keep what is to stay, and that alone:\n%s", md)
	}
	expect(t, squeeze(stdout), "a fake · 2 cores · none · go0", "echo-100: echo 64 B, 100 connections millbench echo --connections 100 --size 64",
		"server rate, /s ratio verdict interval runs one 1,000 6 two 500 0.50x worse 0.50 to 0.50 6",
		"server cpu, us ratio verdict interval runs one 4.00 6 two 5.00 1.25x worse 1.25 to 1.25 6", "server p50, ms ratio verdict interval runs one 1.00 6 two - - - 6")
	fits(t, stdout)
	expect(t, read(t, at("c.md")), "(pictures/deep/echo-100-rate.svg)", "(pictures/deep/echo-100-cpu.svg)")
	if strings.Contains(stdout, ".svg") {
		t.Errorf("a picture is linked on stdout:\n%s", stdout)
	}
	page := read(t, at("c.html"))
	expect(t, page, `<td class="tells">0.50x</td><td class="left tells">worse</td><td class="soft">0.50 to 0.50</td>`,
		"<th scope=\"col\">rate, /s</th><th scope=\"col\">to one</th>", "a click selects it all")
	if strings.Contains(stdout+page, "The bars") { // none is for these servers
		t.Errorf("bars in\n%s", stdout)
	}
	if n := strings.Count(page, "<svg"); n != 4*2 {
		t.Errorf("%d charts on the page, want one for each known figure and kind of screen, 8", n)
	}
	wellFormed(t, read(t, at("pictures/deep/echo-100-cpu.svg")))

	var c compare.Comparison
	if err := json.Unmarshal([]byte(read(t, at("c.json"))), &c); err != nil {
		t.Fatal(err)
	}
	interleaved(t, c.Scenarios[0].Runs)
}

// fits wants no line wider than a terminal.
func fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}

// squeeze makes runs of blanks one.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func wellFormed(t *testing.T, text string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}

// interleaved wants the servers to take turns, forth and back, each time in a
// process of its own.
func interleaved(t *testing.T, runs []compare.Run) {
	t.Helper()
	var order strings.Builder
	processes := map[float64]bool{}
	for _, r := range runs {
		fmt.Fprintf(&order, "%s%d ", r.Server, r.Repetition)
		processes[r.Figures["server-cores"]] = true
	}
	const want = "one1 two1 two2 one2 one3 two3 two4 one4 one5 two5 two6 one6 "
	if order.String() != want {
		t.Errorf("order %q, want %q", order.String(), want)
	}
	if len(processes) != len(runs) {
		t.Errorf("%d processes served %d runs", len(processes), len(runs))
	}
}

// TestUntil repeats until a verdict stands, and no further, or until the time is up:
// then it says how much longer it would need.
func TestUntil(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	status, stdout, stderr := run(t.Context(),
		[]string{fake(t, "one", "answer", "1000", "4"), fake(t, "two", "answer", "1020", "5"), fake(t, "wild", "wild", "1000", "4")},
		"--scenarios", "echo-100", "--reps", "2", "--until", "3 %", "--at-most", "20s", "--json", file) // a slow machine starts three servers a second
	if status != 0 {
		t.Fatalf("exit status %d, stderr:\n%s", status, stderr)
	}
	expect(t, stderr, "at most 20s\n", "echo-100, 9: two: rate")
	expect(t, squeeze(stdout), "Of 4 ratios 2 are decided, 2 would need longer: up to ", "two 1,020 1.02x equal 1.02 to 1.02 ", "two 5.00 1.25x worse 1.25 to 1.25 ", " ? ", "95 % confidence interval (of 99.4 % at each look at it, so that all looks have 95 %)", "Better and worse are by more than 3 %")
	var c compare.Comparison
	if err := json.Unmarshal([]byte(read(t, file)), &c); err != nil {
		t.Fatal(err)
	}
	sc := c.Scenarios[0]
	if v := sc.Summary[8].Verdict; sc.Summary[8].Server != "wild" || v.Says != "" || v.Needs == 0 {
		t.Errorf("%+v: want a wild one's rate, undecided", sc.Summary[8])
	}
	if sc.Took > 30*time.Second || len(sc.Runs) < 3*9 {
		t.Errorf("%d runs in %v, want nine of each server or more, and 20 seconds at most", len(sc.Runs), sc.Took)
	}
}

// TestThrownAway: slices in which the client could not run are thrown away and counted.
// A server all of whose slices are has nothing to show.
func TestThrownAway(t *testing.T) {
	good := fake(t, "one", "answer", "1000", "4")
	file := filepath.Join(t.TempDir(), "c.json")
	status, stdout, stderr := run(t.Context(), []string{good, strings.Replace(good, "one", "two/kept", 1), strings.Replace(good, "one", "gone/taken", 1)},
		"--scenarios", "echo-100,fan-1k-100", "--reps", "2", "--slice", "250ms", "--json", file)
	if status != 1 {
		t.Errorf("exit status %d, want 1, stderr:\n%s", status, stderr)
	}
	expect(t, squeeze(stdout), "- without fan-1k-100: one, to which ratios are, takes no part", "two 1,000 1.00x not decided (1.00 to 1.00) 2 ", "gone - - - 0 ",
		"- two: 4 of 8 slices were thrown away, as when the client was kept from running for 50 % of the time",
		"- gone: 8 of 8 slices were thrown away, as when the client was kept from running for 60 % of the time")
	if strings.Contains(stdout, "gone: 2 of 2 runs failed") {
		t.Errorf("a run is called failed that was thrown away:\n%s", stdout)
	}
	var c compare.Comparison
	if err := json.Unmarshal([]byte(read(t, file)), &c); err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Scenarios[0].Runs {
		if r.Server == "two" && (len(r.Slices) != 4 || r.Slices[0].ThrownAway != "" || r.Slices[1].ThrownAway == "" || r.Slices[1].Figures != nil) {
			t.Errorf("slices %+v, want every other one thrown away", r.Slices)
		}
	}
}

// TestUnknownFigures: a comparison in which a figure is known of no server is not good,
// and says so.
func TestUnknownFigures(t *testing.T) {
	good, untimed, other := fake(t, "good", "answer", "1000", "4"), fake(t, "untimed", "answer", "500", "4"), fake(t, "other", "answer", "500", "4")
	const remark = "- not known of any server: p50, p99 "
	status, stdout, _ := run(t.Context(), []string{untimed, other}, "--scenarios", "echo-100", "--reps", "1")
	if expect(t, squeeze(stdout)+" ", remark); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if status, stdout, _ = run(t.Context(), []string{untimed, good}, "--scenarios", "echo-100", "--reps", "1"); status != 0 || strings.Contains(stdout, "not known") {
		t.Errorf("exit status %d, want 0, though one server tells all:\n%s", status, stdout)
	}
}

// TestNothingCameBack: a slice in which nothing came back is one with a rate of 0, and
// a run of such slices fails.
func TestNothingCameBack(t *testing.T) {
	good := fake(t, "one", "answer", "1000", "4")
	file := filepath.Join(t.TempDir(), "c.json")
	status, stdout, stderr := run(t.Context(), []string{good, strings.Replace(good, "one", "two/seldom", 1), strings.Replace(good, "one", "three/mostly", 1)},
		"--scenarios", "echo-100", "--reps", "1", "--slice", "250ms", "--most-stolen", "100%", "--json", file)
	if status != 1 {
		t.Errorf("exit status %d, want 1, stderr:\n%s", status, stderr)
	}
	expect(t, squeeze(stdout), "two 1,000 1.00x ", "- three: 1 of 1 runs failed and are left out: nothing came back in 3 of 4 slices")
	var c compare.Comparison
	if err := json.Unmarshal([]byte(read(t, file)), &c); err != nil {
		t.Fatal(err)
	}
	first := c.Scenarios[0].Runs[1].Slices[0]
	if rate, known := first.Figures["rate"]; first.ThrownAway != "" || !known || rate != 0 {
		t.Errorf("slice %+v, want a rate of 0", first)
	}
}

// TestLongSlices: all slices are longer where a server takes long to answer.
func TestLongSlices(t *testing.T) {
	good := fake(t, "one", "answer", "1000", "4")
	for path, want := range map[string]time.Duration{"": 100 * time.Millisecond, "/late": 400 * time.Millisecond, "/latest": time.Second} {
		file := filepath.Join(t.TempDir(), "c.json")
		status, _, stderr := run(t.Context(), []string{good, strings.Replace(good, "one", "two"+path, 1)},
			"--scenarios", "echo-100", "--reps", "1", "--until", "none", "--slice", "100ms", "--most-stolen", "100%", "--json", file)
		if status != 0 {
			t.Fatalf("exit status %d, stderr:\n%s", status, stderr)
		}
		var c compare.Comparison
		if err := json.Unmarshal([]byte(read(t, file)), &c); err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Scenarios[0].Runs {
			if n := int((time.Second + want - 1) / want); len(r.Slices) != n || r.Slices[0].Measured != want {
				t.Errorf("%s beside %q: %d slices, the first %+v; want %d of %v", r.Server, path, len(r.Slices), r.Slices[0], n, want)
			}
		}
	}
}

// TestBars holds our servers against their bars. The one that takes part in some
// scenarios only has no runs, and no row, in others.
func TestBars(t *testing.T) {
	page := filepath.Join(t.TempDir(), "c.html")
	status, stdout, stderr := run(t.Context(),
		[]string{fake(t, "floor", "answer", "1000", "4"), fake(t, "millrace", "answer", "900", "5"), fake(t, "stalled", "answer", "9", "9")},
		"--scenarios", "echo-100,inflight-16", "--reps", "2", "--bars", "--report", page)
	if status != 0 {
		t.Fatalf("exit status %d, stderr:\n%s", status, stderr)
	}
	text := []string{"cpu, echo-100 floor <= 1.10x 1.25x (1.25, 1.25) over, not certain",
		"rate, inflight-16 floor >= 0.80x 0.90x (0.90, 0.90) PASS, not certain",
		"p99, echo-…0, stalled millrace <= 1.50x - not measured"}
	for _, line := range text {
		expect(t, squeeze(stdout), line)
	}
	fits(t, stdout)
	expect(t, read(t, page), "<h1>The bars</h1>", `<th scope="row">rate, inflight-16</th>`)
	// A repetition goes through all scenarios before the next begins.
	order := []string{"echo-100, 1 of 2: floor", "inflight-16, 1 of 2: floor", "echo-100, 2 of 2: stalled", "inflight-16, 2 of 2: stalled"}
	for i, at := 0, 0; i < len(order); i++ {
		n := strings.Index(stderr[at:], order[i])
		if n < 0 {
			t.Errorf("no %q behind those before it in\n%s", order[i], stderr)
			break
		}
		at += n
	}
}

// TestWsload makes the load by another hand, of servers that really echo.
func TestWsload(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil || runtime.GOOS != "linux" {
		t.Skipf("wsload needs Linux and a C compiler: %v", err)
	}
	file := filepath.Join(t.TempDir(), "c.json")
	status, stdout, stderr := run(t.Context(), []string{fake(t, "millrace", "echo"), fake(t, "refuses", "refuse"), fake(t, "deny", "deny")},
		"--load", "wsload", "--warmup", "1s", "--scenarios", "echo-100,churn-64", "--reps", "1", "--json", file)
	if status != 1 {
		t.Errorf("exit status %d, want 1; stderr:\n%s", status, stderr)
	}
	expect(t, squeeze(stdout), "wsload -m echo -c 100 -s 64 -d 1", "wsload -m churn -d 64", "by wsload",
		"- refuses: 1 of 1 runs failed and are left out: server ended by itself: ",
		"- deny: 1 of 1 runs failed and are left out: client gave no result: exit status 1: wsload: no connection opened")
	var c compare.Comparison
	if err := json.Unmarshal([]byte(read(t, file)), &c); err != nil {
		t.Fatal(err)
	}
	if c.Generator != "wsload" || c.Machine.Cores == 0 {
		t.Errorf("generator %q, machine %+v", c.Generator, c.Machine)
	}
	for i, figures := range [][]string{{"rate", "cpu", "p50", "p99"}, {"rate", "cpu"}} {
		good := c.Scenarios[i].Runs[0]
		for _, name := range figures {
			if good.Figures[name] <= 0 {
				t.Errorf("%s: no %s in %+v", c.Scenarios[i].Name, name, good)
			}
		}
	}
}

// TestFailures runs servers that fail beside one that does not.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	good := fake(t, "good", "answer", "9", "1")
	status, stdout, stderr := run(t.Context(), []string{
		good, fake(t, "refuses", "refuse"), fake(t, "dies", "die"), "absent=/no/such/program LISTEN",
		strings.Replace(good, "good", "silent/silent", 1), strings.Replace(good, "good", "trouble/trouble", 1),
		strings.Replace(good, "good", "lost/lost", 1), strings.Replace(good, "good", "nothing/nothing", 1),
		strings.Replace(good, "good", "slow/slow", 1),
	}, "--scenarios", "echo-100,churn-64", "--reps", "1", "--json", at("c.json"), "--report", at("c.html"))
	if status != 1 {
		t.Errorf("exit status %d, want 1; stderr:\n%s", status, stderr)
	}
	fits(t, stdout)
	expect(t, squeeze(stdout),
		"- refuses: 1 of 1 runs failed and are left out: server ended by itself: exit status 3: no ?[31m<device> ",
		"- dies: 1 of 1 runs failed and are left out: server ended by itself: exit status 3: out of memory ",
		"- absent: 1 of 1 runs failed and are left out: server ended by itself: exit status 127: ",
		"- silent: 1 of 1 runs failed and are left out: client gave no result: exit status 3: can not make churn ",
		"- trouble: 1 of 1 runs failed and are left out: connect to LISTEN (7 times) ",
		"- lost: 1 of 1 runs failed and are left out: 0 connections failed, 2 were lost ",
		"- nothing: 1 of 1 runs failed and are left out: nothing came back ",
		"- slow: 1 of 1 runs were bounded by the client: it is slow ",
		"in round brackets the lowest and the highest")
	expect(t, squeeze(stdout), "good 9.00 1 ", "slow 9.00 1.00x client-bound 1 ", "dies - - - 0 ")
	expect(t, read(t, at("c.html")), "no ?[31m&lt;device&gt;")
	var c compare.Comparison
	if err := json.Unmarshal([]byte(read(t, at("c.json"))), &c); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Scenarios); n != 2 {
		t.Errorf("%d scenarios, want 2: failures must not end the comparison", n)
	}
}

// TestHangs bounds servers that do nothing.
func TestHangs(t *testing.T) {
	_, address := listen(t)
	status, stdout, stderr := run(t.Context(),
		[]string{fake(t, "deaf", "deaf")}, "--scenarios", "idle-15k", "--reps", "1", "--start-limit", "300ms")
	expect(t, squeeze(stdout), "deaf: 1 of 1 runs failed and are left out: server does not listen after 300ms")
	if status != 1 {
		t.Errorf("exit status %d, want 1; stderr:\n%s", status, stderr)
	}
	// The whole run's limit holds before the server listens, too.
	status, stdout, stderr = run(t.Context(),
		[]string{fake(t, "deaf", "deaf"), fake(t, "mute", "mute", address)}, "--scenarios", "echo-1k", "--reps", "1", "--timeout", "500ms")
	expect(t, squeeze(stdout), "deaf: 1 of 1 runs failed and are left out: not done within 500ms", "mute: 1 of 1 runs failed and are left out: not done within 500ms")
	if status != 1 {
		t.Errorf("exit status %d, want 1; stderr:\n%s", status, stderr)
	}
}

func listen(t *testing.T) (ln *net.TCPListener, address string) {
	t.Helper()
	any, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = any.Close() })
	ln = any.(*net.TCPListener)
	if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return ln, ln.Addr().String()
}

// expectEnd wants the process at the other end of c to have ended.
func expectEnd(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a process outlived the comparison")
	}
}

// TestInterrupt stops a comparison in its second round, and sees that what ran
// ends and what is done is shown.
func TestInterrupt(t *testing.T) {
	ln, address := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
		cancel()
	}()
	status, stdout, stderr := run(ctx,
		[]string{fake(t, "good", "answer", "9", "1"), fake(t, "mute", "mute", address, "3")}, "--scenarios", "echo-100,echo-1k")
	if c := <-accepted; c != nil {
		expectEnd(t, c)
	}
	if status != 1 {
		t.Errorf("exit status %d, want 1; stderr:\n%s", status, stderr)
	}
	expect(t, squeeze(stdout), "good 9.00 1 ", "- it was stopped before its end", "mute 1.00 0.11x not decided 1 ")
	if strings.Contains(stdout, "echo-1k: ") {
		t.Errorf("a scenario that did not begin is shown:\n%s", stdout)
	}
}

// TestGroup ends what a server has started, too.
func TestGroup(t *testing.T) {
	ln, address := listen(t)
	status, stdout, stderr := run(t.Context(),
		[]string{fake(t, "brood", "brood", "9", "1", address)}, "--scenarios", "echo-100", "--reps", "1", "--json", "-")
	if status != 0 {
		t.Fatalf("exit status %d, stderr:\n%s", status, stderr)
	}
	expect(t, squeeze(stderr), "brood 9.00 1 ") // stdout is the JSON's
	var c compare.Comparison
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Errorf("%v in\n%s", err, stdout)
	}
	child, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	expectEnd(t, child)
}

// TestPinned asks servers and clients for their CPUs.
func TestPinned(t *testing.T) {
	if err := exec.Command("taskset", "-c", "0", "true").Run(); err != nil {
		t.Skip("taskset can not put a process on CPU 0: ", err)
	}
	status, stdout, stderr := run(t.Context(),
		[]string{strings.Replace(fake(t, "one", "answer", "9", "1"), "one", "one/cpus", 1)},
		"--scenarios", "echo-100", "--reps", "1", "--server-cpus", "0", "--client-cpus", "0")
	if status != 0 {
		t.Errorf("exit status %d, stderr:\n%s", status, stderr)
	}
	expect(t, squeeze(stdout), "one: 1 of 1 runs were bounded by the client: [0][0]", "servers on CPU 0, the load on CPU 0")

	status, _, stderr = run(t.Context(), []string{fake(t, "one", "answer", "9", "1")}, "--client-cpus", "4095")
	if status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	expect(t, stderr, "millbench compare: --client-cpus: taskset: ")
}

// TestMisuse wants a line, where to read more, and status 2 for what can not work, before anything is
// started.
func TestMisuse(t *testing.T) {
	t.Chdir(t.TempDir())
	const own = "a=sleep PORT"
	for _, tt := range []struct {
		name, servers string
		flags         []string
		want          string
	}{
		{"an unknown flag", own, []string{"--what"}, "unknown flag --what"},
		{"a flag that is nearly one", own, []string{"--scenario", "echo-100"}, "unknown flag --scenario: did you mean --scenarios?"},
		{"an argument", own, []string{"millrace"}, `unexpected argument "millrace"`},
		{"an unknown server", "nginx", nil, `--servers: invalid value "nginx": want some of millrace, floor, gorilla,`},
		{"an unknown scenario", own, []string{"--scenarios", "echo-7"}, `--scenarios: invalid value "echo-7": want all, or some of echo-100, echo-1k,`},
		{"no placeholder", "a=./server 8080", nil, `want LISTEN (host:port) or PORT in the command of "a"`},
		{"a placeholder within a word", "a=./server $REPORTS", nil, `want LISTEN (host:port) or PORT in the command of "a"`},
		{"a name of blanks", "a b=./server PORT", nil, "with a name of letters"},
		{"twice the same", own + "," + own, nil, `want each server once, but "a" is there twice`},
		{"an unknown generator", own, []string{"--load", "wrk"}, `--load: invalid value "wrk": want one of millbench, wsload`},
		{"half a second of wsload", own, []string{"--load", "wsload", "--warmup", "500ms"}, "--duration and --warmup: 1s and 500ms, but wsload takes whole seconds"},
		{"what the first server has not", own, []string{"--scenarios", "fan-1k-100,tls-64"}, "--scenarios: a, to which ratios are, takes part in none of fan-1k-100, tls-64"},
		{"no repetitions", own, []string{"--reps", "0"}, `--reps: invalid value "0": want a whole number from 1 to 200`},
		{"a width that is none", own, []string{"--until", "5"}, `--until: invalid value "5": want a share in percent, as 5%`},
		{"no CPUs", own, []string{"--server-cpus", ""}, "--server-cpus: empty value: leave it out, or give CPUS"},
		{"no time", own, []string{"--duration", "0s"}, "want a time above 0"},
		{"a folder that is not there", own, []string{"--report", "no/such/page.html"}, "--report: no/such/page.html: its folder is not there"},
		{"outside of a checkout", "millrace,gws", nil, "is not in a checkout of millrace (no go.mod of github.com/millrace/millrace here or above); go there, or give servers as NAME=COMMAND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := run(t.Context(), []string{tt.servers}, tt.flags...)
			if status != 2 || stdout != "" || strings.Count(stderr, "\n") != 2 {
				t.Errorf("exit status %d, stdout %q, want 2, and a line and a hint on stderr", status, stdout)
			}
			expect(t, stderr, "millbench compare: ", tt.want, "\nRun 'millbench compare --help' for its flags")
		})
	}
}

func TestHelp(t *testing.T) {
	var out, errs bytes.Buffer
	if status := compare.Main(t.Context(), []string{"--help"}, &out, &errs); status != 0 || errs.Len() > 0 {
		t.Errorf("exit status %d, stderr %q", status, errs.String())
	}
	expect(t, out.String(), "Usage: millbench compare", "  --reps N\n", "(default 7)", "gorilla, gws, nbio", "stalled", "  --load NAME\n", "idle-15k ", "LISTEN")
}

// TestLongNames: names of any length leave the columns of a terminal as they are.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("a-server-of-a-long-name", 5)
	status, stdout, stderr := run(t.Context(),
		[]string{fake(t, long+"-1", "answer", "1000", "4"), fake(t, long+"-2", "answer", "500", "5")}, "--scenarios", "echo-100,idle-15k", "--reps", "2")
	if status != 0 {
		t.Fatalf("exit status %d, stderr:\n%s", status, stderr)
	}
	fits(t, stdout)
	lines := strings.Split(stdout, "\n")
	tables := 0
	for i, header := range lines {
		if !strings.HasPrefix(header, "server ") || !strings.HasSuffix(header, "  runs") {
			continue
		}
		tables++
		for _, row := range lines[i+1 : i+3] {
			if utf8.RuneCountInString(row) != utf8.RuneCountInString(header) || !strings.Contains(row, "…") {
				t.Errorf("not in the columns of its header:\n%s\n%s", header, row)
			}
		}
		if lines[i+1][:20] == lines[i+2][:20] && !strings.Contains(lines[i+1], "-1 ") {
			t.Errorf("names that can not be told apart:\n%s\n%s", lines[i+1], lines[i+2])
		}
	}
	if tables < 5 {
		t.Errorf("%d tables in\n%s", tables, stdout)
	}
}

// TestBuild compares from a checkout in which some servers can be built.
func TestBuild(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module github.com/millrace/millrace\n\ngo 1.26\n")
	write("bench/echo/main.go", `package main

import ("bufio"; "net"; "os")

func main() {
	ln, err := net.Listen("tcp", os.Args[2])
	for err == nil {
		var c net.Conn
		if c, err = ln.Accept(); err == nil {
			if _, e := bufio.NewReader(c).ReadString('\n'); e == nil { c.Write([]byte("1 1 1 -\n")) }
		}
	}
}
`)
	write("bench/peers/go.mod", "module peers\n\ngo 1.26\n")
	write("bench/peers/gws/main.go", "package main\n\nfunc main() { nothing() }\n")
	t.Chdir(filepath.Join(dir, "bench"))
	status, stdout, stderr := run(t.Context(), []string{"millrace", "gws", "nbio", fake(t, "own", "answer", "2", "1")},
		"--scenarios", "echo-100", "--reps", "1")
	if status != 1 {
		t.Errorf("exit status %d though two are left out, stderr:\n%s", status, stderr)
	}
	fits(t, stdout)
	expect(t, squeeze(stdout),
		"- gws is left out: go: gws/main.go:3:15: undefined: nothing",
		"- nbio is left out: go: ",
		"go run ./cmd/millbench compare --servers ")
	expect(t, squeeze(stdout), "millrace github.com/millrace/millrace (devel) millrace --listen LISTEN", "own 2.00 2.00x ")
}

// TestNoTools leaves servers out whose tools are not there.
func TestNoTools(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module github.com/millrace/millrace\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PATH", dir)
	status, stdout, stderr := run(t.Context(), []string{"millrace", "floor", "node-ws"})
	if status != 1 || stdout != "" {
		t.Errorf("exit status %d, stdout %q, want 1 and none", status, stdout)
	}
	expect(t, stderr,
		"note: no taskset here (util-linux): servers and client share all CPUs",
		"note: millrace is left out: go: ", "note: floor is left out: cc: ",
		"note: node-ws is left out: node: ", "(npm ci in bench/peers/node-ws)",
		"millbench compare: no server is left to compare")
}
