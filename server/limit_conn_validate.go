package server

import (
	"cmp"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/ws"
)

// ownNames makes names of ConnLimits' fields of the server's, but for those that a
// connection can not have.
var ownNames = strings.NewReplacer(
	"Limits.InboundMemory", "Limits.InboundMemory", "Limits.QueueMemory", "Limits.QueueMemory",
	"Limits.", "ConnLimits.", "Queue.", "ConnLimits.Queue.", "Timeouts.", "ConnLimits.Timeouts.",
	"Keepalive.Interval", "ConnLimits.PingInterval",
)

// judgeOwn says what is wrong with a connection's own limits l, all with the server's, by
// the rules of Validate; maxQueue is what they come to. whole: messages are kept until
// they are whole.
func (s *Server) judgeOwn(l, all ConnLimits, maxQueue int, whole bool) error {
	v := validation{names: ownNames}
	v.conn(all)
	v.pings(l.PingInterval, s.Keepalive.BalancerIdle)
	v.want(s.limits.backlog == 0 || int64(maxQueue) <= s.limits.backlog, "Queue.Max", maxQueue,
		"at most Limits.QueueMemory, which is %d", s.limits.backlog)
	v.want(all.Queue.Max != 0 || all.Queue.HighWater <= maxQueue, "Queue.HighWater", all.Queue.HighWater,
		"0, or at most Queue.Max, which is %d", maxQueue)
	needs := s.inboundOfOne(all.maxMessage())
	v.want(!whole || s.limits.inbound == 0 || needs <= s.limits.inbound, "Limits.Message", all.Message,
		"less: one message may need %d bytes of memory, and Limits.InboundMemory is %d", needs, s.limits.inbound)
	return errors.Join(v.wrong...)
}

// conn judges what holds for open connections.
func (v *validation) conn(l ConnLimits) {
	atLeast0(v, "Limits.Message", l.Message)
	v.rates(l)
	v.queue(l.Queue)
	v.want(l.Queue.Policy <= DropNewest, "Queue.Policy", l.Queue.Policy, "CloseWhenFull or DropNewest")
	within(v, "Timeouts.Write", l.Timeouts.Write, minTimeout, maxTimeout)
	within(v, "Timeouts.Message", max(l.Timeouts.Message, 0), minTimeout, maxTimeout)
	within(v, "Timeouts.Close", l.Timeouts.Close, minTimeout, maxTimeout)
	within(v, "Timeouts.Idle", l.Timeouts.Idle, minTimeout, maxTimeout)
	within(v, "Timeouts.Lifetime", l.Timeouts.Lifetime, minTimeout, maxTimeout)
	v.want(l.Timeouts.Lifetime <= 0 || l.Timeouts.Idle <= l.Timeouts.Lifetime, "Timeouts.Idle", l.Timeouts.Idle,
		"0, or at most Timeouts.Lifetime, which is %v: nobody is there so long", l.Timeouts.Lifetime)
}

// rates judges token buckets. A burst without a rate would do nothing.
func (v *validation) rates(l ConnLimits) {
	atLeast0(v, "Limits.MessageRate", l.MessageRate)
	atLeast0(v, "Limits.MessageBurst", l.MessageBurst)
	v.want(l.MessageBurst <= 0 || l.MessageRate != 0, "Limits.MessageBurst", l.MessageBurst, "0 without a Limits.MessageRate")
	atLeast0(v, "Limits.ByteRate", l.ByteRate)
	atLeast0(v, "Limits.ByteBurst", l.ByteBurst)
	needs := bytesOfMessage(l.maxMessage())
	switch {
	case l.ByteBurst <= 0:
	case l.ByteRate == 0:
		v.want(false, "Limits.ByteBurst", l.ByteBurst, "0 without a Limits.ByteRate")
	case l.ByteBurst < needs:
		v.want(false, "Limits.ByteBurst", l.ByteBurst, "0, or at least %d: what a message of Limits.Message, which is %d, takes", needs, l.maxMessage())
	}
}

// queue judges bounds of what waits to be sent.
func (v *validation) queue(q Queue) {
	atLeast0(v, "Queue.Max", q.Max)
	atLeast0(v, "Queue.LowWater", q.LowWater)
	v.want(q.Max <= 0 || q.HighWater <= q.Max, "Queue.HighWater", q.HighWater, "0, or at most Queue.Max, which is %d", q.Max)
	if q.HighWater < 0 {
		v.want(q.LowWater <= 0, "Queue.LowWater", q.LowWater, "0, since by Queue.HighWater there is never a pause")
	} else {
		v.want(q.LowWater <= q.highWater(), "Queue.LowWater", q.LowWater, "0, or at most Queue.HighWater, which is %d", q.highWater())
	}
}

// pings judges an interval of pings that a balancer, which cuts idle connections, is to
// see.
func (v *validation) pings(interval, balancerIdle time.Duration) {
	within(v, "Keepalive.Interval", max(interval, 0), minTimeout, maxTimeout)
	if balancerIdle < minBalancerIdle {
		return
	}
	v.want(interval >= 0 && interval <= MaxPingInterval(balancerIdle), "Keepalive.Interval", interval,
		"0, or at most %v, jitter included: the balancer cuts idle connections after the Keepalive.BalancerIdle of %v", MaxPingInterval(balancerIdle), balancerIdle)
}

// inboundOfOne is the most memory that one connection may need for what it receives:
// the buffer of its message or head, and TLS records.
func (s *Server) inboundOfOne(message int64) int64 {
	size := min(max(message, int64(cmp.Or(s.Limits.Head, defaultMaxHead))), math.MaxInt/2)
	if s.Deflate != nil {
		size += size/8 + 1<<10 // compressing may make a message larger
	}
	return int64(buffer.CapOf(int(size))) + inboundSlack
}

// bytesOfMessage is what a message of this size takes in one frame, with its mask.
func bytesOfMessage(size int64) int64 {
	const mask = 4
	header := int64(ws.MaxHeader + mask)
	switch {
	case size <= 125:
		header = 2 + mask
	case size < 1<<16:
		header = 4 + mask
	}
	return min(size, math.MaxInt64-header) + header
}
