package load_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/wsload"
)

// TestAgreesWithWsload holds the engine against wsload, a load generator in C by
// another hand: the same load on the same server, in turn, each pinned to the core that the server does not have. Their
// best throughput and p50 agree within 10 %.
//
// The best, since all else that runs on the machine makes a round worse, often by
// half. They count once each has had three good rounds, which are alike; until
// then there are more rounds. A machine that has none is too busy to tell, unless nearly all rounds say the same.
func TestAgreesWithWsload(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: up to 48 rounds of two loads each")
	}
	program := buildWsload(t)
	for name, tt := range map[string]struct {
		server string
		plan   result.Plan
		args   string
	}{
		"all it can do": {roleEcho, result.Plan{Scenario: result.Echo}, "-m echo -d 1"},
		// Where a server only waits for messages, p50 would be how long the
		// machine takes to wake it. This one takes its time.
		"echo": {roleLate, result.Plan{Scenario: result.Echo}, "-m echo -d 1"},
		"rate": {roleLate, result.Plan{Scenario: result.Rate, Rate: 5000}, "-m rate -r 5000"},
	} {
		t.Run(name, func(t *testing.T) {
			const least, most = 4, 48
			url, _ := startServer(t, tt.server, pinned("0")...)
			p := tt.plan
			p.URL, p.Connections, p.MinSize = url, 100, 64
			p.Warmup, p.Duration, p.ServerPID = -1, time.Second, -1
			var rates, theirRates, times, theirTimes []float64
			for round := range most {
				theirs := runWsload(t, program, url, tt.args)
				ours := runElsewhere(t, p, pinned("1")...)
				wantTroubles(t, ours)
				// As times, so that less is better for all of them.
				rates, theirRates = append(rates, 1/ours.PerSecond), append(theirRates, 1/theirs.PerSecond)
				times, theirTimes = append(times, ours.Latency.Quantile(0.5)), append(theirTimes, theirs.P50)
				if round+1 >= least && agree(rates, theirRates) && agree(times, theirTimes) {
					return
				}
			}
			figures := fmt.Sprintf("%.0f/s and wsload %.0f/s, p50 %.0f us and wsload %.0f us",
				1/slices.Min(rates), 1/slices.Min(theirRates), slices.Min(times), slices.Min(theirTimes))
			if !apart(rates, theirRates) && !apart(times, theirTimes) {
				t.Skipf("the machine is too busy to tell: of %d rounds no three are alike, or each load had its best ones at other times; at best %s", most, figures)
			}
			t.Errorf("at best %s; want them within 10 %%", figures)
		})
	}
}

// alike tells whether the best three are within 5 %.
func alike(times []float64) bool {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[2] <= 1.05*sorted[0]
}

// agree tells whether two times, each alike, are at best within 10 %.
func agree(ours, theirs []float64) bool {
	ratio := slices.Min(ours) / slices.Min(theirs)
	return alike(ours) && alike(theirs) && 0.9 <= ratio && ratio <= 1.1
}

// apart tells whether times differ by more than 10 % to the same side in nine of ten rounds, in each of which both come right after
// each other: the best ones may be of phases of the machine that only one of them met.
func apart(ours, theirs []float64) bool {
	longer, shorter := 0, 0
	for i := range ours {
		switch ratio := ours[i] / theirs[i]; {
		case ratio > 1.1:
			longer++
		case ratio < 0.9:
			shorter++
		}
	}
	return 10*max(longer, shorter) >= 9*len(ours)
}

// pinned is what comes before a command to keep it on a core, and others off it
// where that is allowed (else nice says so and goes on).
func pinned(core string) []string { return []string{"nice", "-n", "-20", "taskset", "-c", core} }

// buildWsload compiles it, or skips the test and says why it can not.
func buildWsload(t *testing.T) (program string) {
	t.Helper()
	if raceDetector() {
		t.Skip("the race detector slows our client down, and not wsload")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("needs two cores: the server's and the client's")
	}
	for _, tool := range []string{"cc", "taskset", "nice"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	program, err := wsload.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	return program
}

func runWsload(t *testing.T, program, url, args string) wsload.Figures {
	t.Helper()
	port := url[strings.LastIndexByte(strings.TrimSuffix(url, "/"), ':')+1 : len(url)-1]
	argv := append(pinned("1"), program, "-p", port, "-c", "100", "-s", "64", "-t", "1", "-w", "0")
	argv = append(argv, strings.Fields(args)...)
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatalf("wsload: %v", err)
	}
	f, err := wsload.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
