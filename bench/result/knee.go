package result

// Knee is where a sweep found that the server falls behind: above Low, and below
// High.
type Knee struct {
	// Low is the highest rate that held, in units a second.
	Low float64 `json:"low"`
	// High is the lowest rate that did not. nil: no rate was shown to be too much for
	// the server. It can do at least Low, and Bound says why that is all.
	High *float64 `json:"high"`
	// Broke is how High did not hold: OverLimit or Behind; "" without High.
	Broke string `json:"broke,omitempty"`
	// Bound is why the interval is open, or wider than asked; "": it is neither.
	Bound string `json:"bound,omitempty"`
	// Noise counts the tries that failed at rates that held in the end.
	Noise int `json:"noise"`
	// Disturbed counts the failed tries that tell nothing of the server, see
	// Step.Disturbed.
	Disturbed int `json:"disturbed"`
}

// What Step.Verdict says of a try of a rate.
const (
	Held      = "held"
	OverLimit = "over limit" // its p99 passed the limit
	Behind    = "behind"     // less than 95 % of what was due came back in time
)

// What Step.Disturbed says of a failed try that does not count: the load
// generator sent late, or the host took time away from the machine's cores
// (steal). The rate is tried again.
const (
	ByClient = "client late"
	BySteal  = "time stolen"
)
