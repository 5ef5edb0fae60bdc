package bench

import (
	"net/netip"
	"time"
)

// The scenarios, as Plan.Scenario and as subcommands of millbench.
const (
	Echo      = "echo"      // closed loop: each connection keeps InFlight messages under way
	Rate      = "rate"      // open loop: messages are due at a fixed rate
	Sweep     = "sweep"     // open loop, the rate raised until the server falls behind
	Idle      = "idle"      // memory of an idle connection, then a message to each
	Storm     = "storm"     // connections opened as fast as allowed
	Churn     = "churn"     // connect, some messages, close, over and over
	Wave      = "wave"      // all connections drop at once and come back
	Slow      = "slow"      // a share of the peers reads slowly or not at all
	Broadcast = "broadcast" // one publishes, all receive
)

// Plan says what load to make. The zero value of a field is its default.
type Plan struct {
	Scenario string `json:"scenario"`
	// URL is ws://host[:port]/path, or wss:// with TLS.
	URL string `json:"url"`
	// Insecure takes any certificate of the server, in wss.
	Insecure bool `json:"insecure,omitempty"`
	// CAFile is a file of certificates in PEM that are trusted, in wss, in place of
	// the system's. "": the system's.
	CAFile string `json:"ca_file,omitempty"`
	// Connections to hold at once; in churn, how many are at it at once.
	// Default 100.
	Connections int `json:"connections"`
	// MinSize and MaxSize bound a message's payload in bytes; each message's
	// size is drawn evenly between them. Default 64 and MinSize.
	MinSize int `json:"min_size"`
	MaxSize int `json:"max_size"`
	// InFlight is how many messages of a connection are under way at once, in
	// closed loops. Default 1.
	InFlight int `json:"in_flight"`
	// Binary messages instead of text.
	Binary bool `json:"binary,omitempty"`
	// Rate is messages a second over all connections, in open loops (in a
	// sweep, the first rate; in broadcast, messages published). Default 1,000.
	Rate float64 `json:"rate,omitempty"`
	// Warmup is loaded but not measured; default 1 s, negative: none.
	Warmup time.Duration `json:"warmup_ns"`
	// Duration is measured: default 5 s. In a sweep, for each rate; in wave,
	// how long the connections stay between two drops.
	Duration time.Duration `json:"duration_ns"`
	// ConnectRate bounds new connections a second; 0: as fast as allowed.
	ConnectRate float64 `json:"connect_rate,omitempty"`
	// Handshakes is how many connections may be opening at once. Default 256.
	Handshakes int `json:"handshakes"`
	// ConnectTimeout is the longest a connection may take from connect to the
	// upgrade, TLS included. Default 10 s.
	ConnectTimeout time.Duration `json:"connect_timeout_ns"`
	// Messages of each connection, in churn. Default 1, negative: none.
	Messages int `json:"messages,omitempty"`
	// Reset makes connections end with a reset instead of a close handshake in
	// churn, and of a FIN without one in wave.
	Reset bool `json:"reset,omitempty"`
	// Waves is how often all drop and come back. Default 3.
	Waves int `json:"waves,omitempty"`
	// SlowShare is the part of the connections that read slowly, above 0 and
	// below 1. Default 0.1.
	SlowShare float64 `json:"slow_share,omitempty"`
	// SlowRate is how many bytes a second a slow connection reads; 0: none.
	SlowRate int `json:"slow_rate,omitempty"`
	// SweepFactor is by how much each rate of a sweep exceeds the one before.
	// Default 1.5.
	SweepFactor float64 `json:"sweep_factor,omitempty"`
	// SweepLimit is the p99 beyond which a sweep's server has fallen behind.
	// Default 50 ms.
	SweepLimit time.Duration `json:"sweep_limit_ns,omitempty"`
	// Sources are the addresses to connect from, each of them until its ports
	// are used up. Default: the system's choice, and for a server on 127.0.0.0/8
	// the addresses from 127.0.0.1 on.
	Sources []netip.Addr `json:"sources,omitempty"`
	// Origin and Subprotocol go into the request; "": none.
	Origin      string `json:"origin,omitempty"`
	Subprotocol string `json:"subprotocol,omitempty"`
	// Deflate is DeflateOff, DeflateOn or DeflateTakeover; a server that declines is
	// a trouble. With compression the payloads are made of 64 words in random order
	// instead of random letters. Default DeflateOff.
	Deflate string `json:"deflate,omitempty"`
	// Header is what else goes into the request: lines "Name: value".
	Header []string `json:"header,omitempty"`
	// Seed makes the payloads. Default 1.
	Seed uint64 `json:"seed"`
	// Loops is how many event loops share the load, at most one for each
	// connection. Default GOMAXPROCS, half of it in rate and sweep.
	Loops int `json:"loops"`
	// Processes shares the load among so many child processes; 0 and 1: none.
	Processes int `json:"processes,omitempty"`
	// Poller names the engine, see poller.Engines. Default the system's.
	Poller string `json:"poller,omitempty"`
	// ServerPID is the server's process on this machine, to measure its CPU and
	// memory; 0: whoever listens on the URL's port, -1: nobody.
	ServerPID int `json:"server_pid,omitempty"`
	// Timeout ends the run, whatever its state. Default: what the plan takes,
	// and a minute.
	Timeout time.Duration `json:"timeout_ns"`
}
