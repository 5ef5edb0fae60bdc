package load

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/ws"
)

// meter counts and measures what happens in one loop.
type meter struct {
	opened, failed, lost int
	cut                  int // slow connections that the server ended
	open, peak           int
	sent                 int64 // messages
	strange              int   // connections that got other messages than they sent
	life
	extras

	from, until time.Duration // the measured window
	count       int64
	bytes       int64
	latency     *result.Latency
	service     *result.Latency
	late        *result.Latency
	connect     *result.Latency

	waiting time.Duration // how long the oldest message had been under way when a window ended

	interval      tally // since the last sample
	intervalCount int64

	troubles []result.Trouble
	notes    []string
}

// extras is what only some scenarios or targets have to count.
type extras struct {
	Published int64 `json:"published,omitempty"` // messages that were due in the measured window
	Skipped   int64 `json:"skipped,omitempty"`   // messages that did not come to a connection before a later one
	Again     int64 `json:"again,omitempty"`     // or came twice, or late
	Own       bool  `json:"own,omitempty"`       // a publisher got a message of its own

	Handshakes int64 `json:"handshakes,omitempty"` // of TLS, in the measured window
	Secured    int64 `json:"secured,omitempty"`    // over the whole run
	Resumed    int64 `json:"resumed,omitempty"`    // of those

	Wire result.Wire `json:"wire"`
}

// add adds what another loop counted.
func (e *extras) add(other extras) {
	e.Published += other.Published
	e.Skipped += other.Skipped
	e.Again += other.Again
	e.Own = e.Own || other.Own
	e.Handshakes += other.Handshakes
	e.Secured += other.Secured
	e.Resumed += other.Resumed
	e.Wire.Add(other.Wire)
}

func newMeter() meter {
	return meter{
		from:    never,
		latency: result.NewLatency(), service: result.NewLatency(), late: result.NewLatency(),
		connect: result.NewLatency(),
	}
}

// done counts a unit that was done now, if that is in the measured window, and
// keeps how long it took if at, when it was due, is in it. So what an open loop
// has due in the window is measured in full, however late it comes, and a server
// that fell behind shows in the count too.
func (m *meter) done(now, at, took time.Duration, bytes int) {
	m.interval.record(took)
	m.untimed(now, bytes)
	if m.measures(at) {
		m.latency.Record(took)
	}
}

// untimed is done of a unit that has no time.
func (m *meter) untimed(now time.Duration, bytes int) {
	m.intervalCount++
	if m.measures(now) {
		m.count++
		m.bytes += int64(bytes)
	}
}

func (m *meter) measures(at time.Duration) bool { return m.from <= at && at < m.until }

// maxTroubles bounds the kinds of trouble that are told apart.
const maxTroubles = 50

// trouble counts something that went wrong, by its text.
func (m *meter) trouble(format string, args ...any) {
	m.add(result.Trouble{What: fmt.Sprintf(format, args...), Count: 1})
}

func (m *meter) add(t result.Trouble) {
	at := slices.IndexFunc(m.troubles, func(known result.Trouble) bool { return known.What == t.What })
	switch {
	case at >= 0:
		m.troubles[at].Count += t.Count
	case len(m.troubles) < maxTroubles:
		m.troubles = append(m.troubles, t)
	case len(m.troubles) == maxTroubles:
		m.troubles = append(m.troubles, result.Trouble{What: "other troubles", Count: t.Count})
	default:
		m.troubles[maxTroubles].Count += t.Count
	}
}

// note tells the reader something, once.
func (m *meter) note(text string) {
	if !slices.Contains(m.notes, text) {
		m.notes = append(m.notes, text)
	}
}

// addTo adds what this meter has to the result.
func (m *meter) addTo(r *result.Result) {
	r.Opened += m.opened
	r.Failed += m.failed
	r.Lost += m.lost
	r.Count += m.count
	r.Bytes += m.bytes
	r.Latency.Merge(m.latency)
	r.Connect.Merge(m.connect)
	r.Troubles = addTroubles(r.Troubles, m.troubles...)
	for _, n := range m.notes {
		addNote(r, n)
	}
}

// addTroubles adds counts of the same text up.
func addTroubles(to []result.Trouble, troubles ...result.Trouble) []result.Trouble {
	m := meter{troubles: to}
	for _, t := range troubles {
		m.add(t)
	}
	return m.troubles
}

// addNote keeps what a reader should know, once.
func addNote(r *result.Result, text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// cause is what an error of the system says, without what was called.
func cause(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// brief is what package ws says is wrong with the server, without ceremony.
func brief(err error) string {
	var wrong *ws.CloseError
	if errors.As(err, &wrong) {
		return wrong.Reason
	}
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "ws: "), "upgrade ")
}
