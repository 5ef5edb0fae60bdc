package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestEstimateRatio(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ratios []float64
		want   Estimate // to a thousandth
	}{
		{"none", nil, Estimate{}},
		{"too few", []float64{2, 1, 4}, Estimate{3, 2, 1, 4, false}},
		{"all alike", []float64{2, 2, 2, 2, 2, 2}, Estimate{6, 2, 2, 2, true}},
		// With six values only the lowest and the highest mean can be left out not even once.
		{"six", []float64{1, 16, 2, 8, 4, 1}, Estimate{6, 2.828, 1, 16, true}},
		// The table of Wilcoxon's test has 2 as the critical sum of 7: the third mean from
		// each end stays.
		{"seven", []float64{1, 1.1, 1 / 1.1, 1.21, 1 / 1.21, 1.331, 1 / 1.331}, Estimate{7, 1, 1 / 1.21, 1.21, true}},
		{"one far off", []float64{1.01, 0.99, 1, 1.02, 0.98, 1.01, 0.99, 1, 50}, Estimate{9, 1.005, 0.988, 8.641, true}},
	} {
		got := estimateRatio(tt.ratios, confidence)
		near := func(a, b float64) bool { return math.Abs(a-b) <= 0.001*b }
		if got.Count != tt.want.Count || got.Confident != tt.want.Confident ||
			!near(got.Median, tt.want.Median) || !near(got.Low, tt.want.Low) || !near(got.High, tt.want.High) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if most := estimateRatio(make1s(mostRepetitions), confidence); !most.Confident || most.Low != 1 {
		t.Errorf("of the most repetitions there may be: %+v", most)
	}
}

func make1s(n int) []float64 {
	ones := make([]float64, n)
	for i := range ones {
		ones[i] = 1
	}
	return ones
}

// TestNeighboursAlike: repetitions that are like their neighbours tell less than as
// many that are not, and the interval says so.
func TestNeighboursAlike(t *testing.T) {
	apart := []float64{1.1, 0.9, 1.1, 0.9, 1.1, 0.9, 1.1, 0.9, 1.1, 0.9, 1.1, 0.9}
	alike := []float64{1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9}
	width := func(e Estimate) float64 { return e.High / e.Low }
	if a, b := estimateRatio(apart, confidence), estimateRatio(alike, confidence); width(b) < 1.2*width(a) {
		t.Errorf("%+v of neighbours that are alike, %+v of others: want a wider one", b, a)
	}
}

// TestOutliersNearly: neither one wild repetition nor a wild slice moves the interval far.
func TestOutliersNearly(t *testing.T) {
	ratios := []float64{1.20, 1.21, 1.19, 1.20, 1.22, 1.18, 1.2, 1.21, 1.19, 1.2, 1.2, 1.21, 1.19, 1.2, 9}
	if e := estimateRatio(ratios, confidence); e.Low < 1.19 || e.High > 1.22 {
		t.Errorf("%+v of %v", e, ratios)
	}
}

// noisy is a machine on which two servers take turns. A phase of it lasts for some
// slices: one that both servers feel, and one of each of them. A process is a little
// faster or slower than the next one of the same program.
type noisy struct {
	*rand.Rand
	shared, of [2]float64
}

// phase goes on by a slice: memory is how much of it is left.
func (m *noisy) phase(of *float64, memory, size float64) float64 {
	*of = memory**of + math.Sqrt(1-memory*memory)*m.NormFloat64()*size
	return *of
}

// compared gives a scenario of so many repetitions whose true ratio is known.
func (m *noisy) compared(repetitions int, ratio, memory float64) *Scenario {
	const rounds = 4
	s := &Scenario{Name: "echo", Figures: []string{"cpu"}, Took: time.Duration(repetitions) * 5 * time.Second, made: repetitions}
	for rep := 1; rep <= repetitions; rep++ {
		runs := [2]Run{{Server: "a", Repetition: rep}, {Server: "b", Repetition: rep}}
		for range 4 { // servers start and warm up
			for i := range m.of {
				m.phase(&m.of[i], memory, 0.03)
				m.phase(&m.shared[0], memory, 0.2)
			}
		}
		process := [2]float64{0.01 * m.NormFloat64(), math.Log(ratio) + 0.01*m.NormFloat64()}
		turn := 0
		for round := 1; round <= rounds; round++ {
			for _, i := range turns(2, 0, rep, round) {
				turn++
				noise := m.phase(&m.shared[0], memory, 0.2) + m.phase(&m.of[i], memory, 0.03) + 0.02*m.NormFloat64()
				if m.Float64() < 0.02 {
					noise += 1 // something else ran
				}
				runs[i].Slices = append(runs[i].Slices, Slice{Turn: turn, Figures: map[string]float64{"cpu": 5 * math.Exp(process[i]+noise)}})
			}
		}
		s.Runs = append(s.Runs, runs[0], runs[1])
	}
	(&Comparison{Servers: []Server{{Name: "a"}, {Name: "b"}}, Width: 0.05}).summarize(s)
	return s
}

// TestCoverage: of many comparisons on a machine whose noise goes on, 92 in a hundred or
// more have the true ratio in their interval, also with few repetitions. Where a phase
// lasts for several repetitions (0.9), it takes more of them to notice.
func TestCoverage(t *testing.T) {
	for _, tt := range []struct {
		memory      float64
		repetitions []int
	}{{0, []int{7, 20}}, {0.5, []int{7, 20}}, {0.8, []int{7, 20}}, {0.9, []int{25}}} {
		for _, repetitions := range tt.repetitions {
			const times, ratio = 300, 1.3
			m := &noisy{Rand: rand.New(rand.NewPCG(1, uint64(repetitions)))}
			hits := 0
			for range times {
				e := m.compared(repetitions, ratio, tt.memory).summary("b", "cpu").Ratio
				if e.Low <= ratio && ratio <= e.High {
					hits++
				}
			}
			if share := 100 * float64(hits) / times; share < 92 {
				t.Errorf("memory %v, %d repetitions: the true ratio is in %.1f %% of the intervals", tt.memory, repetitions, share)
			}
		}
	}
}

// TestTenComparisons: ten comparisons of the same two servers never contradict each
// other. Where servers are clearly apart, or alike, and there is time, all say the same;
// near the edge some say that they do not know.
func TestTenComparisons(t *testing.T) {
	for _, tt := range []struct {
		ratio float64
		want  string // of all ten; "": some may be undecided
	}{{1, equal}, {1.05, ""}, {0.97, ""}, {1.15, worse}, {0.85, better}} {
		m := &noisy{Rand: rand.New(rand.NewPCG(2, math.Float64bits(tt.ratio)))}
		said := map[string]int{}
		for range 10 {
			v := m.compared(100, tt.ratio, 0.9).summary("b", "cpu").Verdict
			said[v.Says]++
			if v.Says == "" && v.Needs <= 0 {
				t.Errorf("ratio %v: undecided, and does not say how long it needs", tt.ratio)
			}
		}
		undecided := said[""]
		delete(said, "")
		if len(said) > 1 || tt.want != "" && said[tt.want] != 10 {
			t.Errorf("ratio %v: %v, undecided %d; want %q", tt.ratio, said, undecided, tt.want)
		}
	}
}

func TestDecide(t *testing.T) {
	const width = 0.05
	for _, tt := range []struct {
		e          Estimate
		rate, cost string
	}{
		{Estimate{}, "", ""},
		{Estimate{5, 2, 2, 2, false}, "", ""},
		{Estimate{6, 1, 0.96, 1.04, true}, equal, equal},
		{Estimate{6, 1.03, 1.01, 1.04, true}, equal, equal},
		{Estimate{6, 1.03, 1.01, 1.06, true}, "", ""}, // at the edge
		{Estimate{6, 1.1, 1.05, 1.2, true}, better, worse},
		{Estimate{6, 0.9, 0.8, 0.95, true}, worse, better},
		{Estimate{6, 1, 0.5, 2, true}, "", ""},
	} {
		if rate, cost := decide(tt.e, true, width), decide(tt.e, false, width); rate != tt.rate || cost != tt.cost {
			t.Errorf("%+v: %q as a rate, %q as a cost, want %q and %q", tt.e, rate, cost, tt.rate, tt.cost)
		}
	}
}

// TestLacks: an interval four times as narrow takes sixteen times as many.
func TestLacks(t *testing.T) {
	within := func(half float64) Estimate {
		return Estimate{10, 1, math.Exp(-half), math.Exp(half), true}
	}
	edge := math.Log1p(0.05)
	for _, tt := range []struct {
		e    Estimate
		want int
	}{
		{Estimate{Count: 2}, 4},
		{within(edge * 1.01), 1},
		{within(edge * 1.99), 30},
		{within(edge * 3.999), 150},
		{Estimate{10, 1.05, 1.01, 1.09, true}, 1e6},                   // the edge itself
		{Estimate{10, 1.05, 1.05 / 1.1024, 1.05 * 1.1024, true}, 150}, // the edge, perhaps
	} {
		if got := lacks(tt.e, 0.05, confidence); got != tt.want {
			t.Errorf("%+v lacks %d, want %d", tt.e, got, tt.want)
		}
	}
	for d, want := range map[time.Duration]string{
		time.Second: "1 min", 61 * time.Second: "2 min", 3 * time.Hour: "3 h", 100 * time.Hour: "days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("roughly %v is %s, want %s", d, got, want)
		}
	}
}

// TestClientBound: a ratio is left out when the client bounded half of its pairs, but
// what a message costs the server is its own.
func TestClientBound(t *testing.T) {
	s := &Scenario{Name: "echo", Figures: []string{"rate", "cpu"}}
	for rep := 1; rep <= 6; rep++ {
		a := Run{Server: "a", Repetition: rep, Figures: map[string]float64{"rate": 100, "cpu": 4}}
		b := Run{Server: "b", Repetition: rep, Figures: map[string]float64{"rate": 200, "cpu": 2}}
		c := a
		if c.Server = "c"; rep > 3 {
			b.Bottleneck = "it is slow"
		}
		if rep > 4 {
			c.Bottleneck = "it is slow"
		}
		s.Runs = append(s.Runs, a, b, c)
	}
	(&Comparison{Servers: []Server{{Name: "a"}, {Name: "b"}, {Name: "c"}}, Width: 0.05}).summarize(s)
	for _, tt := range []struct{ server, figure, want string }{
		{"a", "rate", "1.00x [1.00, 1.00]"},
		{"b", "rate", "(2.00x [2.00, 2.00])"},
		{"b", "cpu", "0.50x [0.50, 0.50] better"},
		{"c", "rate", "1.00x [1.00, 1.00] equal"},
	} {
		m := s.summary(tt.server, tt.figure)
		if got := m.ratio(); got != tt.want {
			t.Errorf("%s of %s: %s, want %s (%+v)", tt.figure, tt.server, got, tt.want, m.Verdict)
		}
	}
	if why := s.summary("b", "rate").Verdict.ClientBound; why != "b: it is slow" {
		t.Errorf("client-bound because of %q", why)
	}
}

// TestServersOwn: of all figures that matter in a scenario, a client at its limit leaves
// those to the server that do not follow from how much it can load.
func TestServersOwn(t *testing.T) {
	own := map[string]bool{"cpu": true, "rss": true, "handshake-cpu": true, "ratio-received": true}
	for _, sc := range scenarios {
		for _, figure := range sc.figures {
			s := &Scenario{Name: sc.name, Figures: sc.figures, Runs: []Run{
				{Server: "a", Repetition: 1, Figures: map[string]float64{figure: 1}, Bottleneck: "it is slow"},
				{Server: "b", Repetition: 1, Figures: map[string]float64{figure: 1}, Bottleneck: "it is slow"},
			}}
			if why := s.clientBound("b", "a", figure); (why == "") != own[figure] {
				t.Errorf("%s of %s: client-bound because of %q", figure, sc.name, why)
			}
		}
	}
}

// TestTurns: each pair of rounds goes forth and back, the orders differ, the same
// comparison has the same ones again, and nobody is far from the base.
func TestTurns(t *testing.T) {
	seen := map[string]bool{}
	for rep := 1; rep <= 5; rep++ {
		for round := 1; round < 8; round += 2 {
			forth, back := turns(5, 2, rep, round), turns(5, 2, rep, round+1)
			slices.Reverse(back)
			if !slices.Equal(forth, back) || !slices.Equal(forth, turns(5, 2, rep, round)) {
				t.Errorf("round %d of repetition %d: %v, then the other way round %v", round, rep, forth, back)
			}
			seen[fmt.Sprint(forth)] = true
			if forth[0] != 2 || forth[4] != 2 || len(forth) != 6 {
				t.Errorf("turns %v, want the base, 2, first and after three others", forth)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d different orders of 20", len(seen))
	}
	for n, want := range map[int][]int{1: {0}, 2: {0, 1}} {
		if got := turns(n, 0, 1, 1); !slices.Equal(got, want) {
			t.Errorf("turns of %d: %v, want %v", n, got, want)
		}
	}
}

// TestRatioOfSlices: a slice is held against the nearest one of the base, which may be
// thrown away, and none against two.
func TestRatioOfSlices(t *testing.T) {
	run := func(turns map[int]float64) *Run {
		r := &Run{}
		for turn := 1; turn <= 50; turn++ {
			switch v, ok := turns[turn]; {
			case v < 0: // thrown away
				r.Slices = append(r.Slices, Slice{Turn: turn})
			case ok:
				r.Slices = append(r.Slices, Slice{Turn: turn, Figures: map[string]float64{"rate": v}})
			}
		}
		return r
	}
	for _, tt := range []struct {
		name      string
		run, base map[int]float64
		want      float64 // 0: none is known
	}{
		{"nearer to the one before", map[int]float64{2: 4}, map[int]float64{1: 1, 4: 8}, 4},
		{"nearer to the one after", map[int]float64{3: 4}, map[int]float64{1: 1, 4: 8}, 0.5},
		{"two at one", map[int]float64{3: 4, 4: 50}, map[int]float64{2: 2}, 2},
		{"one at two", map[int]float64{3: 4}, map[int]float64{4: 2, 5: 50}, 2},
		{"the last", map[int]float64{2: 4}, map[int]float64{1: 2}, 2},
		{"the first", map[int]float64{1: 4}, map[int]float64{2: 2}, 2},
		{"one thrown away", map[int]float64{3: 4}, map[int]float64{1: 2, 2: -1}, 2},
		{"all too far", map[int]float64{20: 4}, map[int]float64{1: 2, 30: 2}, 0},
		{"thrown away", map[int]float64{2: -1}, map[int]float64{1: 2}, 0},
		{"nothing came back", map[int]float64{2: 0, 12: 0, 22: 4, 32: 6, 42: 8}, map[int]float64{1: 2, 13: 2, 21: 2, 33: 2, 41: 2}, 2},
		{"nothing of the base's", map[int]float64{2: 4, 12: 6, 22: 8}, map[int]float64{1: 2, 13: 2, 21: 0}, 3},
		{"mostly nothing", map[int]float64{2: 0, 12: 0, 22: 4}, map[int]float64{1: 2, 13: 2, 21: 2}, 0},
		{"half of it nothing", map[int]float64{2: 0, 12: 4}, map[int]float64{1: 2, 13: 2}, 0},
		{"the median", map[int]float64{2: 4, 4: 6, 6: 100}, map[int]float64{1: 2, 3: 2, 5: 2}, 3},
		{"of two, the middle", map[int]float64{2: 2, 12: 32}, map[int]float64{1: 2, 13: 2}, 4},
	} {
		got, known := pair{run(tt.run), run(tt.base)}.ratio("rate")
		if known != (tt.want > 0) || known && math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, known, tt.want)
		}
	}
}

// lopsided gives what two servers of n say that are the same program, where something
// makes a slice slower now and then, and none makes it faster.
func lopsided(r *rand.Rand, n, repetition int) pair {
	const rounds = 4
	runs := [2]Run{{Server: "run", Repetition: repetition}, {Server: "base", Repetition: repetition}}
	turn := 0
	for round := 1; round <= rounds; round++ {
		for _, i := range turns(n, 1, repetition, round) {
			turn++
			if i < len(runs) {
				figures := map[string]float64{"cpu": 5 * math.Exp(0.3*r.ExpFloat64())}
				runs[i].Slices = append(runs[i].Slices, Slice{Turn: turn, Figures: figures})
			}
		}
	}
	return pair{&runs[0], &runs[1]}
}

// TestAlikeWithLopsidedNoise: two servers that are alike have a ratio of 1, however many
// others there are, though nothing makes a slice faster as often as slower.
func TestAlikeWithLopsidedNoise(t *testing.T) {
	for _, n := range []int{2, 3, 5, 12} {
		r := rand.New(rand.NewPCG(3, uint64(n)))
		const repetitions = 4000
		above := 0
		for rep := range repetitions {
			if ratio, _ := lopsided(r, n, rep+1).ratio("cpu"); ratio > 1 {
				above++
			}
		}
		if share := float64(above) / repetitions; math.Abs(share-0.5) > 0.025 { // three standard errors
			t.Errorf("%d servers: of two that are alike, one is slower in %.1f %% of the repetitions", n, 100*share)
		}
	}
}

// TestRatioTheOtherWayRound: two servers that change places turn their ratio round.
func TestRatioTheOtherWayRound(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for rep := range 100 {
		p := lopsided(r, 5, rep+1)
		p.run.Slices[rep%len(p.run.Slices)].Figures = nil // thrown away
		p.base.Slices[rep%len(p.base.Slices)].Figures = nil
		forth, _ := p.ratio("cpu")
		back, _ := pair{p.base, p.run}.ratio("cpu")
		if math.Abs(math.Log(forth*back)) > 1e-9 {
			t.Errorf("repetition %d: %v one way and %v the other", rep+1, forth, back)
		}
	}
}

func TestSteal(t *testing.T) {
	const slice = 500 * time.Millisecond
	before := map[int]time.Duration{0: time.Second, 1: time.Second, 2: time.Second}
	for _, tt := range []struct {
		name   string
		lists  []string
		cpu    int // that loses
		stolen time.Duration
		client float64
		want   string
	}{
		{"nothing", []string{"0", "1"}, 0, 0, 0, ""},
		{"little", []string{"0", "1"}, 0, 20 * time.Millisecond, 0.02, ""},
		{"much", []string{"0", "1"}, 1, 50 * time.Millisecond, 0, "the host took 10 % of CPU 1's time"},
		{"of a range", []string{"0", "1-3"}, 2, 50 * time.Millisecond, 0, "the host took 10 % of CPU 2's time"},
		{"of another CPU", []string{"0", "1"}, 2, 50 * time.Millisecond, 0, ""},
		{"of any", []string{"", "1"}, 2, 50 * time.Millisecond, 0, "the host took 10 % of CPU 2's time"},
		{"a stride", []string{"0", "1-9:2"}, 2, 50 * time.Millisecond, 0, "the host took 10 % of CPU 2's time"},
		{"the client", []string{"0", "1"}, 0, 0, 0.3, "the client was kept from running for 30 % of the time"},
	} {
		theft := watchSteal(0.05, tt.lists...)
		theft.taken = before
		now := map[int]time.Duration{0: time.Second, 1: time.Second, 2: time.Second}
		now[tt.cpu] += tt.stolen
		if got := theft.judge(now, slice, tt.client); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
