package bench

import (
	"time"

	"github.com/millrace/millrace/bench/result"
)

// Scenario is what to do with a server: one of the structs of this package.
type Scenario interface {
	// record is the whole plan but for the target.
	record() result.Plan
}

// Echo is a closed loop: each connection keeps InFlight messages under way to a
// server that sends each back. It finds the most that the server can do, not the
// latency under a given load.
type Echo struct {
	Load
	// InFlight is how many messages of a connection are under way at once. Default 1.
	InFlight int
}

func (s Echo) record() result.Plan {
	p := s.Load.record(result.Echo)
	p.InFlight = s.InFlight
	return p
}

// Rate is an open loop: messages are due at a fixed rate, whatever the server
// does, and latency counts from when a message was due. So a pause of the server
// shows in each message that it delayed.
type Rate struct {
	Load
	// PerSecond is how many messages are due, over all connections. Default 1,000.
	PerSecond float64
}

func (s Rate) record() result.Plan {
	p := s.Load.record(result.Rate)
	p.Rate = s.PerSecond
	return p
}

// Sweep looks for the rate of an open loop that is too much for the server: less
// than 95 % of what is due comes back in time, or its p99 passes Limit. It raises
// the rate by Factor until one does not hold, then halves the interval between
// the highest that held and the lowest that did not until it is as narrow as
// Precision. A rate is too much if it fails in two of three tries, each of
// Duration; a failed try in which the load generator was late, or the host took
// time from the machine's cores, does not count and is repeated. Result.Knee has
// the interval. The other figures are those of the highest rate that held.
type Sweep struct {
	Load
	// From is the first rate, in messages a second over all connections. Default 1,000.
	From float64
	// Factor is by how much each rate exceeds the one before. Default 1.5.
	Factor float64
	// To is the highest rate tried. Default 0: until the server falls behind.
	To float64
	// Limit is the p99 beyond which the server has fallen behind. Default 50 ms.
	Limit time.Duration
	// Precision is how wide the knee's interval may be, as a part of the rate.
	// Default 0.05.
	Precision float64
}

func (s Sweep) record() result.Plan {
	p := s.Load.record(result.Sweep)
	p.Rate, p.SweepFactor, p.SweepLimit = s.From, s.Factor, s.Limit
	p.SweepMax, p.SweepPrecision = s.To, s.Precision
	return p
}

// Idle opens connections, leaves them idle for Duration, measures what memory each
// took of the server, and then sends a message on each at once.
type Idle struct{ Load }

func (s Idle) record() result.Plan { return s.Load.record(result.Idle) }

// Storm opens connections as fast as Connections allows, and measures the time of
// each from connect to upgrade. It ends when all are open: Duration is without
// effect.
type Storm struct{ Load }

func (s Storm) record() result.Plan { return s.Load.record(result.Storm) }

// Churn keeps Connections.Count connections at connecting, sending, and closing,
// and begins again. Latency is that of a connection's whole life.
type Churn struct {
	Load
	// Each is how many messages each connection sends, one after another. Default 1,
	// negative: none.
	Each int
	// Reset ends connections with a reset instead of a close handshake.
	Reset bool
}

func (s Churn) record() result.Plan {
	p := s.Load.record(result.Churn)
	p.Messages, p.Reset = s.Each, s.Reset
	return p
}

// Wave opens connections, drops all of them at once and opens them again.
// Duration is how long they stay between two drops. Latency is the time from
// connect to upgrade.
type Wave struct {
	Load
	// Times is how often they drop. Default 3.
	Times int
	// Reset drops them with a reset instead of a FIN; there is no close handshake.
	Reset bool
}

func (s Wave) record() result.Plan {
	p := s.Load.record(result.Wave)
	p.Waves, p.Reset = s.Times, s.Reset
	return p
}

// Slow is a closed loop, first with fast connections alone, then beside a share
// that sends but reads slowly or not at all. The result is that of the fast ones
// then. Duration is for each of the two.
type Slow struct {
	Load
	// InFlight is how many messages of a fast connection are under way at once.
	// Default 1.
	InFlight int
	// Share is the part of the connections that is slow, above 0 and below 1.
	// Default 0.1.
	Share float64
	// PerSecond is how many messages all slow connections send together. Default
	// 1,000.
	PerSecond float64
	// ReadRate is how many bytes a second a slow connection reads; 0: none.
	ReadRate int
}

func (s Slow) record() result.Plan {
	p := s.Load.record(result.Slow)
	p.InFlight, p.Rate, p.SlowShare, p.SlowRate = s.InFlight, s.PerSecond, s.Share, s.ReadRate
	return p
}

// Broadcast has some connections publish to a server that gives each message to all
// connections, of which there are at least two; whether to its sender too is the
// server's choice. Latency is from when a message was due to each arrival. A message
// begins with 20 bytes that say whose it is, its number and when it was due: that
// is the least Messages.MinSize.
type Broadcast struct {
	Load
	// PerSecond is how many messages are published, by all publishers in turn.
	// Default 1,000.
	PerSecond float64
	// Publishers is how many connections publish: the first ones. Default 1,
	// negative: all.
	Publishers int
	// InFlight makes it a closed loop, without PerSecond: so many messages are on
	// their way, and the next is sent when all others have one. It takes one process.
	// 0: an open loop.
	InFlight int
	// Limit adds Step connections at a time, up to Connections.Count, until the p95
	// of the time that a message takes to its last receiver exceeds it; Duration is
	// for each number of them. InFlight is 4 then, if it is not set. 0: all
	// connections at once.
	Limit time.Duration
	// Step is at least Client.Loops for each publisher. Default 1,000.
	Step int
	// EventStreams: the connections that do not publish are event streams (Server-Sent
	// Events): a GET of the same path with Accept: text/event-stream, without Target.Subprotocol.
	// Messages are neither binary nor compressed then.
	EventStreams bool
}

func (s Broadcast) record() result.Plan {
	p := s.Load.record(result.Broadcast)
	p.Rate, p.Publishers, p.InFlight, p.RampLimit, p.RampStep = s.PerSecond, s.Publishers, s.InFlight, s.Limit, s.Step
	p.EventStreams = s.EventStreams
	return p
}

// Receive opens connections and counts what the server sends by itself: messages,
// bytes, and the time between two messages of a connection, which is the Latency.
// What is in the messages is not looked at, only that their frames are right;
// compressed ones count with their compressed size.
type Receive struct {
	Load
	// Hello is a message that each connection sends when it is open, such as one
	// that subscribes to something. "": none.
	Hello string
}

func (s Receive) record() result.Plan {
	p := s.Load.record(result.Receive)
	p.Hello = s.Hello
	return p
}
