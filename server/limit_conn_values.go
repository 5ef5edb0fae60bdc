package server

import (
	"cmp"
	"math"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/internal/rate"
)

// connLimits are the bounds of a connection with the defaults filled in and times in
// ticks: the server's, or its own.
type connLimits struct {
	maxMessage int64
	messages   rate.Limit // the zero value: no bound
	bytes      rate.Limit // the zero value: no bound
	maxQueue   int
	highWater  int
	lowWater   int
	drops      bool // what does not fit into the queue; else the connection is closed
	write      ticks
	message    ticks // 0: never
	idle       ticks // 0: never
	lifetime   ticks // 0: no end
	closing    ticks
	ping       ticks // 0: never
}

// connFields are the server's fields that a connection may have of its own.
func (s *Server) connFields() ConnLimits {
	return ConnLimits{
		Message:     s.Limits.Message,
		MessageRate: s.Limits.MessageRate, MessageBurst: s.Limits.MessageBurst,
		ByteRate: s.Limits.ByteRate, ByteBurst: s.Limits.ByteBurst,
		Queue: s.Queue,
		Timeouts: ConnTimeouts{
			Write: s.Timeouts.Write, Message: s.Timeouts.Message, Idle: s.Timeouts.Idle,
			Lifetime: s.Timeouts.Lifetime, Close: s.Timeouts.Close,
		},
		PingInterval: s.pingInterval(),
	}
}

// over is l with the server's fields where l has none, fitted to those that it has.
func (l ConnLimits) over(s ConnLimits) ConnLimits {
	all := s
	all.Message = cmp.Or(l.Message, s.Message)
	if l.MessageRate != 0 {
		all.MessageRate, all.MessageBurst = max(l.MessageRate, 0), 0
	}
	all.MessageBurst = cmp.Or(l.MessageBurst, all.MessageBurst)
	if l.ByteRate != 0 {
		all.ByteRate, all.ByteBurst = max(l.ByteRate, 0), 0
	}
	if all.ByteBurst > 0 {
		all.ByteBurst = max(all.ByteBurst, bytesOfMessage(all.maxMessage()))
	}
	all.ByteBurst = cmp.Or(l.ByteBurst, all.ByteBurst)
	all.Queue = l.Queue.over(s.Queue)
	all.Timeouts = l.Timeouts.over(s.Timeouts)
	all.PingInterval = cmp.Or(l.PingInterval, s.PingInterval)
	return all
}

func (q Queue) over(s Queue) Queue {
	all := Queue{
		Max:       cmp.Or(q.Max, s.Max),
		HighWater: cmp.Or(q.HighWater, s.HighWater),
		LowWater:  cmp.Or(q.LowWater, s.LowWater),
		Policy:    cmp.Or(q.Policy, s.Policy),
	}
	if q.HighWater == 0 && q.Max > 0 && all.HighWater > all.Max {
		all.HighWater = 0
	}
	if q.LowWater == 0 && (all.HighWater < 0 || all.LowWater > all.highWater()) {
		all.LowWater = 0
	}
	return all
}

func (t ConnTimeouts) over(s ConnTimeouts) ConnTimeouts {
	all := ConnTimeouts{
		Write:    cmp.Or(t.Write, s.Write),
		Message:  cmp.Or(t.Message, s.Message),
		Idle:     max(cmp.Or(t.Idle, s.Idle), 0),
		Lifetime: max(cmp.Or(t.Lifetime, s.Lifetime), 0),
		Close:    cmp.Or(t.Close, s.Close),
	}
	if t.Idle == 0 && all.Lifetime > 0 && all.Idle > all.Lifetime {
		all.Idle = 0 // nobody is there so long
	}
	return all
}

// effective has the defaults filled in.
func (l ConnLimits) effective() connLimits {
	c := connLimits{
		maxMessage: l.maxMessage(),
		messages:   rate.New(int64(l.MessageRate), int64(l.MessageBurst)),
		maxQueue:   l.maxQueue(),
		highWater:  l.Queue.highWater(),
		drops:      l.Queue.Policy == DropNewest,
		write:      loop.TimeoutTicks(positive(l.Timeouts.Write, defaultWriteTimeout)),
		closing:    loop.TimeoutTicks(positive(l.Timeouts.Close, defaultCloseTimeout)),
	}
	c.lowWater = min(positive(l.Queue.LowWater, c.highWater/4), c.highWater)
	burst := l.ByteBurst
	if burst <= 0 {
		burst = max(l.ByteRate, bytesOfMessage(c.maxMessage)) // a message that is allowed is never too fast by itself
	}
	c.bytes = rate.New(l.ByteRate, burst)
	if timeout := cmp.Or(l.Timeouts.Message, defaultMessageTimeout); timeout > 0 {
		c.message = loop.TimeoutTicks(timeout)
	}
	if l.Timeouts.Idle > 0 {
		c.idle = loop.TimeoutTicks(l.Timeouts.Idle)
	}
	if l.Timeouts.Lifetime > 0 {
		c.lifetime = loop.TicksOf(l.Timeouts.Lifetime)
	}
	if l.PingInterval > 0 {
		c.ping = loop.TicksOf(l.PingInterval)
	}
	return c
}

// maxMessage is the effective Message.
func (l ConnLimits) maxMessage() int64 { return positive(l.Message, defaultMaxMessage) }

// highWater is the effective HighWater.
func (q Queue) highWater() int {
	switch {
	case q.HighWater < 0:
		return math.MaxInt
	case q.HighWater > 0:
		return q.HighWater
	case q.Max > 0:
		return min(defaultHighWater, q.Max/4)
	}
	return defaultHighWater
}

// queueSlack is what a turn may have gathered when a message is to be queued
// behind it, and the headers.
const queueSlack = 128 << 10

// maxQueue is the effective Queue.Max. Below the high mark there is room for what the
// turn has gathered and any message, unless Queue.Max says otherwise.
func (l ConnLimits) maxQueue() int {
	follows := min(l.maxMessage(), math.MaxInt/4) + queueSlack
	if l.Queue.HighWater >= 0 {
		follows += int64(min(l.Queue.highWater(), math.MaxInt/4))
	}
	return positive(l.Queue.Max, max(defaultMaxQueue, int(follows)))
}

// paced says whether what a peer sends has a rate.
func (l *connLimits) paced() bool { return l.messages.Limited() || l.bytes.Limited() }

// alone says whether a connection has something to remember that no other one has.
func (l *connLimits) alone() bool { return l.idle > 0 || l.paced() }
