package compare

import (
	"slices"

	"github.com/aclements/go-moremath/stats"
)

// The intervals that are shown have this confidence, which takes so many values:
// with five, all lie on one side of the median once in sixteen times.
const (
	confidence     = 0.95
	leastConfident = 6
)

// Estimate is the median of some values and how far it can be trusted.
type Estimate struct {
	Count  int     `json:"count"` // of the values; 0: nothing is known
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	// Confident says that the median of all runs there could be lies between Low
	// and High with 95 % confidence. Fewer than six values can not tell: then these
	// are merely the lowest and the highest.
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

// ratios gives a figure of a server divided by that of base, one for each
// repetition in which both are known.
func (s *Scenario) ratios(server, base, figure string) []float64 {
	var ratios []float64
	for _, r := range s.Runs {
		if r.Server != server {
			continue
		}
		i := slices.IndexFunc(s.Runs, func(b Run) bool { return b.Server == base && b.Repetition == r.Repetition })
		if i < 0 {
			continue
		}
		ours, known := r.Figures[figure]
		theirs := s.Runs[i].Figures[figure]
		if known && theirs != 0 {
			ratios = append(ratios, ours/theirs)
		}
	}
	return ratios
}

// summarize fills in Summary from the runs.
func (s *Scenario) summarize(servers []Server) {
	s.Summary = nil
	for _, server := range servers {
		if !server.takesPart(s.Name) {
			continue
		}
		for _, figure := range s.Figures {
			s.Summary = append(s.Summary, Summary{
				Server: server.Name, Figure: figure,
				Value: estimate(s.values(server.Name, figure)),
				Ratio: estimate(s.ratios(server.Name, servers[0].Name, figure)),
			})
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
