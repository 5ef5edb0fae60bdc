package bench_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench"
)

// wsloadSource is another load generator, in C, by another hand.
const wsloadSource = "../../shared/tools/wsload.c"

// TestAgreesWithWsload holds the engine against wsload: the same load on the same
// server, in turn, each pinned to the core that the server does not have. The
// medians of throughput and p50 agree within 10 %. The machine is noisy, so a
// disagreement may need more rounds to go away, but a real one stays.
func TestAgreesWithWsload(t *testing.T) {
	wsload := buildWsload(t)
	url, _ := startEcho(t, "taskset", "-c", "0")
	for name, tt := range map[string]struct {
		plan bench.Plan
		args string
	}{
		"echo": {bench.Plan{Scenario: bench.Echo}, "-m echo -d 1"},
		"rate": {bench.Plan{Scenario: bench.Rate, Rate: 5000}, "-m rate -r 5000"},
	} {
		t.Run(name, func(t *testing.T) {
			p := tt.plan
			p.URL, p.Connections, p.MinSize = url, 100, 64
			p.Warmup, p.Duration, p.ServerPID = -1, 500*time.Millisecond, -1
			const least, most = 5, 20
			var throughput, median []float64
			for round := range most {
				theirs := runWsload(t, wsload, url, tt.args)
				ours := runElsewhere(t, p, "taskset", "-c", "1")
				wantTroubles(t, ours)
				throughput = append(throughput, ours.PerSecond/theirs.PerSecond)
				median = append(median, ours.Latency.Quantile(0.5)/theirs.P50)
				t.Logf("%.0f/s and %.0f/s, p50 %.0f us and %.0f us", ours.PerSecond, theirs.PerSecond, ours.Latency.Quantile(0.5), theirs.P50)
				if round+1 >= least && agree(throughput) && agree(median) {
					return
				}
			}
			t.Errorf("throughput is %.2f and p50 %.2f of wsload's, the medians of %d rounds; want 0.9 to 1.1",
				middle(throughput), middle(median), most)
		})
	}
}

// agree tells whether the median of ratios is within 10 % of 1.
func agree(ratios []float64) bool { return math.Abs(math.Log(middle(ratios))) <= math.Log(1.1) }

func middle(ratios []float64) float64 {
	sorted := slices.Sorted(slices.Values(ratios))
	return sorted[len(sorted)/2]
}

// buildWsload compiles it, or skips the test and says why it can not.
func buildWsload(t *testing.T) (program string) {
	t.Helper()
	if raceDetector() {
		t.Skip("the race detector slows our client down, and not wsload")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("needs two cores: the server's and the client's")
	}
	if _, err := os.Stat(wsloadSource); err != nil {
		t.Skipf("no wsload here: %v", err)
	}
	for _, tool := range []string{"cc", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	program = filepath.Join(t.TempDir(), "wsload")
	if out, err := exec.Command("cc", "-O2", "-o", program, wsloadSource, "-lm").CombinedOutput(); err != nil {
		t.Skipf("cc can not compile it: %v\n%s", err, out)
	}
	return program
}

// wsloadFigures is what wsload prints.
type wsloadFigures struct {
	PerSecond float64 `json:"msgs_s"`
	P50       float64 `json:"p50_us"`
	Failed    int     `json:"failed"`
	Closed    int     `json:"closed"`
}

func runWsload(t *testing.T, program, url, args string) (f wsloadFigures) {
	t.Helper()
	port := url[strings.LastIndexByte(strings.TrimSuffix(url, "/"), ':')+1 : len(url)-1]
	argv := append(strings.Fields(args), "-p", port, "-c", strconv.Itoa(100), "-s", "64", "-t", "1", "-w", "0", "-k", "1")
	out, err := exec.Command(program, argv...).Output()
	if err != nil {
		t.Fatalf("wsload: %v", err)
	}
	if err := json.Unmarshal(out, &f); err != nil || f.Failed+f.Closed > 0 {
		t.Fatalf("wsload: %s, %v", out, err)
	}
	return f
}
