package compare

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// runAll runs all scenarios in each repetition, so that the runs of each are
// spread over the whole time, and a bad minute of the machine hits a few of all.
func (s *study) runAll(ctx context.Context) []Scenario {
	var all []Scenario
	for _, sc := range s.scenarios {
		all = append(all, Scenario{Name: sc.name, Title: sc.title, Load: s.lab.generator.load(sc), Figures: sc.figures})
	}
	for goesOn := true; goesOn; {
		goesOn = false
		for i, sc := range s.scenarios {
			if s.done(&all[i]) {
				continue
			}
			goesOn = true
			began := time.Now()
			s.repeat(ctx, all[i].made+1, sc, &all[i])
			all[i].Took += time.Since(began)
			all[i].made++
			if ctx.Err() != nil {
				return all
			}
		}
	}
	return all
}

// done tells whether a scenario needs no further repetition. One that was done stays so.
func (s *study) done(sc *Scenario) bool {
	sc.over = sc.over || s.enough(sc)
	return sc.over
}

// enough judges what there is of a scenario.
func (s *study) enough(sc *Scenario) bool {
	if s.until == 0 {
		return sc.made >= s.repetitions
	}
	if sc.made == 0 {
		return false
	}
	next := sc.Took / time.Duration(sc.made)
	left := s.atMost - sc.Took
	if left < next || sc.made >= mostRepetitions {
		return true
	}
	if !slices.Contains(looks(s.repetitions), sc.made) {
		return false
	}
	s.result.summarize(sc)
	if sc.settled(false, left) {
		return true
	}
	// What a few repetitions seem to lack is mostly chance.
	givesUp := sc.Took >= s.atMost/2 && sc.settled(true, left)
	if givesUp {
		s.note("%s ended before its time: what is not decided there would need far more than %s", sc.Name, roughly(left))
	}
	return givesUp
}

// repeat runs all servers in turn in one repetition of a scenario: slice by slice if
// the load can be made so, or else run by run.
func (s *study) repeat(ctx context.Context, rep int, sc scenario, result *Scenario) {
	var servers []*server
	base := 0
	for _, i := range order(len(s.servers), rep) {
		if s.servers[i].takesPart(sc.name) {
			if i == 0 {
				base = len(servers)
			}
			servers = append(servers, &s.servers[i])
		}
	}
	if s.lab.generator.slices(sc, target{}) != nil {
		for _, run := range s.lab.sit(ctx, servers, base, sc, rep) {
			s.keep(run, sc, result)
		}
		return
	}
	for _, o := range servers {
		run := s.run(ctx, o, sc)
		if ctx.Err() != nil {
			return // the run was cut short
		}
		run.Repetition = rep
		s.keep(run, sc, result)
	}
}

// keep adds a run, and tells of it.
func (s *study) keep(run Run, sc scenario, result *Scenario) {
	if s.result.Machine.Cores == 0 {
		s.result.Machine = run.machine
	}
	result.Runs = append(result.Runs, run)
	fmt.Fprintf(s.stderr, "%s, %s: %s\n", sc.name, s.count(run.Repetition), run.line(sc.figures))
}

// count says which repetition it is of how many.
func (s *study) count(rep int) string {
	if s.until > 0 {
		return fmt.Sprint(rep)
	}
	return fmt.Sprintf("%d of %d", rep, s.repetitions)
}

// order is in which order n servers run in a repetition: forth, then back, so
// that none always follows the same other.
func order(n, repetition int) []int {
	turn := make([]int, n)
	for i := range turn {
		turn[i] = i
	}
	if repetition%2 == 0 {
		slices.Reverse(turn)
	}
	return turn
}

// others is how many servers have their turns between two of the one that ratios are to.
const others = 3

// mostApart is how far apart slices may be whose ratio counts: with one in between that
// was thrown away, but in the same quarter of a minute.
const mostApart = 2 * (others + 1)

// turns is in which order n servers take turns in a round: at random, and in the next
// round back, so that what gets faster or slower all the time favours none. The base,
// that ratios are to, has more turns than one if there are many others, so that it is
// never far.
func turns(n, base, repetition, round int) []int {
	pairOfRounds := uint64(round-1) / 2
	var turns []int
	between := others
	for _, i := range rand.New(rand.NewPCG(uint64(repetition), pairOfRounds)).Perm(n) {
		if i == base {
			continue
		}
		if between == others {
			turns, between = append(turns, base), 0
		}
		turns, between = append(turns, i), between+1
	}
	if n == 1 {
		turns = []int{base}
	}
	if round%2 == 0 {
		slices.Reverse(turns)
	}
	return turns
}

// run makes one run of a server.
func (s *study) run(ctx context.Context, o *server, sc scenario) Run {
	run := Run{Server: o.name}
	result, err := s.lab.run(ctx, o, sc)
	if err != nil {
		run.Error = err.Error()
		return run
	}
	run.Figures, run.Bottleneck, run.machine = result.figures, result.bottleneck, result.machine
	return run
}

// line tells of a run in a line.
func (r *Run) line(figures []string) string {
	if r.Error != "" {
		return r.Server + ": failed: " + r.Error
	}
	var parts []string
	for _, name := range figures {
		if v, known := r.Figures[name]; known {
			parts = append(parts, name+" "+format(name, v))
		}
	}
	return r.Server + ": " + strings.Join(parts, ", ")
}
