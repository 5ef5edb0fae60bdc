package compare

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/internal/report"
)

// bar is what one of our servers has to reach: at most so much of a cost, at least
// so much of a rate, as a ratio to another server's or as the figure itself.
type bar struct {
	scenario, figure string
	server           string // that it is for
	against          string // a server, bestRival or itself
	limit            float64
}

const (
	ours      = "millrace"
	napping   = "stalled"    // ours, where some handlers sleep
	bestRival = "best rival" // stands for that of goRivals
	itself    = "-"          // the limit is of the figure, not of a ratio
)

var bars = []bar{
	{"echo-100", "cpu", ours, "floor", 1.10},
	{"echo-1k", "cpu", ours, "floor", 1.10},
	{"echo-10k", "cpu", ours, "floor", 1.10},
	{"inflight-16", "rate", ours, "floor", 0.80},
	{"echo-64k", "rate", ours, "floor", 0.85},
	{"churn-64", "cpu", ours, "floor", 1.25},
	{"rate-20k", "p99", ours, "floor", 2},
	{"idle-15k", "rss", ours, itself, 200},
	{"echo-1k", "p99", napping, ours, 1.5},
	{"echo-100", "p99", napping, ours, 1.5},
	{"echo-100", "rate", ours, bestRival, 1.1},
	{"echo-10k", "rate", ours, bestRival, 1.1},
	{"inflight-16", "rate", ours, "gnet", 1.1},
	{"idle-15k", "rss", ours, "gnet", 0.3},
	{"churn-64", "cpu", ours, bestRival, 1},
}

// verdicts holds what was measured against the bars of the servers that were
// compared.
func (c *Comparison) verdicts() table {
	t := table{{"bar", "against", "wanted", "measured", "verdict"}}
	for _, b := range bars {
		if c.has(b.server) && c.has(b.against) {
			t = append(t, c.verdict(b))
		}
	}
	return t
}

// has tells whether what a bar names was compared.
func (c *Comparison) has(name string) bool {
	return name == itself || slices.ContainsFunc(c.Servers, func(s Server) bool {
		return s.Name == name || name == bestRival && slices.Contains(goRivals, s.Name)
	})
}

// verdict is a bar's row.
func (c *Comparison) verdict(b bar) []string {
	name, measured, verdict := b.name(), "-", "not measured"
	i := slices.IndexFunc(c.Scenarios, func(s Scenario) bool { return s.Name == b.scenario })
	if i >= 0 {
		s := &c.Scenarios[i]
		if b.against == bestRival {
			if best := s.best(b.figure, goRivals); best != "" {
				b.against = best
			}
		}
		e := estimate(s.values(b.server, b.figure))
		if b.against != itself {
			e = estimateRatio(s.ratios(b.server, b.against, b.figure), c.confidence())
		}
		if e.Count > 0 {
			measured, verdict = e.in(b.unit()), b.judge(e)
		}
		if e.Count > 0 && s.clientBound(b.server, b.against, b.figure) != "" {
			measured, verdict = "("+measured+")", "client-bound"
		}
	}
	return []string{name, b.against, b.wanted(), measured, verdict}
}

func (b *bar) name() string {
	name := b.figure + ", " + b.scenario
	if b.server != ours {
		name += ", " + b.server
	}
	return name
}

func (b *bar) unit() string {
	if b.against != itself {
		return "x"
	}
	unit, _ := describe(b.figure)
	return unit
}

func (b *bar) wanted() string {
	sign := "<= "
	if _, moreIsBetter := describe(b.figure); moreIsBetter {
		sign = ">= "
	}
	if b.against == itself {
		return sign + report.Format(b.limit, b.unit())
	}
	return sign + fmt.Sprintf("%.2fx", b.limit)
}

// judge is the median's verdict, and not certain if the bar lies in its interval.
func (b *bar) judge(e Estimate) string {
	_, moreIsBetter := describe(b.figure)
	verdict := "PASS"
	switch {
	case moreIsBetter && e.Median < b.limit:
		verdict = "under"
	case !moreIsBetter && e.Median > b.limit:
		verdict = "over"
	}
	if !e.Confident || e.Low < b.limit && b.limit < e.High {
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
