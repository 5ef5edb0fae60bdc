package compare

import (
	"fmt"
	"slices"
)

// subject is the server that the bars are for.
const subject = "millrace"

// bar is a ratio that millrace has to reach: at most so much of a cost, at least
// so much of a rate.
type bar struct {
	scenario, figure string
	against          string // a server; "": the best of goRivals
	limit            float64
}

var bars = []bar{
	{"echo-100", "cpu", "floor", 1.10},
	{"echo-1k", "cpu", "floor", 1.10},
	{"echo-10k", "cpu", "floor", 1.10},
	{"echo-100", "rate", "", 1.1},
	{"echo-10k", "rate", "", 1.1},
	{"inflight-16", "rate", "gnet", 1.1},
	{"idle-15k", "rss", "gnet", 0.3},
	{"churn-64", "cpu", "", 1},
}

// verdicts holds what was measured against the bars.
func (c *Comparison) verdicts() table {
	t := table{{"bar", "against", "wanted", "measured", "verdict"}}
	for _, b := range bars {
		against, measured, verdict := b.against, "-", "not measured"
		i := slices.IndexFunc(c.Scenarios, func(s Scenario) bool { return s.Name == b.scenario })
		if i >= 0 {
			s := &c.Scenarios[i]
			if against == "" {
				against = s.best(b.figure, goRivals)
			}
			if ratio := estimate(s.ratios(subject, against, b.figure)); ratio.Count > 0 {
				measured, verdict = ratio.ratio(), b.verdict(ratio)
			}
		}
		if against == "" {
			against = "the best Go rival"
		}
		t = append(t, []string{b.figure + ", " + b.scenario, against, b.wanted(), measured, verdict})
	}
	return t
}

func (b *bar) wanted() string {
	if _, moreIsBetter := describe(b.figure); moreIsBetter {
		return fmt.Sprintf(">= %.2fx", b.limit)
	}
	return fmt.Sprintf("<= %.2fx", b.limit)
}

// verdict is the median's, and not certain if the bar lies in its interval.
func (b *bar) verdict(ratio Estimate) string {
	_, moreIsBetter := describe(b.figure)
	verdict := "PASS"
	switch {
	case moreIsBetter && ratio.Median < b.limit:
		verdict = "under"
	case !moreIsBetter && ratio.Median > b.limit:
		verdict = "over"
	}
	if !ratio.Confident || ratio.Low < b.limit && b.limit < ratio.High {
		verdict += ", not certain"
	}
	return verdict
}

// best gives which of the servers has the best median of a figure; "" if it is
// known of none.
func (s *Scenario) best(figure string, servers []string) string {
	_, moreIsBetter := describe(figure)
	best, lead := "", 0.0
	for _, name := range servers {
		e := estimate(s.values(name, figure))
		if e.Count > 0 && (best == "" || (e.Median > lead) == moreIsBetter) {
			best, lead = name, e.Median
		}
	}
	return best
}
