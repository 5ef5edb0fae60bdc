package compare

import (
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
	s.summarize([]Server{{Name: "a"}, {Name: "b"}}, 0.05, true)
	if v := s.summary("b", "rate").Verdict; v.Needs != 4*time.Minute {
		t.Errorf("needs %v, want four repetitions of a minute", v.Needs)
	}
}
