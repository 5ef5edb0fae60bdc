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
	// came back (or, in receive, came), a message's deliveries to a connection in
	// broadcast, or connections in storm, churn and wave.
	Count int64  `json:"count"`
	Unit  string `json:"unit"` // "message", "delivery" or "connection"
	// PerSecond is Count a second; NaN (null in JSON) if nothing was measured.
	PerSecond float64 `json:"per_second"`
	// Bytes of payload received in the measured window.
	Bytes int64 `json:"bytes"`

	// Latency is that of one Unit: a message's round trip (in an open loop from
	// the time it was due), a connection's whole life in churn, the time from
	// connect to upgrade in storm and wave; in broadcast from when a message was due,
	// or with a bound on those in flight from its sending, to its arrival at each
	// receiver; in receive the time between two messages of a connection.
	Latency *Latency `json:"latency"`
	// Service is a message's round trip from its actual sending, in open loops
	// and churn.
	Service *Latency `json:"service,omitempty"`
	// Skew is the time from a message's first receiver to its last, in broadcast,
	// and Last the time from when it was due to its last receiver. The publisher
	// itself is not among the receivers here, and a message that not all got is in
	// neither.
	Skew *Latency `json:"skew,omitempty"`
	Last *Latency `json:"last,omitempty"`
	// Connect is the time from connect to upgrade, over the whole run.
	Connect *Latency `json:"connect"`

	Publication *Publication `json:"publication,omitempty"` // nil: not a broadcast

	Handshakes *Handshakes `json:"handshakes,omitempty"` // of TLS; nil: there is none
	Wire       *Wire       `json:"wire,omitempty"`       // nil: nothing is compressed

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

// Publication is what a broadcast has besides its deliveries.
type Publication struct {
	// Published is how many messages were due in the measured window and sent, and
	// PerSecond that a second; NaN (null in JSON) if nothing was measured.
	Published int64   `json:"published"`
	PerSecond float64 `json:"published_per_second"`
	// Own says that a publisher gets its own messages, too.
	Own bool `json:"own"`
	// Missing is how many messages did not arrive at a connection, over the whole
	// run, and Doubled how many arrived again, or behind a later one of their
	// publisher. Missing is nil (null in JSON) if that is not known: the run ended before
	// all could arrive, or one of its processes did.
	Missing *int64 `json:"missing"`
	Doubled int64  `json:"doubled"`
	// Clients is the most connections with which the p95 of Last kept the limit, 0: with
	// none; nil: there was no limit, or the run ended before its first step did.
	Clients *int `json:"clients,omitempty"`
}

// Handshakes are those of TLS that succeeded.
type Handshakes struct {
	Count     int64   `json:"count"`      // in the measured window
	PerSecond float64 `json:"per_second"` // NaN (null in JSON) if there was none
	All       int64   `json:"all"`        // over the whole run
	Resumed   int64   `json:"resumed"`    // of those: with the session of another connection
}

// Wire is what compression makes of messages in the measured window, in bytes: whole
// frames, and the payloads in them. Control frames and what receive
// gets are not counted.
type Wire struct {
	Sent            int64 `json:"sent"`
	SentPayload     int64 `json:"sent_payload"`
	Received        int64 `json:"received"`
	ReceivedPayload int64 `json:"received_payload"`
}

// Add adds other's counts.
func (w *Wire) Add(other Wire) {
	w.Sent += other.Sent
	w.SentPayload += other.SentPayload
	w.Received += other.Received
	w.ReceivedPayload += other.ReceivedPayload
}

// SentRatio is bytes on the wire for each byte of payload, and ReceivedRatio that of
// what came back; 0 where there was none.
func (w *Wire) SentRatio() float64 { return ratio(w.Sent, w.SentPayload) }

// ReceivedRatio is described with SentRatio.
func (w *Wire) ReceivedRatio() float64 { return ratio(w.Received, w.ReceivedPayload) }

func ratio(wire, payload int64) float64 {
	if payload == 0 {
		return 0
	}
	return float64(wire) / float64(payload)
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
	PerSecond float64  `json:"per_second"`        // and done; NaN (null in JSON) if nothing was measured
	Seconds   float64  `json:"seconds"`
	Latency   *Latency `json:"latency"`
	// Verdict is what a sweep makes of the try: Held, OverLimit or Behind.
	Verdict string `json:"verdict,omitempty"`
	// Disturbed is why a failed try does not count: ByClient or BySteal; "": it does.
	Disturbed string   `json:"disturbed,omitempty"`
	Last      *Latency `json:"last,omitempty"` // as in Result
}

// Trouble is one kind of failure.
type Trouble struct {
	What  string `json:"what"`  // "connect: connection refused"
	Count int    `json:"count"` // how often
}
