package compare

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// What a verdict says of a server beside the first.
const (
	better = "better"
	worse  = "worse"
	equal  = "equal"
)

// Verdict says what a ratio is worth. It holds with 95 % confidence: of the same servers
// one comparison in twenty at most comes to another one, however often it has looked, but
// it may come to none. Of several ratios each has that confidence by itself.
type Verdict struct {
	// Says is "better" or "worse", by more than the width, or "equal": within it. "":
	// it is not decided.
	Says string `json:"says,omitempty"`
	// Needs is about how much more time the scenario would need to decide it; 0: it
	// is decided, or more time does not help.
	Needs time.Duration `json:"needs_ns,omitempty"`
	// ClientBound is why the ratio is the client's and not the servers'. "": it is not.
	ClientBound string `json:"client_bound,omitempty"`
}

// decide judges a ratio by a width, 0.05 for 5 %. Better and worse are beyond it and
// equal is within, so a ratio at the very edge stays undecided; if 1 divided better
// from worse, a ratio of 1.01 would be called now this, now that.
func decide(e Estimate, moreIsBetter bool, width float64) string {
	edge := 1 + width
	above, below := e.Low >= edge, e.High <= 1/edge
	switch {
	case !e.Confident:
		return ""
	case e.Low > 1/edge && e.High < edge:
		return equal
	case above && moreIsBetter, below && !moreIsBetter:
		return better
	case above, below:
		return worse
	}
	return ""
}

// lacks is about how many more repetitions would decide a ratio: an interval shrinks
// with the root of their number, until one of its ends is on this side of the edge. While
// it is wider than the width, its middle is chance, and may lie at the very edge by that:
// half of the width is what is usually left.
func lacks(e Estimate, width, confidence float64) int {
	const most = 1e6
	if !e.Confident {
		return max(leastFor(confidence)-e.Count, 1)
	}
	middle := math.Log(e.Median)
	half := max(math.Log(e.High)-middle, middle-math.Log(e.Low))
	edge := math.Log1p(width)
	left := math.Abs(math.Abs(middle) - edge)
	if half > edge {
		left = max(left, edge/2)
	}
	factor := math.Pow(half/left, 2) - 1 // or infinite
	return int(min(max(math.Ceil(float64(e.Count)*factor), 1), most))
}

// judge judges a server's figure beside the first server's.
func (c *Comparison) judge(s *Scenario, m *Summary) Verdict {
	if why := s.clientBound(m.Server, c.Servers[0].Name, m.Figure); why != "" {
		return Verdict{ClientBound: why}
	}
	_, moreIsBetter := describe(m.Figure)
	says := decide(m.Ratio, moreIsBetter, c.Width)
	if says != "" || m.Ratio.Count == 0 && !(s.mayKnow(m.Server, m.Figure) && s.mayKnow(c.Servers[0].Name, m.Figure)) {
		return Verdict{Says: says}
	}
	return Verdict{Needs: s.toRepeat(lacks(m.Ratio, c.Width, c.confidence()))}
}

// mayKnow tells whether a server has a figure, or may yet have it: all its slices were
// thrown away.
func (s *Scenario) mayKnow(server, figure string) bool {
	return slices.ContainsFunc(s.Runs, func(r Run) bool {
		_, known := r.Figures[figure]
		return r.Server == server && (known || r.Error == "" && len(r.Figures) == 0)
	})
}

// toRepeat is how long so many more repetitions would take.
func (s *Scenario) toRepeat(n int) time.Duration {
	each := s.Took.Seconds() / float64(max(s.made, 1))
	return time.Duration(min(float64(n)*each, forEver.Seconds()) * float64(time.Second))
}

// forEver is more than anybody waits.
const forEver = 10 * 365 * 24 * time.Hour

// clientBound says why a ratio is not the servers': in half of the pairs or more the
// client was at its limit. What a message costs the server is its own all the same.
func (s *Scenario) clientBound(server, base, figure string) string {
	if f, _ := new(result.Result).Figure(figure); f.ServersOwn {
		return ""
	}
	all, bound, why := 0, 0, ""
	for _, p := range s.pairs(server, base) {
		if _, known := p.ratio(figure); !known {
			continue
		}
		all++
		for _, r := range []*Run{p.base, p.run} {
			if r.Bottleneck != "" {
				why = r.Server + ": " + r.Bottleneck
			}
		}
		if p.run.Bottleneck+p.base.Bottleneck != "" {
			bound++
		}
	}
	if bound == 0 || 2*bound < all {
		return ""
	}
	return why
}

// ratio shows what is known of a ratio: in round brackets what is the client's.
func (m *Summary) ratio() string {
	text := m.Ratio.in("x")
	switch v := m.Verdict; {
	case m.Ratio.Count == 0:
		return text
	case v.ClientBound != "":
		return "(" + text + ")"
	case v.Says != "":
		return text + " " + v.Says
	case v.Needs > 0:
		return text + " ? " + roughly(v.Needs)
	}
	return text
}

// roughly rounds a time that is only estimated.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "1 min"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(math.Ceil(d.Minutes())))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(math.Ceil(d.Hours())))
	}
	return "days"
}

// settled tells whether more repetitions of a scenario are of no use: all verdicts stand.
// Giving up leaves out those that would need much more than what is left, give or take a
// half.
func (s *Scenario) settled(givingUp bool, left time.Duration) bool {
	return !slices.ContainsFunc(s.Summary, func(m Summary) bool {
		needs := m.Verdict.Needs
		return needs > 0 && !(givingUp && needs/3*2 >= left)
	})
}
