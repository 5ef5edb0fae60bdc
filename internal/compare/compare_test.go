package compare

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEstimate(t *testing.T) {
	// upTo gives 1 to n, the larger half first.
	upTo := func(n int) []float64 {
		var values []float64
		for i := range n {
			values = append(values, float64((i+n/2)%n+1))
		}
		return values
	}
	for _, tt := range []struct {
		values []float64
		want   Estimate
	}{
		{nil, Estimate{}},
		{[]float64{3}, Estimate{1, 3, 3, 3, false}},
		{[]float64{9, 1}, Estimate{2, 5, 1, 9, false}},
		{[]float64{9, 1, 5}, Estimate{3, 5, 1, 9, false}},
		{[]float64{9, 1, 5, 7}, Estimate{4, 6, 1, 9, false}},
		{[]float64{5, 5, 5, 5, 5, 5}, Estimate{6, 5, 5, 5, true}},
		// The order statistics of the usual tables for 95 %.
		{upTo(5), Estimate{5, 3, 1, 5, false}},
		{upTo(6), Estimate{6, 3.5, 1, 6, true}},
		{upTo(7), Estimate{7, 4, 1, 7, true}},
		{upTo(8), Estimate{8, 4.5, 1, 8, true}},
		{upTo(9), Estimate{9, 5, 2, 8, true}},
		{upTo(15), Estimate{15, 8, 4, 12, true}},
		{upTo(20), Estimate{20, 10.5, 6, 15, true}},
	} {
		t.Run(fmt.Sprint(len(tt.values)), func(t *testing.T) {
			before := slices.Clone(tt.values)
			if got := estimate(tt.values); got != tt.want {
				t.Errorf("estimate(%v) = %+v, want %+v", tt.values, got, tt.want)
			}
			if !slices.Equal(before, tt.values) {
				t.Errorf("estimate made %v of %v", tt.values, before)
			}
		})
	}
}

// sample is a scenario with rates, one a repetition; 0 is a failed run.
func sample(name, figure string, rates map[string][]float64) Scenario {
	s := Scenario{Name: name, Figures: []string{figure}}
	for server, values := range rates {
		for i, v := range values {
			r := Run{Server: server, Repetition: i + 1, Figures: map[string]float64{figure: v}}
			if v == 0 {
				r.Figures, r.Error = nil, "broken"
			}
			s.Runs = append(s.Runs, r)
		}
	}
	return s
}

func TestRatios(t *testing.T) {
	s := sample("echo", "rate", map[string][]float64{"a": {10, 20, 0, 40}, "b": {5, 0, 15, 40}, "c": {1}})
	for _, tt := range []struct {
		server, base string
		want         []float64
	}{
		{"b", "a", []float64{0.5, 1}}, // the first and the last are pairs
		{"a", "b", []float64{2, 1}},
		{"c", "a", []float64{0.1}},
		{"a", "a", []float64{1, 1, 1}},
		{"a", "nobody", nil},
		{"nobody", "a", nil},
	} {
		if got := s.ratios(tt.server, tt.base, "rate"); !slices.Equal(got, tt.want) {
			t.Errorf("ratios of %s to %s: %v, want %v", tt.server, tt.base, got, tt.want)
		}
	}
	if got := s.ratios("a", "b", "cpu"); got != nil {
		t.Errorf("ratios of a figure that is not known: %v", got)
	}
	s.Took, s.made = 4*time.Minute, 4
	(&Comparison{Servers: []Server{{Name: "a"}, {Name: "b"}}, Width: 0.05, Until: true}).summarize(&s)
	want := Summary{"b", "rate", Estimate{3, 15, 5, 40, false}, Estimate{2, 0.75, 0.5, 1, false}, Verdict{Needs: 4 * time.Minute}}
	if got := s.summary("b", "rate"); got != want {
		t.Errorf("summary %+v, want %+v", got, want)
	}
}

func TestRepetitionsTurnTheOrderRound(t *testing.T) {
	for rep, want := range map[int][]int{1: {0, 1, 2}, 2: {2, 1, 0}, 3: {0, 1, 2}} {
		if got := order(3, rep); !slices.Equal(got, want) {
			t.Errorf("order in repetition %d: %v, want %v", rep, got, want)
		}
	}
}

func TestParseServer(t *testing.T) {
	for _, tt := range []struct {
		text string
		want server
	}{
		{"a=./s -l LISTEN", server{name: "a", path: "/", command: []string{"sh", "-c", "exec ./s -l LISTEN"}, can: words("echo")}},
		{"a.b-1/ws/echo=./s --port=PORT", server{name: "a.b-1", path: "/ws/echo", command: []string{"sh", "-c", "exec ./s --port=PORT"}, can: words("echo")}},
	} {
		if got, err := parseServer(tt.text); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseServer(%q) gave %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
	}
	if got, err := parseServer("gws"); err != nil || got.name != "gws" || got.path != "/" || got.make == nil {
		t.Errorf("parseServer(gws) gave %+v, %v", got, err)
	}
}

func TestAddress(t *testing.T) {
	s := server{command: []string{"sh", "-c", "exec ./s -l LISTEN -p=PORT 'x:PORT' REPORT"}}
	want := []string{"sh", "-c", "exec ./s -l h:1 -p=1 'x:1' REPORT"}
	if got := s.at("h", "1"); !slices.Equal(got, want) {
		t.Errorf("command %q, want %q", got, want)
	}
}

func TestScenarios(t *testing.T) {
	all, err := parseScenarios("all")
	if err != nil || len(all) != len(scenarios) {
		t.Errorf("by default %d scenarios, %v", len(all), err)
	}
	some, err := parseScenarios("rate-20k, echo-100")
	if err != nil || len(some) != 2 || some[0].name != "rate-20k" || some[1].name != "echo-100" {
		t.Errorf("picked %+v, %v", some, err)
	}
	but, err := parseScenarios("all, -round-500ms,echo-100")
	if err != nil || len(but) != len(scenarios)-1 || slices.ContainsFunc(but, func(s scenario) bool { return s.name == "round-500ms" }) {
		t.Errorf("all but one are %d of %d, %v", len(but), len(scenarios), err)
	}
	if _, err := parseScenarios("echo-100,-echo-100"); err == nil || !strings.Contains(err.Error(), "none is left") {
		t.Errorf("of one without itself: %v", err)
	}
	for _, b := range bars {
		picked, err := parseScenarios(b.scenario)
		if err != nil || !slices.Contains(picked[0].figures, b.figure) {
			t.Errorf("the bar of %s, %s: not among what is shown (%v)", b.scenario, b.figure, err)
		}
	}
	for _, s := range scenarios {
		if len(s.load) == 0 || len(s.wsload) == 0 && slices.Equal(s.needs, words("echo")) && s.name != "utf8-1k" {
			t.Errorf("%s: no load for one of the generators", s.name)
		}
		for _, need := range s.needs {
			if !slices.Contains(allLoads, need) {
				t.Errorf("%s needs %q", s.name, need)
			}
		}
		if tls := slices.Contains(s.needs, speaksTLS); tls != slices.Contains(s.load, "--insecure") || tls != (s.scheme() == "wss") {
			t.Errorf("%s: needs %q, scheme %s, load %q", s.name, s.needs, s.scheme(), s.load)
		}
		if broadcast := s.load[0] == "broadcast"; slices.Contains(s.needs, broadcasts) != broadcast || slices.Contains(s.needs, echoes) == broadcast {
			t.Errorf("%s: needs %q, load %q", s.name, s.needs, s.load)
		}
		if at := slices.Index(s.load, "--deflate"); at >= 0 && !slices.Contains(s.needs, map[string]string{"on": deflates, "takeover": takesOver}[s.load[at+1]]) {
			t.Errorf("%s: needs %q, load %q", s.name, s.needs, s.load)
		}
		for _, f := range s.figures {
			if unit, _ := describe(f); unit == "" {
				t.Errorf("%s: no figure %q", s.name, f)
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	c := Comparison{Servers: []Server{{Name: "millrace"}, {Name: "gnet"}, {Name: "gws"}, {Name: "nbio"}, {Name: "floor"}}, Scenarios: []Scenario{
		sample("echo-100", "rate", map[string][]float64{"millrace": {110, 120}, "gws": {90, 90}, "nbio": {100, 100}, "floor": {200, 200}}),
		sample("inflight-16", "rate", map[string][]float64{"millrace": {100}, "gnet": {100}}),
		sample("idle-15k", "rss", map[string][]float64{"millrace": {40}, "gnet": {100}}),
		sample("churn-64", "cpu", map[string][]float64{"millrace": {40, 40}, "gnet": {50, 50}, "gws": {40, 42}, "nbio": {0, 0}}),
	}}
	got := squeeze(c.verdicts().Markdown(2))
	for _, want := range []string{
		"| rss, idle-15k | - | <= 200 B | 40 B | PASS, not certain |",
		"| cpu, echo-100 | floor | <= 1.10x | - | not measured |",
		"| rate, echo-100 | nbio | >= 1.10x | 1.15x (1.10, 1.20) | PASS, not certain |",
		"| rate, echo-10k | best rival | >= 1.10x | - | not measured |",
		"| rate, inflight-16 | gnet | >= 1.10x | 1.00x | under, not certain |",
		"| rss, idle-15k | gnet | <= 0.30x | 0.40x | over, not certain |",
		"| cpu, churn-64 | gws | <= 1.00x | 0.98x (0.95, 1.00) | PASS, not certain |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, unwanted := range []string{"stalled", "echo-100 | gnet"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("%q, which no bar of these servers is for, in\n%s", unwanted, got)
		}
	}
}

// TestBarsAlone: bars of servers that are not there are not shown, a figure's own
// limit is held against its estimate, and a stalled server against one that is not.
func TestBarsAlone(t *testing.T) {
	c := Comparison{Servers: []Server{{Name: "floor"}, {Name: "millrace"}, {Name: "stalled"}}, Scenarios: []Scenario{
		sample("idle-15k", "rss", map[string][]float64{"millrace": {190, 201, 202, 203, 204, 205}, "floor": {20, 20, 20, 20, 20, 20}}),
		sample("echo-1k", "p99", map[string][]float64{"millrace": {100, 100}, "stalled": {120, 130}}),
		sample("inflight-16", "rate", map[string][]float64{"millrace": {70}, "floor": {100}}),
	}}
	got := c.verdicts()
	if len(got) != 1+10 {
		t.Errorf("%d bars, want the ten of millrace, floor and stalled:\n%s", len(got)-1, got.Markdown(2))
	}
	text := squeeze(got.Markdown(2))
	for _, want := range []string{
		"| rss, idle-15k | - | <= 200 B | 202 B [190 B, 205 B] | over, not certain |",
		"| p99, echo-1k, stalled | millrace | <= 1.50x | 1.25x (1.20, 1.30) | PASS, not certain |",
		"| p99, echo-100, stalled | millrace | <= 1.50x | - | not measured |",
		"| rate, inflight-16 | floor | >= 0.80x | 0.70x | under, not certain |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if none := (&Comparison{Servers: []Server{{Name: "mine"}}}).verdicts(); len(none) != 1 {
		t.Errorf("bars of strangers: %v", none)
	}
}

// TestJudge holds estimates against bars of both kinds, in both directions.
func TestJudge(t *testing.T) {
	sure := func(median float64) Estimate {
		return Estimate{Count: 6, Median: median, Low: median, High: median, Confident: true}
	}
	for _, tt := range []struct {
		name string
		bar  bar
		e    Estimate
		want string
	}{
		{"at most, at it", bar{figure: "cpu", against: "floor", limit: 1.1}, sure(1.1), "PASS"},
		{"at most, over", bar{figure: "cpu", against: "floor", limit: 1.1}, sure(1.2), "over"},
		{"at least, at it", bar{figure: "rate", against: "floor", limit: 0.8}, sure(0.8), "PASS"},
		{"at least, under", bar{figure: "rate", against: "floor", limit: 0.8}, sure(0.7), "under"},
		{"itself, at it", bar{figure: "rss", against: itself, limit: 200}, sure(200), "PASS"},
		{"itself, over", bar{figure: "rss", against: itself, limit: 200}, sure(201), "over"},
		{"too few", bar{figure: "rss", against: itself, limit: 200}, Estimate{Count: 1, Median: 1, Low: 1, High: 1}, "PASS, not certain"},
		{"the bar within", bar{figure: "cpu", against: "floor", limit: 1.1}, Estimate{6, 1, 0.9, 1.2, true}, "PASS, not certain"},
	} {
		if got := tt.bar.judge(tt.e); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestUsual: what takes part in some scenarios only is compared when asked for.
func TestUsual(t *testing.T) {
	if names := namesOf(usual()); strings.Contains(names, "stalled") || !strings.HasPrefix(names, "millrace, floor, gorilla, ") {
		t.Errorf("by default %s are compared", names)
	}
	s, err := parseServer("stalled")
	if err != nil || !s.takesPart("echo-1k") || s.takesPart("idle-15k") {
		t.Errorf("%+v, %v, want a server for some scenarios", s, err)
	}
}

// squeeze makes runs of blanks one.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestMarkdown(t *testing.T) {
	got := table{{"server", "x"}, {"ä|b", "12,345"}}.Markdown(1)
	const want = "" +
		"| server |      x |\n" +
		"| ------ | -----: |\n" +
		"| ä\\|b   | 12,345 |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTail(t *testing.T) {
	var long tail
	for range 3 * maxTail {
		fmt.Fprintln(&long, "line")
	}
	if n := long.kept.Len(); n > maxTail {
		t.Errorf("%d bytes are kept, more than %d", n, maxTail)
	}
	for text, want := range map[string]string{
		"":                         "",
		"one\ntwo\n\n":             "two",
		"\x1b[2Jgone":              "?[2Jgone",
		strings.Repeat("x", 1<<10): strings.Repeat("x", maxLine),
	} {
		var s tail
		fmt.Fprint(&s, text)
		if got := s.last(); got != want {
			t.Errorf("last line of %q: %q, want %q", text, got, want)
		}
	}
}

func TestComplaint(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"# example/a\na/a.go:3:1: undefined: x\na/a.go:4:1: undefined: y\n":                                    "a/a.go:3:1: undefined: x",
		"Traceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'tornado'\n":         "ModuleNotFoundError: No module named 'tornado'",
		"node:internal:1\n  throw err;\nError: Cannot find module 'ws/package.json'\nRequire stack:\n- /x\n\n": "Error: Cannot find module 'ws/package.json'",
		"floor.c: In function 'main':\nfloor.c:3:1: error: expected ';'\n":                                     "floor.c:3:1: error: expected ';'",
		"go: cannot find main module\n": "go: cannot find main module",
	} {
		if got := complaint(text); got != want {
			t.Errorf("complaint(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	s := study{}
	args := []string{"--servers", "a=./it's LISTEN", "--server-cpus", "", "--reps", "3"}
	want := `millbench compare --servers 'a=./it'\''s LISTEN' --server-cpus '' --reps 3`
	if got := s.commandLine(args); got != want {
		t.Errorf("command line %s, want %s", got, want)
	}
}

// TestLoads: what known servers are made for is what the README of bench/peers says.
func TestLoads(t *testing.T) {
	readme, err := os.ReadFile("../../bench/peers/README.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{ours: strings.Join(allLoads, ", "), napping: "echo"}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ((?:echo|broadcast)[a-z, ]*) \\|$").FindAllStringSubmatch(string(readme), -1) {
		told[row[1]] = row[2]
	}
	for _, s := range known {
		if can := strings.Join(s.can, ", "); can != told[s.name] {
			t.Errorf("%s can %s; the README says %q", s.name, can, told[s.name])
		}
		delete(told, s.name)
	}
	if len(told) > 0 {
		t.Errorf("the README has %v, too", told)
	}
}

func TestVersions(t *testing.T) {
	var b builder
	b.ctx, b.root, b.out = t.Context(), "../..", t.TempDir()
	got, err := b.goProgram("echo", ".", "./bench/echo", "github.com/gobwas/ws", "golang.org/x/sys")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/gobwas/ws v"; !strings.HasPrefix(got.version, want) || !strings.Contains(got.version, ", golang.org/x/sys v") {
		t.Errorf("versions %q, want %q first", got.version, want)
	}
	if want := []string{b.out + "/echo", "--listen", "LISTEN"}; !reflect.DeepEqual(got.command, want) {
		t.Errorf("command %q, want %q", got.command, want)
	}
}
