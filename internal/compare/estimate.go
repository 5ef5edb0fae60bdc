package compare

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/aclements/go-moremath/stats"
)

// The intervals that are shown have this confidence, which takes so many values:
// with five, all lie on one side of the median once in sixteen times. Where ratios are
// looked at several times, each look has more, and takes more values: see [looks].
const (
	confidence     = 0.95
	leastConfident = 6
)

// leastFor gives how many values it takes for some confidence.
func leastFor(confidence float64) int {
	return int(math.Ceil(math.Log2(2 / (1 - confidence))))
}

// Estimate is the middle of some values and how far it can be trusted.
type Estimate struct {
	Count  int     `json:"count"` // of the values; 0: nothing is known
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	// Confident says that the middle of all values there could be lies between Low
	// and High with 95 % confidence, or that of the comparison. Too few values, fewer
	// than six for 95 %, can not tell: then these are merely the lowest and the highest.
	Confident bool `json:"confident"`
}

// estimate assumes nothing of how the values are distributed. The median of all
// runs there could be is as likely above one value as below it, so how many of n
// values lie below it is binomial, and two of the sorted values can be picked
// that have it between them with the confidence wanted.
func estimate(values []float64) Estimate {
	n := len(values)
	if n == 0 {
		return Estimate{}
	}
	sample := *stats.Sample{Xs: values}.Copy().Sort()
	e := Estimate{Count: n, Median: sample.Quantile(0.5), Low: sample.Xs[0], High: sample.Xs[n-1]}
	ci := stats.QuantileCI(n, 0.5, confidence)
	if ci.Ambiguous {
		ci.HiOrder++ // the interval one further up serves as well: take both
	}
	if ci.LoOrder >= 1 && ci.HiOrder <= n {
		e.Confident, e.Low, e.High = true, sample.Xs[ci.LoOrder-1], sample.Xs[ci.HiOrder-1]
	}
	return e
}

// estimateRatio is of ratios, one for each repetition. Two servers that change places
// turn a ratio round, so the logarithms of ratios are as likely by so much above their
// middle as below it, and Wilcoxon's signed ranks apply: the interval is that of Hodges
// and Lehmann. It needs fewer values than [estimate] for the same width, and no more
// minds a few that are far off.
//
// The machine's moods outlast a repetition at times. Then neighbours are alike, and
// tell less than so many values would: see [widening].
func estimateRatio(ratios []float64, confidence float64) Estimate {
	n := len(ratios)
	if n < leastFor(confidence) {
		e := estimate(ratios)
		if e.Count > 0 {
			e.Confident, e.Low, e.High = false, slices.Min(ratios), slices.Max(ratios)
		}
		return e
	}
	logs := make([]float64, n)
	for i, r := range ratios {
		logs[i] = math.Log(r)
	}
	means := walsh(logs)
	middle := (means[(len(means)-1)/2] + means[len(means)/2]) / 2
	below := signedRank(n, confidence)
	wider := widening(logs)
	at := func(end float64) float64 { return math.Exp(middle + wider*(end-middle)) }
	return Estimate{
		Count: n, Median: math.Exp(middle), Confident: true,
		Low: at(means[below]), High: at(means[len(means)-1-below]),
	}
}

// walsh gives the means of all pairs of values, each with itself too, in order.
func walsh(values []float64) []float64 {
	var means []float64
	for i, a := range values {
		for _, b := range values[:i+1] {
			means = append(means, (a+b)/2)
		}
	}
	slices.Sort(means)
	return means
}

// signedRank gives how many of the means of pairs of n values may be left out at each
// end of an interval. The sum of the ranks of the values on one side
// of the middle takes each of the 2^n ways with the same probability; ways counts
// those of each sum.
func signedRank(n int, confidence float64) int {
	most := n * (n + 1) / 2
	ways := make([]float64, most+1)
	ways[0] = 1
	for rank := 1; rank <= n; rank++ {
		for sum := most; sum >= rank; sum-- {
			ways[sum] += ways[sum-rank]
		}
	}
	allowed := (1 - confidence) / 2 * math.Exp2(float64(n))
	out, seen := 0, ways[0]
	for seen+ways[out+1] <= allowed {
		out++
		seen += ways[out]
	}
	return out
}

// widening is by how much wider the interval of the values' mean is than if they had
// nothing to do with each other, at least 1. It is the worse of two estimates. One knows
// the correlation of neighbours, and takes those further apart to follow from it. The
// other takes the means of batches of neighbours, of each length that leaves enough of
// them. In simulations (TestCoverage) neither is enough alone.
func widening(values []float64) float64 {
	const mostAlike = 0.8 // beyond it few values can not tell
	n := float64(len(values))
	mean := stats.Mean(values)
	var together, alone float64
	for i, v := range values {
		alone += (v - mean) * (v - mean)
		if i > 0 {
			together += (v - mean) * (values[i-1] - mean)
		}
	}
	if alone == 0 {
		return 1
	}
	alike := min(max(together/alone+1/n, 0), mostAlike) // 1/n: few values seem less alike than they are
	widening := math.Sqrt((1 + alike) / (1 - alike))
	ofMean := stats.StdDev(values) / math.Sqrt(n)
	for length := 2; len(values)/length >= leastConfident; length++ {
		means := batches(values, length)
		widening = max(widening, stats.StdDev(means)/math.Sqrt(float64(len(means)))/ofMean)
	}
	return widening
}

// batches gives the means of so many neighbours each; what is left over at the end is
// in none.
func batches(values []float64, length int) []float64 {
	var means []float64
	for batch := range slices.Chunk(values, length) {
		if len(batch) == length {
			means = append(means, stats.Mean(batch))
		}
	}
	return means
}

// values gives a figure of all good runs of a server.
func (s *Scenario) values(server, figure string) []float64 {
	var values []float64
	for _, r := range s.Runs {
		if v, ok := r.Figures[figure]; ok && r.Server == server {
			values = append(values, v)
		}
	}
	return values
}

// pair is a run of a server and one of another in the same repetition.
type pair struct{ run, base *Run }

// pairs gives them in the order they were made.
func (s *Scenario) pairs(server, base string) []pair {
	var pairs []pair
	for i := range s.Runs {
		r := &s.Runs[i]
		if r.Server != server {
			continue
		}
		at := slices.IndexFunc(s.Runs, func(b Run) bool { return b.Server == base && b.Repetition == r.Repetition })
		if at >= 0 {
			pairs = append(pairs, pair{r, &s.Runs[at]})
		}
	}
	return pairs
}

// ratios gives a figure of a server divided by that of base, one for each repetition
// in which both are known.
func (s *Scenario) ratios(server, base, figure string) []float64 {
	var ratios []float64
	for _, p := range s.pairs(server, base) {
		if ratio, known := p.ratio(figure); known {
			ratios = append(ratios, ratio)
		}
	}
	return ratios
}

// endless is more than the logarithm of any ratio but one to a rate of 0.
const endless = 1e3

// ratio is the median of the ratios of all slices that match, or that of whole runs. The
// other way round it is one divided by it. A slice in which nothing came back counts
// among the others; if the median is one of those, there is no ratio.
func (p pair) ratio(figure string) (float64, bool) {
	if len(p.run.Slices) == 0 {
		ours, theirs := p.run.Figures[figure], p.base.Figures[figure]
		return ours / theirs, ours > 0 && theirs > 0
	}
	var logs []float64
	for _, m := range p.matches(figure) {
		logs = append(logs, min(max(math.Log(m.ours/m.theirs), -endless), endless))
	}
	middle := estimate(logs).Median
	return math.Exp(middle), len(logs) > 0 && math.Abs(middle) < endless/4
}

// match is what a figure was in a slice, and in the slice of the base next to it.
type match struct {
	ours, theirs float64
	turns        [2]int // the earlier one first
}

// matches finds one slice of the base for each slice, the nearest first, and by lot where
// two are as near. No slice is in two matches: if many were held against the same one, or
// one against the middle of many, two servers that are alike would seem not to be, since
// what disturbs a slice does not make it faster as often as slower.
func (p pair) matches(figure string) []match {
	near := p.near(figure)
	rand.New(rand.NewPCG(uint64(p.run.Repetition), 0)).Shuffle(len(near), func(i, j int) { near[i], near[j] = near[j], near[i] })
	slices.SortStableFunc(near, func(a, b match) int { return (a.turns[1] - a.turns[0]) - (b.turns[1] - b.turns[0]) })
	matched := map[int]bool{}
	return slices.DeleteFunc(near, func(m match) bool {
		if matched[m.turns[0]] || matched[m.turns[1]] {
			return true
		}
		matched[m.turns[0]], matched[m.turns[1]] = true, true
		return false
	})
}

// near gives all that may match, in an order that is the same the other way round.
func (p pair) near(figure string) []match {
	var near []match
	for _, a := range p.run.Slices {
		for _, b := range p.base.Slices {
			ours, known := a.Figures[figure]
			theirs, theirsToo := b.Figures[figure]
			m := match{ours, theirs, [2]int{min(a.Turn, b.Turn), max(a.Turn, b.Turn)}}
			if known && theirsToo && ours+theirs > 0 && m.turns[1]-m.turns[0] <= mostApart {
				near = append(near, m)
			}
		}
	}
	slices.SortFunc(near, func(a, b match) int { return slices.Compare(a.turns[:], b.turns[:]) })
	return near
}

// summarize fills in a scenario's Summary from its runs. With Until, verdicts are wanted,
// so also one of too few repetitions says what it lacks.
func (c *Comparison) summarize(s *Scenario) {
	s.Summary = nil
	for i, server := range c.Servers {
		if !server.takesPart(s.Name) {
			continue
		}
		base := c.Servers[0].Name
		for _, figure := range s.Figures {
			m := Summary{
				Server: server.Name, Figure: figure,
				Value: estimate(s.values(server.Name, figure)),
				Ratio: estimateRatio(s.ratios(server.Name, base, figure), c.confidence()),
			}
			if i > 0 {
				m.Verdict = c.judge(s, &m)
				if !m.Ratio.Confident && !c.Until {
					m.Verdict.Needs = 0
				}
			}
			s.Summary = append(s.Summary, m)
		}
	}
}

// summary gives what is known of a server's figure; the zero Summary if nothing.
func (s *Scenario) summary(server, figure string) Summary {
	for _, m := range s.Summary {
		if m.Server == server && m.Figure == figure {
			return m
		}
	}
	return Summary{}
}
