package result

import "time"

// Result is what a run measured. It is the content of millbench's --json.
type Result struct {
	Plan    Plan      `json:"plan"`              // with its defaults filled in
	Address string    `json:"address,omitempty"` // of the server: that of the URL's host which is loaded
	Machine Machine   `json:"machine"`
	Started time.Time `json:"started"`
	// Command is the command line that made the run, as sh reads it, and Version what
	// its program was built from; "": it was made from Go.
	Command string `json:"command,omitempty"`
	Version string `json:"version,omitempty"`
	// Seconds is the length of the measured window.
	Seconds float64 `json:"seconds"`

	Opened int `json:"opened"` // connections upgraded, over the whole run
	Failed int `json:"failed"` // connections that were not
	Lost   int `json:"lost"`   // upgraded connections that ended before their time
	Peak   int `json:"peak"`   // most connections open at once

	// Count is how many of Unit were done in the measured window: messages that
	// came back (or, in broadcast, arrived), or connections in storm, churn and wave.
	Count int64  `json:"count"`
	Unit  string `json:"unit"` // "message" or "connection"
	// PerSecond is Count a second; NaN (null in JSON) if nothing was measured.
	PerSecond float64 `json:"per_second"`
	// Bytes of payload received in the measured window.
	Bytes int64 `json:"bytes"`

	// Latency is that of one Unit: a message's round trip (in an open loop from
	// the time it was due), a connection's whole life in churn, the time from
	// connect to upgrade in storm and wave; in broadcast from a message's sending
	// to its arrival at each receiver.
	Latency *Latency `json:"latency"`
	// Service is a message's round trip from its actual sending, in open loops
	// and churn.
	Service *Latency `json:"service,omitempty"`
	// Skew is the time from a message's first receiver to its last, in broadcast.
	Skew *Latency `json:"skew,omitempty"`
	// Connect is the time from connect to upgrade, over the whole run.
	Connect *Latency `json:"connect"`

	Server *ServerUse `json:"server,omitempty"` // nil: not known
	Client ClientUse  `json:"client"`

	// EndedEarly is why the run ended before its time, and when: the figures are of what
	// was done by then. "" if it did not.
	EndedEarly string `json:"ended_early,omitempty"`

	Samples []Sample `json:"samples"`         // one for each 0.1 s, over the whole run
	Steps   []Step   `json:"steps,omitempty"` // a sweep's tries of rates, a wave's returns, the phases of slow
	// Knee is what a sweep found; nil: no rate held, or it was no sweep.
	Knee *Knee `json:"knee,omitempty"`

	Troubles []Trouble `json:"troubles,omitempty"` // what went wrong: the run failed if there is one
	Notes    []string  `json:"notes,omitempty"`    // what a reader should know, a sentence each
}

// Machine says where a run took place.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	System string `json:"system"` // kernel and its version
	Go     string `json:"go"`
}

// Step is one part of a run of several.
type Step struct {
	Name      string   `json:"name"`
	Offered   float64  `json:"offered,omitempty"` // units a second asked for
	PerSecond float64  `json:"per_second"`        // and done
	Seconds   float64  `json:"seconds"`
	Latency   *Latency `json:"latency"`
	// Verdict is what a sweep makes of the try: Held, OverLimit or Behind.
	Verdict string `json:"verdict,omitempty"`
	// Disturbed is why a failed try does not count: ByClient or BySteal; "": it does.
	Disturbed string `json:"disturbed,omitempty"`
}

// Trouble is one kind of failure.
type Trouble struct {
	What  string `json:"what"`  // "connect: connection refused"
	Count int    `json:"count"` // how often
}
