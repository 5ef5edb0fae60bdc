package server

import "sync/atomic"

// ServerStats are a server's counts since its start.
type ServerStats struct {
	Open         int64  // connections in the loops now, in any state
	Accepted     uint64 // connections
	Upgraded     uint64 // to WebSocket
	Refused      uint64 // requests answered with an error
	HandedToHTTP uint64 // connections given to net/http
	AcceptErrors uint64 // out of descriptors, or a registration that failed
	MessagesIn   uint64 // text and binary
	BytesIn      uint64
	Dropped      uint64 // messages refused because a queue was full
	Panics       uint64 // of handlers
	Handovers    uint64 // loops taken from a slow handler
	Waits        uint64 // times a slow loop could not be taken: all workers were held
}

// loopCounters are a loop's share of ServerStats. The leader and the turn's
// worker count, anyone reads.
type loopCounters struct {
	open         atomic.Int64
	accepted     atomic.Uint64
	upgraded     atomic.Uint64
	refused      atomic.Uint64
	handedToHTTP atomic.Uint64
	acceptErrors atomic.Uint64
	messagesIn   atomic.Uint64
	bytesIn      atomic.Uint64
	dropped      atomic.Uint64
	panics       atomic.Uint64
	handovers    atomic.Uint64
	waits        atomic.Uint64
}

func (n *loopCounters) add(received turnStats) {
	if received.messages > 0 {
		n.messagesIn.Add(uint64(received.messages))
	}
	if received.bytes > 0 {
		n.bytesIn.Add(uint64(received.bytes))
	}
}

// Stats are the server's counts so far. It may be called at any time; before
// the first use they are zero.
func (s *Server) Stats() (sum ServerStats) {
	if !s.started.Load() {
		return sum
	}
	for _, l := range s.loops {
		n := &l.counters
		sum.Open += n.open.Load()
		sum.Accepted += n.accepted.Load()
		sum.Upgraded += n.upgraded.Load()
		sum.Refused += n.refused.Load()
		sum.HandedToHTTP += n.handedToHTTP.Load()
		sum.AcceptErrors += n.acceptErrors.Load()
		sum.MessagesIn += n.messagesIn.Load()
		sum.BytesIn += n.bytesIn.Load()
		sum.Dropped += n.dropped.Load()
		sum.Panics += n.panics.Load()
		sum.Handovers += n.handovers.Load()
		sum.Waits += n.waits.Load()
	}
	return sum
}
