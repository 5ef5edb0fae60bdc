package result

import (
	"net/netip"
	"time"
)

// The scenarios, as Plan.Scenario and as subcommands of millbench. Package bench
// has a struct for each, which says what it does.
const (
	Echo      = "echo"
	Rate      = "rate"
	Sweep     = "sweep"
	Idle      = "idle"
	Storm     = "storm"
	Churn     = "churn"
	Wave      = "wave"
	Slow      = "slow"
	Broadcast = "broadcast"
	Receive   = "receive"
)

// Scenarios are all of them, in the order of the documentation.
func Scenarios() []string {
	return []string{Echo, Rate, Sweep, Idle, Storm, Churn, Wave, Slow, Broadcast, Receive}
}

// Plan is the load that was made: what was asked for in package bench's structs, in
// one record, with the defaults filled in. Fields that the scenario does not have are
// zero, and not in JSON. It is "plan" in millbench's --json.
type Plan struct {
	Scenario string `json:"scenario"`

	// The target.
	URL      string `json:"url"`
	Insecure bool   `json:"insecure,omitempty"`
	CAFile   string `json:"ca_file,omitempty"`

	// Connections held at once; in churn, how many are at it at once.
	Connections int `json:"connections"`
	// MinSize and MaxSize bound a message's payload, in bytes.
	MinSize int `json:"min_size,omitempty"`
	MaxSize int `json:"max_size,omitempty"`
	// InFlight is how many messages of a connection are under way at once, in
	// closed loops; in broadcast those of all connections, 0: it is an open loop.
	InFlight int    `json:"in_flight,omitempty"`
	Binary   bool   `json:"binary,omitempty"`
	Text     string `json:"text,omitempty"` // what payloads are made of, as in bench.Messages
	// Rate is messages a second over all connections, in open loops; in a sweep the
	// first rate, in broadcast those published, in slow those of the slow ones.
	Rate float64 `json:"rate,omitempty"`
	// Warmup is loaded but not measured; before the defaults are filled in, negative
	// is none.
	Warmup time.Duration `json:"warmup_ns,omitempty"`
	// Duration is measured; in a sweep for each rate, in wave the time between drops.
	Duration time.Duration `json:"duration_ns,omitempty"`

	// How connections are opened. ConnectRate is new ones a second; 0: no bound.
	ConnectRate    float64       `json:"connect_rate,omitempty"`
	Handshakes     int           `json:"handshakes"`
	ConnectTimeout time.Duration `json:"connect_timeout_ns"`

	// What single scenarios have. SlowRate is bytes a second.
	Messages    int           `json:"messages,omitempty"`
	Reset       bool          `json:"reset,omitempty"`
	Waves       int           `json:"waves,omitempty"`
	SlowShare   float64       `json:"slow_share,omitempty"`
	SlowRate    int           `json:"slow_rate,omitempty"`
	SweepFactor float64       `json:"sweep_factor,omitempty"`
	SweepLimit  time.Duration `json:"sweep_limit_ns,omitempty"`
	// SweepMax is the highest rate tried; 0: no bound. SweepPrecision is how wide the
	// knee's interval may be, as a part of the rate.
	SweepMax       float64 `json:"sweep_max,omitempty"`
	SweepPrecision float64 `json:"sweep_precision,omitempty"`
	// Publishers is how many connections publish in broadcast: the first ones.
	// Before the defaults are filled in, negative is all.
	Publishers int `json:"publishers,omitempty"`
	// RampLimit is the p95 of a message's last arrival up to which a broadcast adds
	// RampStep connections; 0: it adds none.
	RampLimit time.Duration `json:"ramp_limit_ns,omitempty"`
	RampStep  int           `json:"ramp_step,omitempty"`
	// EventStreams: the connections of a broadcast that do not publish are event streams.
	EventStreams bool `json:"event_streams,omitempty"`

	// Hello is what each connection sends first in receive; "": nothing.
	Hello string `json:"hello,omitempty"`

	// Sources are the addresses connected from; none: the system's choice.
	Sources []netip.Addr `json:"sources,omitempty"`

	// The request.
	Origin      string   `json:"origin,omitempty"`
	Subprotocol string   `json:"subprotocol,omitempty"`
	Deflate     string   `json:"deflate,omitempty"` // "off", "on" or "takeover"
	Resume      bool     `json:"resume,omitempty"`  // TLS sessions
	Header      []string `json:"header,omitempty"`  // lines "Name: value"

	// The client. Processes 0 and 1: no child processes.
	Seed      uint64 `json:"seed,omitempty"` // makes the payloads
	Loops     int    `json:"loops"`
	Processes int    `json:"processes,omitempty"`
	Poller    string `json:"poller,omitempty"`

	// FirstReply is how long the first of all messages may take to come back, before the
	// run ends since this is no server that sends any back. Of a long one it is how long
	// nothing more may come.
	FirstReply time.Duration `json:"first_reply_ns,omitempty"`

	// ServerPID is the server's process; 0: whoever listened on the URL's port, if that
	// was another process than the load's own, -1: nobody was looked at.
	ServerPID int           `json:"server_pid,omitempty"`
	Timeout   time.Duration `json:"timeout_ns"` // of the whole run
}
