package compare

import (
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestStaysDone: a scenario whose time is up is not taken up again while others go on.
func TestStaysDone(t *testing.T) {
	s := &study{options: &options{repetitions: 7, until: 0.05, atMost: 10 * time.Minute}}
	slow := &Scenario{made: 2, Took: 9 * time.Minute}
	if !s.done(slow) {
		t.Error("another repetition, which would take longer than is left")
	}
	slow.Took = time.Minute // as if a repetition took less on average
	if !s.done(slow) {
		t.Error("a scenario that was done goes on")
	}
	quick := &Scenario{made: 2, Took: time.Minute}
	if s.done(quick) {
		t.Error("a scenario with time left and too few repetitions is done")
	}
}

// TestNeedsOfOwnRepetitions: what a ratio needs follows from what a repetition of its
// scenario takes.
func TestNeedsOfOwnRepetitions(t *testing.T) {
	s := sample("echo", "rate", map[string][]float64{"a": {1, 1}, "b": {2, 2}})
	for i := range s.Runs {
		s.Runs[i].Repetition += 10 // others were made before
	}
	s.made, s.Took = 2, 2*time.Minute
	(&Comparison{Servers: []Server{{Name: "a"}, {Name: "b"}}, Width: 0.05, Until: true}).summarize(&s)
	if v := s.summary("b", "rate").Verdict; v.Needs != 4*time.Minute {
		t.Errorf("needs %v, want four repetitions of a minute", v.Needs)
	}
}

// TestLooks: the schedule begins with as many repetitions as its looks take, gets rarer,
// and ends with the most there may be.
func TestLooks(t *testing.T) {
	for first := 1; first <= mostRepetitions; first += 1 + first/4 {
		all := looks(first)
		if all[0] < first || all[len(all)-1] != mostRepetitions || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Fatalf("from %d: %v", first, all)
		}
		each := ofEachLook(all)
		if e := estimateRatio(make1s(all[0]), each); !e.Confident {
			t.Errorf("from %d: %d repetitions are too few for %.2f %% confidence", first, all[0], 100*each)
		}
		if wrong := float64(len(all)) * (1 - each); wrong > 0.0501 {
			t.Errorf("from %d: %d looks with %.2f %% confidence", first, len(all), 100*each)
		}
	}
	if got, want := looks(7), []int{9, 13, 19, 28, 42, 63, 94, 141, 200}; !slices.Equal(got, want) {
		t.Errorf("from 7: %v, want %v", got, want)
	}
}

// until repeats a scenario of whole runs, whose true ratio is known, until it is done.
func until(r *rand.Rand, ratio float64) *Comparison {
	s := &study{options: &options{repetitions: 7, until: 0.05, atMost: time.Hour}, stderr: io.Discard}
	s.result = Comparison{Servers: []Server{{Name: "a"}, {Name: "b"}}, Width: 0.05, Until: true, Confidence: ofEachLook(looks(7))}
	sc := &Scenario{Name: "echo", Figures: []string{"cpu"}}
	for !s.done(sc) {
		sc.made++
		sc.Took += 72 * time.Second // 50 of them
		for i, cpu := range []float64{5, 5 * ratio} {
			cpu *= math.Exp(0.05 * r.NormFloat64())
			sc.Runs = append(sc.Runs, Run{Server: s.result.Servers[i].Name, Repetition: sc.made, Figures: map[string]float64{"cpu": cpu}})
		}
	}
	s.result.summarize(sc)
	s.result.Scenarios = []Scenario{*sc}
	return &s.result
}

// TestUntilIsAsSure: a comparison that repeats until its verdict stands is wrong no more
// often than one that looks once. At the very edge each verdict is wrong, and near it the
// one of the other side.
func TestUntilIsAsSure(t *testing.T) {
	const times = 200
	for _, tt := range []struct {
		ratio float64
		wrong []string
	}{{1.05, []string{equal, worse, better}}, {1.06, []string{equal, better}}, {1 / 1.05, []string{equal, worse, better}}} {
		r := rand.New(rand.NewPCG(5, math.Float64bits(tt.ratio)))
		wrong, outside := 0, 0
		for range times {
			c := until(r, tt.ratio)
			m := c.Scenarios[0].summary("b", "cpu")
			if slices.Contains(tt.wrong, m.Verdict.Says) {
				wrong++
			}
			if m.Ratio.Low > tt.ratio || m.Ratio.High < tt.ratio {
				outside++
			}
		}
		if share := 100 * float64(wrong) / times; share > 5 {
			t.Errorf("ratio %v: %.1f %% of the verdicts are wrong", tt.ratio, share)
		}
		if share := 100 * float64(outside) / times; share > 5 {
			t.Errorf("ratio %v: it is outside of %.1f %% of the intervals", tt.ratio, share)
		}
	}
}

// TestGivesUpLate: a scenario whose verdicts seem to take too long goes on for half of its
// time, and then a reader learns why it ended.
func TestGivesUpLate(t *testing.T) {
	s := &study{options: &options{repetitions: 7, until: 0.05, atMost: 10 * time.Minute}, stderr: io.Discard}
	s.result = Comparison{Servers: []Server{{Name: "a"}, {Name: "b"}}, Width: 0.05, Until: true, Confidence: ofEachLook(looks(7))}
	edgy := sample("echo", "cpu", map[string][]float64{"a": {1, 1, 1, 1, 1, 1, 1, 1, 1}, "b": {1.04, 1.05, 1.06, 1.04, 1.05, 1.06, 1.04, 1.05, 1.06}})
	edgy.made, edgy.Took = 9, 4*time.Minute
	if s.done(&edgy) || len(s.result.Notes) > 0 {
		t.Errorf("it gives up after 4 minutes of 10: %+v", edgy.Summary)
	}
	if edgy.Took = 6 * time.Minute; !s.done(&edgy) || len(s.result.Notes) != 1 {
		t.Errorf("it goes on after 6 minutes of 10, or does not say why not: %q, %+v", s.result.Notes, edgy.Summary)
	}
}

// TestNeedsOfWhatIsNotKnown: a ratio whose slices were all thrown away needs more
// repetitions; one of a figure that nobody has, or of a server that fails, needs none.
func TestNeedsOfWhatIsNotKnown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		figure string
		run    Run // of b
		more   bool
	}{
		{"thrown away", "cpu", Run{Slices: []Slice{{Turn: 1, ThrownAway: "the host took it"}}}, true},
		{"failed", "cpu", Run{Error: "broken"}, false},
		{"a figure that b has not", "cpu", Run{Figures: map[string]float64{"rate": 1}}, false},
		{"a figure that nobody has", "p99", Run{Slices: []Slice{{Turn: 1, ThrownAway: "the host took it"}}}, false},
	} {
		s := sample("echo", tt.figure, map[string][]float64{"a": {}})
		tt.run.Server, tt.run.Repetition = "b", 1
		s.Runs = append(s.Runs, Run{Server: "a", Repetition: 1, Figures: map[string]float64{"cpu": 1}}, tt.run)
		s.made, s.Took = 1, time.Minute
		(&Comparison{Servers: []Server{{Name: "a"}, {Name: "b"}}, Width: 0.05, Until: true}).summarize(&s)
		if v := s.summary("b", tt.figure).Verdict; (v.Needs > 0) != tt.more || s.settled(false, time.Hour) == tt.more {
			t.Errorf("%s: needs %v", tt.name, v.Needs)
		}
	}
}

// TestNeedsForEver: what would take longer than a time can say is long.
func TestNeedsForEver(t *testing.T) {
	s := &Scenario{made: 1, Took: 24 * time.Hour}
	if got := s.toRepeat(1e6); got != forEver || roughly(got) != "days" {
		t.Errorf("a million days are %v", got)
	}
	s.Summary = []Summary{{Verdict: Verdict{Needs: forEver}}}
	if s.settled(false, time.Hour) || s.settled(true, forEver*2) || !s.settled(true, time.Hour) {
		t.Error("it does not compare what it needs with what is left")
	}
}
