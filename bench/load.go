package bench

import (
	"net/netip"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// Load is what all scenarios have in common.
type Load struct {
	Connections Connections
	Messages    Messages
	// Warmup is loaded but not measured. Default 1 s, negative: none. Idle, Storm
	// and Wave have none.
	Warmup time.Duration
	// Duration is how long to measure. Default 5 s. A scenario in which it means
	// something else says so.
	Duration time.Duration
	Client   Client
}

// Connections says how many there are, and how they are opened.
type Connections struct {
	// Count is how many to hold at once. Default 100.
	Count int
	// Rate bounds new ones a second; 0: as fast as Handshakes allows.
	Rate float64
	// Handshakes is how many may be opening at once. Default 256.
	Handshakes int
	// Timeout is the longest that one may take from connect to the upgrade, TLS
	// included. Default 10 s.
	Timeout time.Duration
	// Sources are the addresses to connect from, each of them until its ports are
	// used up. Default: the system's choice, and for a server on 127.0.0.0/8 the
	// addresses from 127.0.0.1 on.
	Sources []netip.Addr
}

// What Messages.Text may be. Each is valid UTF-8 of exactly the size asked for: what
// is left over by characters of several bytes is ASCII.
const (
	TextASCII    = "ascii"    // random letters and digits: hardly to be compressed
	TextWords    = "words"    // 64 made-up words in random order
	TextJSON     = "json"     // objects as an application may send; a message may begin in the midst of one
	TextLatin    = "latin"    // half of it letters with accents, of 2 bytes
	TextCyrillic = "cyrillic" // letters of 2 bytes
	TextCJK      = "cjk"      // characters of 3 bytes
	TextEmoji    = "emoji"    // characters of 4 bytes
)

// Messages says what they are like.
type Messages struct {
	// MinSize and MaxSize bound a payload, in bytes; each message's size is drawn
	// evenly between them. Default 64, and MinSize.
	MinSize int
	MaxSize int
	// Binary ones instead of text.
	Binary bool
	// Text is what payloads are made of, of binary messages too: TextASCII, TextWords
	// and so on. Default TextWords with compression, else TextASCII.
	Text string
	// Seed makes the payloads. Default 1.
	Seed uint64
}

// Client says what makes the load.
type Client struct {
	// Loops is how many event loops share it, at most one for each connection.
	// Default GOMAXPROCS, half of it in Rate and Sweep, whose loops do not sleep.
	Loops int
	// Processes shares the load among so many child processes, since one may hold
	// only so many descriptors: see RunChild. 0 and 1: none.
	Processes int
	// Poller names the engine, see poller.Engines. Default the system's.
	Poller string
	// FirstReply is how long the first of all messages may take to come back, before the
	// run ends: the server does not send any back. Of a long one it is how long nothing
	// more may come. Default 1 s.
	FirstReply time.Duration
	// Timeout ends the run, whatever its state. Default: what it should take, and
	// a minute.
	Timeout time.Duration
}

// record is the load of a scenario.
func (l Load) record(scenario string) result.Plan {
	c, m := l.Connections, l.Messages
	return result.Plan{
		Scenario:    scenario,
		Connections: c.Count, ConnectRate: c.Rate, Handshakes: c.Handshakes, ConnectTimeout: c.Timeout, Sources: c.Sources,
		MinSize: m.MinSize, MaxSize: m.MaxSize, Binary: m.Binary, Text: m.Text, Seed: m.Seed,
		Warmup: l.Warmup, Duration: l.Duration,
		Loops: l.Client.Loops, Processes: l.Client.Processes, Poller: l.Client.Poller, FirstReply: l.Client.FirstReply, Timeout: l.Client.Timeout,
	}
}
