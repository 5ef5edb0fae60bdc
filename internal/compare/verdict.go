package compare

import (
	"fmt"
	"math"
	"time"
)

// What a verdict says of a server beside the first.
const (
	better = "better"
	worse  = "worse"
	equal  = "equal"
)

// Verdict says what a ratio is worth. It holds with 95 % confidence: another
// comparison of the same servers comes to another one once in twenty times at most,
// but it may come to none.
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
func lacks(e Estimate, width float64) int {
	const most = 1e6
	if !e.Confident {
		return max(leastConfident-e.Count, 1)
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

// verdict judges a server's figure beside the first server's.
func (s *Scenario) verdict(server, base, figure string, ratio Estimate, width float64) Verdict {
	if why := s.clientBound(server, base, figure); why != "" {
		return Verdict{ClientBound: why}
	}
	_, moreIsBetter := describe(figure)
	says := decide(ratio, moreIsBetter, width)
	if says != "" || ratio.Count == 0 {
		return Verdict{Says: says}
	}
	return Verdict{Needs: time.Duration(lacks(ratio, width)) * s.Took / time.Duration(max(s.made, 1))}
}

// clientBound says why a ratio is not the servers': in half of the pairs or more the
// client was at its limit. What a message costs the server is its own all the same.
func (s *Scenario) clientBound(server, base, figure string) string {
	if figure == "cpu" || figure == "rss" {
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

// settled tells whether more repetitions of a scenario are of no use: all verdicts
// stand that can within the time left, give or take a half.
func (s *Scenario) settled(left time.Duration) bool {
	for _, m := range s.Summary {
		if m.Verdict.Needs > 0 && m.Verdict.Needs < left*3/2 {
			return false
		}
	}
	return true
}
