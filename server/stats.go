package server

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/ws"
)

// ServerStats are a server's counts since its start, and how it stands now.
type ServerStats struct {
	Open    int64 // connections in the loops now, in any state
	States  States
	Bridged int64 // of Open, those that goroutines carry: see Server.ServeHTTP and ServeListener

	Accepted     uint64 // connections
	AcceptErrors uint64 // out of descriptors, or a registration that failed
	ProxyRefused uint64 // connections closed for want of a right PROXY header
	HandedToHTTP uint64 // connections given to net/http
	Returned     uint64 // connections that net/http has given back: an upgrade, or a request to be refused, came behind a page
	Upgraded     uint64 // to WebSocket
	EventStreams EventStreamStats
	Refused      uint64         // requests answered with an error, those taken over from net/http included; not who was turned away unread: see Limits
	Refusals     map[int]uint64 // the same by status
	Closes       []CloseCount   // how upgraded connections ended, event streams aside

	TLSHandshakes uint64 // that succeeded
	TLSFailed     uint64 // handshakes that failed, and first bytes that were no TLS
	TLSUnderWay   int    // handshakes that go on now
	TLSWaiting    int    // handshakes that wait for a place now: see Server.Limits.TLSHandshakes

	MessagesIn, MessagesOut uint64 // text and binary; out: accepted for sending
	BytesIn, BytesOut       uint64 // of all connections, handshakes included
	Dropped                 uint64 // messages refused because a queue was full, or is too small for them
	Paused                  int64  // connections that are not read now: see Server.Queue.HighWater and Conn.PauseReading
	Pauses                  uint64 // how often one was paused
	Queues                  int    // connections with an outbound queue now
	Inbound                 int64  // memory that all unfinished input holds, in bytes: see Server.Limits.InboundMemory
	Backlog                 int64  // memory that all queues hold, in bytes: see Server.Limits.QueueMemory

	Group GroupStats

	Inflated, Deflated Compressed // of these messages, those that came compressed, and were sent so
	Windows            int64      // bytes promised to connections for context takeover, see Deflate.MaxWindows

	Pings uint64 // keepalive pings sent
	Dead  uint64 // connections closed because the peer gave no sign of life

	Panics    uint64 // of handlers
	Handovers uint64 // loops taken from a slow handler
	Waits     uint64 // times a slow loop could not be taken: all workers were held
	Loops     int
	Workers   Workers
	LoopLag   Histogram // how long a loop, while busy, takes to see what is posted to it

	Ready bool // as Server.Ready
	Drain DrainProgress

	LogDropped uint64 // log records that were not written: see Server.Logger

	Limits [NumLimits]uint64 // how often each limit was met, indexed by Limit
}

// States are the connections in the loops now, by where they stand.
type States struct {
	Handshake int64 // not open yet
	Open      int64
	Closing   int64 // our close frame is out, the peer's is awaited
	Ending    int64 // over, but for what is still to be written: at most Timeouts.Write without progress
}

// Workers are the server's goroutines that run handlers.
type Workers struct {
	Leading int // a loop
	Standby int
	Held    int // by a slow handler, its loop handed over
	Max     int // how many there may be, see Server.Runtime.Workers
}

// CloseCount is how many upgraded connections ended with a close code.
type CloseCount struct {
	Code   ws.Code // 3000 and 4000 stand for their thousand, 0 for those that are none
	Remote bool    // the peer closed, or is gone without a close frame
	Count  uint64
}

// Compressed counts messages with permessage-deflate.
type Compressed struct {
	Messages uint64
	Bytes    uint64 // of the messages
	Packed   uint64 // of their compressed form
}

// loopCounters are a loop's share of ServerStats. The leader and the turn's
// worker count, and who sends from elsewhere; anyone reads.
type loopCounters struct {
	open         atomic.Int64
	bridged      atomic.Int64
	states       [stateClosed]atomic.Int64 // by connState
	accepted     atomic.Uint64
	acceptErrors atomic.Uint64
	proxyRefused atomic.Uint64
	handedToHTTP atomic.Uint64
	returned     atomic.Uint64
	tlsDone      atomic.Uint64
	tlsFailed    atomic.Uint64
	upgraded     atomic.Uint64
	messagesIn   atomic.Uint64
	bytesIn      atomic.Uint64
	messagesOut  atomic.Uint64
	bytesOut     atomic.Uint64
	dropped      atomic.Uint64

	groupNewest, groupOldest, groupReplaced, groupExpired atomic.Uint64

	events eventCounters

	paused   atomic.Int64
	pauses   atomic.Uint64
	inflated compressedCounts
	deflated compressedCounts
	pings    atomic.Uint64
	dead     atomic.Uint64
	panics   atomic.Uint64
	closes   [2][closeSlots]atomic.Uint64 // by us, by the peer
	drained  atomic.Uint64                // connections ended since draining began, see DrainProgress
	cut      atomic.Uint64
}

// compressedCounts are counted as they come: next to what a message costs then, it
// is nothing.
type compressedCounts struct{ messages, bytes, packed atomic.Uint64 }

func (n *compressedCounts) add(bytes, packed int) {
	n.messages.Add(1)
	n.bytes.Add(uint64(bytes))
	n.packed.Add(uint64(packed))
}

// addPiece adds an inflated message or a piece of one.
func (n *compressedCounts) addPiece(m ws.Message) {
	n.bytes.Add(uint64(len(m.Payload)))
	if !m.More {
		n.messages.Add(1)
		n.packed.Add(uint64(m.Compressed))
	}
}

func (n *compressedCounts) addTo(sum *Compressed) {
	sum.Messages += n.messages.Load()
	sum.Bytes += n.bytes.Load()
	sum.Packed += n.packed.Load()
}

// turnStats are messages and bytes of a turn, added up when it ends.
type turnStats struct {
	messages, bytes int
}

// add adds what a turn has received and sent.
func (n *loopCounters) add(received, sent turnStats) {
	if received.messages > 0 {
		n.messagesIn.Add(uint64(received.messages))
	}
	if received.bytes > 0 {
		n.bytesIn.Add(uint64(received.bytes))
	}
	if sent.messages > 0 {
		n.messagesOut.Add(uint64(sent.messages))
	}
	if sent.bytes > 0 {
		n.bytesOut.Add(uint64(sent.bytes))
	}
}

// sentMessages counts messages that are accepted for sending, for the connection
// and its loop: with the turn's cork while there is one. The caller holds mu.
func (c *Conn) sentMessages(n int) {
	c.tally(messagesOut, n)
	if c.out != nil && c.out.corked {
		c.out.sent.messages += n
		return
	}
	c.loop.counters.messagesOut.Add(uint64(n))
}

// sentBytes is the same for bytes.
func (c *Conn) sentBytes(n int) {
	c.tally(bytesOut, n)
	if c.out != nil && c.out.corked {
		c.out.sent.bytes += n
		return
	}
	c.loop.counters.bytesOut.Add(uint64(n))
}

// refusals counts refused requests by status, which are few enough for one place
// a server. It is filled from any goroutine.
type refusals [600]atomic.Uint64

func (r *refusals) add(status int) {
	if status < 200 || status >= len(r) {
		status = http.StatusInternalServerError // as ws.AppendRefusal
	}
	r[status].Add(1)
}

func (r *refusals) sum() (total uint64, byStatus map[int]uint64) {
	byStatus = map[int]uint64{}
	for status := range r {
		if n := r[status].Load(); n > 0 {
			byStatus[status] = n
			total += n
		}
	}
	return total, byStatus
}

// Stats are the server's counts so far. It may be called at any time; before
// the first use they are zero.
func (s *Server) Stats() (sum ServerStats) {
	if !s.started.Load() {
		return sum
	}
	var closes [2][closeSlots]uint64
	var loops loop.Stats
	for _, l := range s.loops {
		l.counters.addTo(&sum)
		sum.Queues += l.queues.size()
		l.AddTo(&loops)
		for by := range closes {
			for slot := range closes[by] {
				closes[by][slot] += l.counters.closes[by][slot].Load()
			}
		}
	}
	for by := range closes {
		for slot, n := range closes[by] {
			if n > 0 {
				sum.Closes = append(sum.Closes, CloseCount{Code: slotCode(slot), Remote: by == 1, Count: n})
			}
		}
	}
	sum.Refused, sum.Refusals = s.refusals.sum()
	sum.Backlog, sum.Inbound = s.governor.outbound.total.Load(), s.governor.inbound.total.Load()
	sum.Loops, sum.Handovers, sum.Waits = len(s.loops), loops.Handovers, loops.Waits
	sum.LoopLag = Histogram(loops.Lag)
	sum.Ready, sum.Drain = s.Ready(), s.DrainProgress()
	if s.compression != nil {
		sum.Windows = s.compression.windows.Load()
	}
	sum.TLSUnderWay, sum.TLSWaiting = s.handshakes.sizes()
	workers := s.group.Workers()
	sum.Workers = Workers{Leading: workers.Leading, Standby: workers.Standby, Held: workers.Held, Max: s.limits.workers}
	sum.LogDropped = s.logDropped()
	sum.Group.Sent, sum.Group.Refused = s.groupSent.Load(), s.groupRefused.Load()
	for limit := range sum.Limits {
		sum.Limits[limit] = s.limitHits.counts[limit].Load()
	}
	return sum
}

func (n *loopCounters) addTo(sum *ServerStats) {
	sum.Open += n.open.Load()
	sum.Bridged += n.bridged.Load()
	sum.States.Handshake += n.states[stateProxy].Load() + n.states[stateSecure].Load() + n.states[stateHead].Load()
	sum.States.Open += n.states[stateOpen].Load()
	sum.States.Closing += n.states[stateClosing].Load()
	sum.States.Ending += n.states[stateEnding].Load() + n.states[stateFlushing].Load() + n.states[stateLingering].Load()
	sum.Accepted += n.accepted.Load()
	sum.AcceptErrors += n.acceptErrors.Load()
	sum.ProxyRefused += n.proxyRefused.Load()
	sum.HandedToHTTP += n.handedToHTTP.Load()
	sum.Returned += n.returned.Load()
	sum.TLSHandshakes += n.tlsDone.Load()
	sum.TLSFailed += n.tlsFailed.Load()
	sum.Upgraded += n.upgraded.Load()
	sum.MessagesIn += n.messagesIn.Load()
	sum.BytesIn += n.bytesIn.Load()
	sum.MessagesOut += n.messagesOut.Load()
	sum.BytesOut += n.bytesOut.Load()
	sum.Dropped += n.dropped.Load()
	sum.Group.DroppedNewest += n.groupNewest.Load()
	sum.Group.DroppedOldest += n.groupOldest.Load()
	sum.Group.Replaced += n.groupReplaced.Load()
	sum.Group.Expired += n.groupExpired.Load()
	sum.Paused += n.paused.Load()
	sum.Pauses += n.pauses.Load()
	n.events.addTo(&sum.EventStreams)
	n.inflated.addTo(&sum.Inflated)
	n.deflated.addTo(&sum.Deflated)
	sum.Pings += n.pings.Load()
	sum.Dead += n.dead.Load()
	sum.Panics += n.panics.Load()
}

// GroupStats are about messages to groups.
type GroupStats struct {
	Sent    uint64 // messages, however many members there were
	Refused uint64 // with ErrNoRoom

	// What members did not get because they read too slowly, counted for each member.
	DroppedNewest uint64 // there was no room: also among ServerStats.Dropped
	DroppedOldest uint64 // a newer one took their room
	Replaced      uint64 // a newer one with the same key took their place
	Expired       uint64 // their time was over
}

// LagBounds are the upper bounds of a Histogram's buckets but the last, which
// has none.
var LagBounds = loop.LagBounds

// Histogram are durations in buckets.
type Histogram struct {
	Counts [len(LagBounds) + 1]uint64 // up to each of LagBounds, and beyond
	Sum    time.Duration
}

// Count is the number of durations.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}
