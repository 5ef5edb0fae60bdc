package load

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/process"
	"github.com/millrace/millrace/poller"
)

// Content is what makes the payloads.
type Content = content

// NewContent makes a plan's.
func NewContent(p result.Plan) *Content {
	of := &plan{p}
	of.fillInText()
	return newContent(of)
}

// Texts are what payloads can be made of.
var Texts = texts

// Message is a connection's message of that number.
func (c *content) Message(connection, number uint32) []byte { return c.message(connection, number) }

// KeepSamples gives what a run keeps of samples.
func KeepSamples(samples []result.Sample) []result.Sample {
	s := sampler{each: 1}
	for _, one := range samples {
		s.keep(one)
	}
	return s.samples
}

// MaxSamples bounds them.
const MaxSamples = maxSamples

// SampleOf describes times, half of them as another process sends them.
func SampleOf(times ...time.Duration) (s result.Sample) {
	var here, there tally
	for i, d := range times {
		if i%2 == 0 {
			here.record(d)
		} else {
			there.record(d)
		}
	}
	here.addSparse(there.sparse())
	here.describe(&s)
	return s
}

// Sources are the addresses connected from.
type Sources = sources

// NewSources makes a plan's, for a server.
func NewSources(p result.Plan, server netip.Addr) *Sources { return newSources(&plan{p}, server) }

// Get is the address to connect from now, with its place.
func (s *sources) Get() (netip.Addr, int32) { return s.get() }

// UsedUp goes on from the address at that place.
func (s *sources) UsedUp(at int32) bool { return s.usedUp(at) }

// Machine is what a test's machine tells.
type Machine struct {
	Stolen func() time.Duration // so far
	// Usage is what a process has used so far; nil: what it really has.
	Usage func(*process.Process) (process.Usage, error)
}

// RunOn is Run on another network, whose loops wake to the nanosecond, and on another
// machine.
func RunOn(ctx context.Context, engine poller.Dialer, m Machine, p result.Plan, watch Watch) (*result.Result, error) {
	if m.Usage == nil {
		m.Usage = (*process.Process).Usage
	}
	return runOn(ctx, func(*plan) (host, error) {
		return host{engine: engine, stolen: func() (time.Duration, error) { return m.Stolen(), nil }, usage: m.Usage}, nil
	}, p, watch)
}

// SlicesOn is Slices on a machine that tells of processes what usage does.
func SlicesOn(ctx context.Context, usage func(*process.Process) (process.Usage, error), p result.Plan, in io.Reader, out io.Writer) error {
	return slicesOn(ctx, func(p *plan) (host, error) {
		h, err := thisHost(p)
		h.usage = usage
		return h, err
	}, p, in, out)
}

// EndedEarly is what a run says that was aborted, after its scenario returned err.
func EndedEarly(ctx context.Context, err error) string {
	r := newRun(&plan{result.Plan{Scenario: result.Echo}}, host{engine: nil}, nil, Watch{})
	aborted, abort := context.WithCancelCause(ctx)
	abort(&early{why: "the server ended"})
	r.conclude(ctx, ctx, aborted, err)
	return r.result.EndedEarly
}

// HeadSize is how long a published message's head is.
const HeadSize = markSize

// StreamEvent is an event that came. Last: it says why the server ends the stream.
type StreamEvent struct {
	Data string
	Last bool
}

// ReadEvents gives the events of a stream that comes in pieces. ended tells whether the
// last chunk has come, if it is chunked.
func ReadEvents(chunked bool, pieces [][]byte) (all []StreamEvent, ended bool, err error) {
	var k chunks
	var e events
	data := ""
	take := func(in []byte) {
		for len(in) > 0 {
			is, part, rest := e.next(in)
			if data += string(part); is == eventEnd || is == lastEnd {
				all, data = append(all, StreamEvent{data, is == lastEnd}), ""
			}
			in = rest
		}
	}
	for _, in := range pieces {
		for chunked && len(in) > 0 && k.place != chunksEnded {
			var part []byte
			if part, in, err = k.next(in); err != nil {
				return all, false, err
			}
			take(part)
		}
		if !chunked {
			take(in)
		}
	}
	return all, k.place == chunksEnded, nil
}

// AppendHead appends a head.
func AppendHead(dst []byte, publisher, number uint32, due time.Duration) []byte {
	return appendHead(dst, head{publisher, number, due})
}

// ParseHead reads one.
func ParseHead(b []byte, now time.Duration) (publisher, number uint32, due time.Duration, ok bool) {
	h, ok := parseHead(b, now)
	return h.publisher, h.number, h.due, ok
}
