package report_test

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// sampled is an echo run of 0.5 s to connect, 1 s to warm up and 10 s to measure, in
// samples of 0.1 s.
func sampled() *result.Result {
	r := sample(result.Echo)
	r.Plan.Warmup, r.Plan.Duration, r.Samples = time.Second, 10*time.Second, nil
	for i := range 115 {
		s := result.Sample{At: float64(i) / 10, Seconds: 0.1}
		s.Connections, s.Measured = 1000, i >= 15
		if i >= 5 {
			s.Count, s.P50, s.P99, s.Max = 10_000, 800, 1900, 4000
			s.Heat = map[int]int64{result.HeatBucket(800): 9_890, result.HeatBucket(1900): 100, result.HeatBucket(4000): 10}
		}
		s.RSS, s.ServerCores = 12<<20, 0.4
		r.Samples = append(r.Samples, s)
	}
	return r
}

// TestWhatHappened: a page says, and shades, what went wrong on the planned axis.
func TestWhatHappened(t *testing.T) {
	tests := []struct {
		name   string
		change func(*result.Result)
		want   []string
		not    []string
	}{
		{"all is well", func(*result.Result) {},
			[]string{`class="band quiet`, ">warm-up</text>"}, []string{"What happened", ">ended early<", ">stall<"}},
		{"a stall", func(r *result.Result) {
			for i := 40; i < 50; i++ {
				r.Samples[i].Count, r.Samples[i].Max, r.Samples[i].Heat = 0, math.NaN(), nil
			}
		}, []string{"Nothing came back for 1 s, from 4 s on.", ">stall</text>", `class="band stall`}, []string{"ended early"}},
		{"an early end", func(r *result.Result) { r.Samples, r.EndedEarly = r.Samples[:30], "the <server> died" },
			[]string{"<li>The run ended after 1.5 s of the 10 s that were to be measured: the &lt;server&gt; died.</li>", ">ended early</text>", ">10 s</text>"}, []string{">stall<"}},
		{"an early end of receiving", func(r *result.Result) { r.Plan.Scenario, r.Samples = result.Receive, r.Samples[:30] },
			[]string{"The run ended after 1.5 s of the 10 s that were to be measured.", ">ended early</text>", ">10 s</text>"}, nil},
		{"an end while warming up", func(r *result.Result) { r.Samples = r.Samples[:10] },
			[]string{"The run ended after 1 s, before anything was measured.", ">ended early</text>"}, []string{">stall<"}},
		{"no connection left", func(r *result.Result) {
			for i := 30; i < 115; i++ {
				r.Samples[i].Count, r.Samples[i].Connections = 0, 0
			}
		}, []string{"No connection was left for 8.5 s, from 3 s on.", ">no connection</text>"}, []string{">stall<", "Nothing came back"}},
		{"an early end of receiving", func(r *result.Result) { r.Plan.Scenario, r.Samples = result.Receive, r.Samples[:30] },
			[]string{"The run ended after 1.5 s of the 10 s", "from one message of a connection to its next, log scale"}, []string{">stall<"}},
		{"pauses in which clients are added", func(r *result.Result) {
			r.Plan.Scenario, r.Plan.RampLimit, r.Plan.RampStep = result.Broadcast, time.Second, 100
			for i := 40; i < 50; i++ {
				r.Samples[i].Count, r.Samples[i].Measured = 0, false
			}
		}, nil, []string{"What happened", ">stall<"}},
		{"a stall while clients are not added", func(r *result.Result) {
			r.Plan.Scenario, r.Plan.RampLimit, r.Plan.RampStep = result.Broadcast, time.Second, 100
			for i := 40; i < 50; i++ {
				r.Samples[i].Count, r.Samples[i].Measured = 0, i >= 45
			}
		}, []string{"Nothing came back for 500 ms, from 4.5 s on."}, []string{"ended early"}},
		{"a slow load that has pauses", func(r *result.Result) {
			for i := range r.Samples {
				r.Samples[i].Count = int64(i % 2)
			}
		}, nil, []string{"What happened"}},
		{"pauses between waves", func(r *result.Result) {
			r.Plan.Scenario = result.Wave
			for i := 40; i < 80; i++ {
				r.Samples[i].Count = 0
			}
		}, nil, []string{"What happened"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := sampled()
			test.change(r)
			text := page(t, r)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("lacks %q", want)
				}
			}
			for _, not := range test.not {
				if strings.Contains(text, not) {
					t.Errorf("has %q", not)
				}
			}
		})
	}
}

// chartOf gives a chart of a page, as drawn for a broad screen.
func chartOf(t *testing.T, text, title string) string {
	t.Helper()
	for _, svg := range pictures(text) {
		if strings.Contains(svg, "broad") && strings.Contains(svg, "<title>"+title+"</title>") {
			return svg
		}
	}
	t.Fatalf("no chart %q", title)
	return ""
}

// pathsOf gives the paths of a class in a chart of a page.
func pathsOf(t *testing.T, text, title, class string) (paths []string) {
	t.Helper()
	for part := range strings.SplitSeq(chartOf(t, text, title), "<path") {
		if strings.Contains(part, `class="`+class+` `) || strings.Contains(part, `class="`+class+`"`) {
			paths = append(paths, part)
		}
	}
	return paths
}

// TestUnknownIsAGap: what was not read leaves a gap, and is no 0.
func TestUnknownIsAGap(t *testing.T) {
	r := sampled()
	for i := 60; i < 70; i++ {
		r.Samples[i].RSS = 0
	}
	text := page(t, r)
	if n := len(pathsOf(t, text, "Server memory", "blue")); n != 2 {
		t.Errorf("%d lines of memory, want one on each side of the gap", n)
	}
	for i := range r.Samples {
		r.Samples[i].RSS = 0
	}
	if text = page(t, r); strings.Contains(text, "<title>Server memory</title>") {
		t.Error("a chart of memory that was never read")
	}
}

// TestHeat: latencies are blocks of their shade, one where they stay the same.
func TestHeat(t *testing.T) {
	r := sampled()
	for i := 40; i < 50; i++ { // a stall has no cell
		r.Samples[i].Count, r.Samples[i].Heat = 0, nil
	}
	text := page(t, r)
	const title = "Every latency over time"
	for shade, want := range map[string]int{"heat6": 2, "heat4": 2, "heat3": 2, "heat1": 0} {
		cells := 0
		for _, path := range pathsOf(t, text, title, shade) {
			cells += strings.Count(path, "Z")
		}
		if cells != want {
			t.Errorf("%d blocks of %s, want %d, on both sides of the stall", cells, shade, want)
		}
	}
	if strings.Contains(page(t, sample(result.Echo)), title) {
		t.Error("a heat map of samples without latencies")
	}
}

// TestStepped: a value is drawn from its sample's begin to its end.
func TestStepped(t *testing.T) {
	r := sampled()
	r.Samples = r.Samples[:2]
	r.Samples[0].Connections, r.Samples[1].Connections = 10, 20
	r.Plan.Scenario = result.Storm // so that the axis ends with the samples
	paths := pathsOf(t, page(t, r), "Connections open", "blue")
	if len(paths) != 1 {
		t.Fatalf("%d lines", len(paths))
	}
	d := strings.Fields(strings.NewReplacer("M", "", "L", "").Replace(strings.Split(paths[0], `"`)[1]))
	if len(d) != 8 || d[1] != d[3] || d[5] != d[7] || d[2] != d[4] || d[0] == d[2] || d[4] == d[6] || d[3] == d[5] {
		t.Errorf("no steps: %v", d)
	}
}

// TestSweepChart: tries are dots, those that failed and those that do not count are
// marks of their own, and the limit and the knee are drawn.
func TestSweepChart(t *testing.T) {
	r := sample(result.Sweep)
	r.Plan.SweepLimit = 70 * time.Millisecond
	r.Steps[3].Verdict = result.OverLimit
	r.Steps[4].Verdict, r.Steps[4].Disturbed = result.Behind, result.BySteal
	text := page(t, r)
	for title, classes := range map[string]map[string]int{
		"Throughput by offered rate": {"blue": 6, "amber": 0, "red": 2, "gray": 1},
		"Latency by offered rate":    {"blue": 6, "amber": 6, "red": 2, "gray": 1},
	} {
		svg := chartOf(t, text, title)
		for class, want := range classes {
			if n := len(regexp.MustCompile(`<circle[^>]*class="`+class+` `).FindAllString(svg, -1)); n != want {
				t.Errorf("%s: %d dots of %s, want %d", title, n, class, want)
			}
		}
		if line := regexp.MustCompile(`L [0-9 ]+" class="red`).FindString(svg); line != "" {
			t.Errorf("%s: failed tries are joined: %s", title, line)
		}
		for _, want := range []string{`class="band knee`, ">knee</text>"} {
			if !strings.Contains(svg, want) {
				t.Errorf("%s: lacks %s", title, want)
			}
		}
		if got := strings.Contains(svg, `class="limit`); got != (title[0] == 'L') {
			t.Errorf("%s: a limit is there: %v", title, got)
		}
	}
	r.Knee.High = nil
	if text = page(t, r); strings.Contains(text, `class="band knee`) {
		t.Error("a knee that was not found is drawn")
	}
}

// TestOddSamples: a file may say anything.
func TestOddSamples(t *testing.T) {
	huge := result.Sample{Connections: math.MaxInt, Count: math.MaxInt64, P50: 1e300, P99: 1e300, Max: 1e300, RSS: math.MaxInt64,
		ServerCores: 1e300, Measured: true, Heat: map[int]int64{math.MinInt: 1, -1: 5, 3: math.MaxInt64, 90: 1, math.MaxInt: 7}}
	at := func(s result.Sample, from, length float64) result.Sample {
		s.At, s.Seconds = from, length
		return s
	}
	negative := result.Sample{Connections: -1, Count: -5, P50: -1, P99: -1, Max: -1, RSS: -1, ServerCores: -1, Measured: true, Heat: map[int]int64{4: -9}}
	for name, samples := range map[string][]result.Sample{
		"none":                    nil,
		"one":                     {at(sampled().Samples[20], 0, 1)},
		"one that lasted no time": {at(sampled().Samples[20], 1, 0)},
		"huge":                    {at(huge, 0, 1), at(huge, 1, 1), at(huge, 2, 1e7)},
		"endless":                 {at(huge, 0, 1), at(huge, 1, 1e300), at(huge, 1e300, 1), at(huge, math.Inf(1), 1)},
		"negative":                {at(negative, 0, 1), at(negative, 1, 1), at(negative, -7, 1), at(negative, 9, -1)},
		"no order":                {at(huge, 5, 1), at(negative, 0, 1), at(huge, 9, 1), at(huge, 9, 1)},
		"NaN":                     {at(result.Sample{P50: math.NaN(), P99: math.NaN(), Max: math.NaN(), ServerCores: math.NaN(), Count: 3}, 0, 1), at(huge, math.NaN(), 1), at(huge, 1, math.NaN())},
	} {
		for _, scenario := range []string{result.Echo, result.Sweep} {
			r := sample(scenario)
			r.Samples = slices.Clone(samples)
			page(t, r)
			r.Plan.Duration, r.Plan.Warmup, r.Plan.SweepLimit = math.MaxInt64, math.MinInt64, -5
			for i := range r.Steps {
				r.Steps[i].Offered *= -1e300
			}
			page(t, r)
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}
