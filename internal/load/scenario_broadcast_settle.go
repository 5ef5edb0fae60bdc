package load

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// publication is what all loops of a process know of the messages published. With
// several processes each tells its parent of those that all of its own connections
// have, and the parent puts that together.
type publication struct {
	run        *run
	publishers int
	inFlight   int     // of a closed loop; 0: an open one
	gap        float64 // nanoseconds between two messages of an open loop
	over       atomic.Bool
	end        atomic.Int64 // when it was over, on the engine's clock

	// The measured window, on the clock of all processes: one for all loops, as a
	// message is of several.
	from, until atomic.Int64

	orphaned atomic.Int32 // publishers that are gone

	givenUp atomic.Int64 // messages that were no longer waited for, since too many others were

	mu         sync.Mutex
	receivers  map[*loop]int   // open connections
	pending    pending         // messages that some loops, or processes, have
	skew, last *result.Latency // of those due in the measured window
	told       []byte          // what the parent does not know yet
	published  int64           // messages in the windows of the result
	perSecond  float64         // and that in a second; NaN: there was no window
	tokens     tokens          // of a closed loop

	// These belong to the scenario.
	complete bool // all that was published has arrived, or was waited for
	clients  *int // the most that a ramp held; nil: none of its steps has ended
}

// settled is a message that all connections of a loop have. Times are on the clock
// of all processes.
type settled struct {
	publisher, number uint32
	due, first, last  time.Duration
	parts             int  // loops, or processes, that it is of
	lost              bool // not all have it
}

func newPublication(r *run) *publication {
	p := &publication{
		run: r, publishers: r.plan.Publishers, inFlight: r.plan.InFlight, gap: float64(time.Second) / r.plan.Rate,
		skew: result.NewLatency(), last: result.NewLatency(), perSecond: result.Unknown(),
	}
	p.begin()
	return p
}

// begin forgets what was under way.
func (p *publication) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receivers, p.pending, p.tokens = map[*loop]int{}, pending{}, tokens{turn: p.tokens.turn}
	if p.inFlight > 0 {
		p.tokens.of, p.tokens.gone = make([]int, p.publishers), make([]bool, p.publishers)
	}
	p.orphaned.Store(0)
	p.over.Store(false)
}

// beginWindow and endWindow are those of the measured window. They may be called on
// nil.
func (p *publication) beginWindow() {
	if p != nil {
		p.from.Store(int64(p.run.engine.Now() + p.run.zero))
		p.until.Store(int64(never))
	}
}

func (p *publication) endWindow() {
	if p != nil {
		p.until.Store(int64(p.run.engine.Now() + p.run.zero))
	}
}

// measures tells whether the window has a time on the clock of all processes.
func (p *publication) measures(at time.Duration) bool {
	return int64(at) >= p.from.Load() && int64(at) < p.until.Load()
}

// window is how long the last one was, in seconds. It may be called on nil.
func (p *publication) window() float64 {
	if p == nil {
		return 0
	}
	return time.Duration(p.until.Load() - p.from.Load()).Seconds()
}

// publishedIn adds messages that were due in a window of so many seconds, of one of
// the loops. It may be called on nil.
func (p *publication) publishedIn(messages int64, seconds float64) {
	if p != nil && seconds > 0 {
		if !result.Known(p.perSecond) {
			p.perSecond = 0
		}
		p.published += messages
		p.perSecond += float64(messages) / seconds
	}
}

// none tells whether no publisher of any process is left, but in a child, whose parent
// tells. It may be called on nil, as the next two.
func (p *publication) none() bool {
	child := p != nil && p.run.group != nil && len(p.run.loops) > 0
	return p != nil && !child && p.orphans() >= p.publishers
}

// orphans is how many publishers are gone.
func (p *publication) orphans() int {
	if p == nil {
		return 0
	}
	return int(p.orphaned.Load())
}

// hearOrphans says how many are, of all processes.
func (p *publication) hearOrphans(publishers int) {
	if p != nil {
		p.orphaned.Store(int32(publishers))
	}
}

// receive notes how many connections of a loop are left to receive.
func (p *publication) receive(l *loop, connections int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.receivers[l]
	p.receivers[l] = connections
	if known && before > 0 && connections <= 1 { // fewer loops may have to tell of a message
		for key, s := range p.pending.all() {
			p.finish(key, s)
		}
	}
}

// arrived: all connections of a loop, or of a process, have a message.
func (p *publication) arrived(s settled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := uint64(s.publisher)<<32 | uint64(s.number)
	known := p.pending.get(key)
	if known == nil {
		known = &s
		for _, old := range p.pending.put(key, known) {
			p.givenUp.Add(1)
			p.tokenBack(old.publisher)
		}
	} else {
		known.first, known.last = min(known.first, s.first), max(known.last, s.last)
		known.lost = known.lost || s.lost
		known.parts += s.parts
	}
	p.finish(key, known)
}

// finish is done with a message that all loops, or processes, have.
func (p *publication) finish(key uint64, s *settled) {
	if s.parts < p.parts(s.publisher) {
		return
	}
	p.pending.remove(key)
	switch {
	case len(p.run.loops) > 0 && p.run.group != nil: // the parent puts all together
		if len(p.told) >= maxTold {
			p.givenUp.Add(1)
			break
		}
		p.told = s.append(p.told)
	case p.measures(s.due) && !s.lost:
		p.skew.Record(s.last - s.first)
		p.last.Record(s.last - s.due)
	}
	p.tokenBack(s.publisher)
}

// parts is how many loops, or processes, have connections that get a publisher's
// messages.
func (p *publication) parts(publisher uint32) (n int) {
	count := func(first, connections, open int) {
		if at := int(publisher) - first; at >= 0 && at < connections {
			open--
		}
		if open > 0 {
			n++
		}
	}
	if len(p.run.loops) == 0 {
		for i := range p.run.plan.Processes {
			first, connections := p.run.plan.shareOf(i)
			count(first, connections, connections)
		}
		return n
	}
	for l, open := range p.receivers {
		count(int(l.conns[0].number), len(l.conns), open)
	}
	return n
}

// A message settled in a child is told to its parent in so many bytes.
const settledSize = 4 + 4 + 8 + 8 + 8 + 1

// maxTold bounds what a child keeps for its parent.
const maxTold = 1 << 20 * settledSize

func (s *settled) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, s.publisher)
	dst = binary.BigEndian.AppendUint32(dst, s.number)
	for _, at := range []time.Duration{s.due, s.first, s.last} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(at))
	}
	lost := byte(0)
	if s.lost {
		lost = 1
	}
	return append(dst, lost)
}

// tellParent gives what the parent does not know yet. It may be called on nil.
func (p *publication) tellParent() []byte {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.told
	p.told = nil
	return told
}

// hearLast takes what a child tells at its end. It may be called on nil.
func (p *publication) hearLast(o *outcome) {
	if p != nil {
		p.givenUp.Add(o.GivenUp)
		p.hear(o.Settled)
	}
}

// hear takes what a child tells. It may be called on nil.
func (p *publication) hear(told []byte) {
	for ; p != nil && len(told) >= settledSize; told = told[settledSize:] {
		at := func(i int) time.Duration { return time.Duration(binary.BigEndian.Uint64(told[8+8*i:])) }
		p.arrived(settled{
			publisher: binary.BigEndian.Uint32(told), number: binary.BigEndian.Uint32(told[4:]),
			due: at(0), first: at(1), last: at(2), parts: 1, lost: told[32] != 0,
		})
	}
}

// report adds to the result what was published.
func (p *publication) report(out *result.Result, counts extras) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Skew, out.Last = p.skew, p.last
	out.Publication = &result.Publication{
		Published: p.published, PerSecond: p.perSecond, Own: counts.Own,
		Doubled: counts.Again, Clients: p.clients,
	}
	if n := p.givenUp.Load(); n > 0 {
		p.run.note(fmt.Sprintf("last arrival and skew leave out up to %d messages, which were given up before all connections had them", n))
	}
	if f := &p.run.children; p.complete && len(f.outcomes()) == len(f.all) {
		out.Publication.Missing = new(counts.Skipped + p.run.missing)
	}
}
