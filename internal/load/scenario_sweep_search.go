package load

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/bench/result"
)

const (
	maxTries  = 100 // of a sweep, of all rates
	votes     = 2   // tries of a rate that agree decide
	maxSpoilt = 5   // tries of a rate that tell nothing, then nothing can be said of it
	// fewest is how many messages a try must have due to say anything.
	fewest = 20
)

// search decides which rates a sweep tries. It raises the rate until one is too
// much, or lowers it until one holds; then it halves the interval between the
// highest that held and the lowest that did not, by ratio.
//
// A rate holds if its first try does. Else the majority of three tries decides:
// one bad second of a machine says nothing of a server.
type search struct {
	first, most, least float64 // rates
	factor, precision  float64

	low, high float64 // the highest rate that held and the lowest that did not; 0: none yet
	unknown   float64 // the lowest rate of which nothing can be said; 0: none
	why       string  // that is so

	rate                 float64 // that is tried
	held, failed, spoilt int     // tries of it
	tries                int     // of all

	broke            string // how high did not hold
	bound            string // why no more is tried, though the interval is open or wide
	clientLate       bool   // at the unknown rate
	noise, disturbed int
}

func newSearch(p *plan) *search {
	return &search{
		first: p.Rate, most: p.sweepMax(), least: min(p.Rate, fewest/p.Duration.Seconds()),
		factor: p.SweepFactor, precision: p.SweepPrecision,
	}
}

// next is the rate to try next; false: the search is over.
func (s *search) next() (rate float64, goOn bool) {
	switch {
	case s.bound != "":
		return 0, false
	case s.tries >= maxTries:
		s.bound = fmt.Sprintf("all of %d tries were used up", maxTries)
		return 0, false
	case s.rate > 0: // not decided
	case s.low > 0 && s.unknown > 0 && (s.high == 0 || s.unknown < s.high):
		s.bound = s.why
		return 0, false
	case s.tries == 0:
		s.rate = s.first
	case s.low == 0:
		return s.lower()
	case s.high == 0 && s.low >= s.most:
		s.bound = "no higher rate was to be tried"
		return 0, false
	case s.high == 0:
		s.rate = min(s.low*s.factor, s.most)
	case s.high <= s.low*(1+s.precision):
		return 0, false
	default:
		s.rate = math.Sqrt(s.low * s.high)
	}
	return s.rate, true
}

// lower goes on while no rate has held.
func (s *search) lower() (rate float64, goOn bool) {
	lowest := s.high
	if lowest == 0 || s.unknown > 0 && s.unknown < lowest {
		lowest = s.unknown
	}
	if lowest <= s.least {
		s.bound = fmt.Sprintf("at a lower rate fewer than %d messages are due in a try", fewest)
		return 0, false
	}
	s.rate = max(lowest/s.factor, s.least)
	return s.rate, true
}

// nth is the how manieth try of the rate is next.
func (s *search) nth() int { return s.held + s.failed + s.spoilt + 1 }

// took takes a try of the rate that next gave: how it went, and why it does not
// count if it failed and does not.
func (s *search) took(verdict, disturbed string) {
	s.tries++
	switch {
	case verdict == result.Held:
		s.held++
	case disturbed != "":
		s.disturbed++
		s.spoilt++
	default:
		s.failed++
	}
	switch {
	case s.held >= votes || s.held > 0 && s.failed == 0:
		s.noise += s.failed
		s.low = s.rate
	case s.failed >= votes:
		s.high, s.broke = s.rate, verdict
	case s.spoilt >= maxSpoilt:
		s.unknown, s.clientLate = s.rate, disturbed == result.ByClient
		s.why = s.whyUnknown()
	default:
		return
	}
	s.rate, s.held, s.failed, s.spoilt = 0, 0, 0, 0
}

// whyUnknown says why nothing can be said of the rate.
func (s *search) whyUnknown() string {
	why := "the host took time from the machine"
	if s.clientLate {
		why = "the client sent late"
	}
	return fmt.Sprintf("%s in %d failed tries of %.0f/s", why, s.spoilt, s.rate)
}

// knee is what was found by now; nil: no rate held.
func (s *search) knee() *result.Knee {
	if s.low == 0 {
		return nil
	}
	k := &result.Knee{Low: s.low, Bound: s.bound, Noise: s.noise, Disturbed: s.disturbed}
	if s.high > 0 {
		k.High, k.Broke = &s.high, s.broke
	}
	return k
}
