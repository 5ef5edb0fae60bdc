package load

import (
	"time"

	"github.com/millrace/millrace/bench/result"
)

// A run may be shared among child processes, since one process may hold only so
// many descriptors. The parent runs the scenario like each of its children, but
// has no connections: it watches the server, decides, and puts the result
// together. Where the order of things matters there is a barrier. A child reports
// that it has reached it, with its counts, and goes on when the parent sends the
// sums of all; so they decide alike.
//
// A child reads commands from its standard input and writes reports to its
// standard output, as JSON. It stops when its input ends.

// group is the other processes of a run.
type group interface {
	// await waits until all processes have reached a barrier, and gives the sums of
	// their counts. A process that has ended holds nobody up.
	await(barrier) barrier
	// noneOpen is called while this process has no connection open, in a phase that
	// needs some. It says whether the run is over, since no process has.
	noneOpen() bool
}

// barrier is a point of the run that all processes wait at for each other, with
// the counts of one of them, or the sums of all.
type barrier struct {
	At      string        `json:"at"`
	Open    int           `json:"open"`              // connections
	Opened  int           `json:"opened,omitempty"`  // so far
	Left    int           `json:"left,omitempty"`    // of what was waited for
	Sent    []uint32      `json:"sent,omitempty"`    // by each publisher
	Loops   int           `json:"loops,omitempty"`   // that had a window, which ends here
	Windows time.Duration `json:"windows,omitempty"` // how long those were, in sum
	CPU     time.Duration `json:"cpu,omitempty"`     // that the load generator used in that time
	Step    *taken        `json:"step,omitempty"`    // that ends here
	Stolen  time.Duration `json:"stolen,omitempty"`  // by the machine's host, as one of the processes knows
}

// taken is what is counted in a step.
type taken struct {
	Count   int64           `json:"count"`
	Bytes   int64           `json:"bytes"`
	Latency *result.Latency `json:"latency"`
	Service *result.Latency `json:"service"`
	Late    *result.Latency `json:"late"`
	Wire    result.Wire     `json:"wire"`
	Waiting time.Duration   `json:"waiting"`
}

// add adds what another process has.
func (b *barrier) add(other barrier) {
	b.Open += other.Open
	b.Opened += other.Opened
	b.Left += other.Left
	for i := range min(len(b.Sent), len(other.Sent)) {
		b.Sent[i] += other.Sent[i]
	}
	b.Loops += other.Loops
	b.Windows += other.Windows
	b.CPU += other.CPU
	b.Stolen += other.Stolen
	if b.Step != nil && other.Step != nil {
		b.Step.Count += other.Step.Count
		b.Step.Bytes += other.Step.Bytes
		b.Step.Latency.Merge(other.Step.Latency)
		b.Step.Service.Merge(other.Step.Service)
		b.Step.Late.Merge(other.Step.Late)
		b.Step.Wire.Add(other.Step.Wire)
		b.Step.Waiting = max(b.Step.Waiting, other.Step.Waiting)
	}
}

// command is what the parent sends to a child: one of these.
type command struct {
	Begin   *share   `json:"begin,omitempty"`   // the first
	Reached *barrier `json:"reached,omitempty"` // by all, with their sums
	Sample  bool     `json:"sample,omitempty"`  // asks for report.Sample
}

// report is what a child sends to its parent: one of these.
type report struct {
	Reached  *barrier `json:"reached,omitempty"`   // by this child, with its counts
	NoneOpen bool     `json:"none_open,omitempty"` // it has no connection, until the next barrier
	Sample   *moment  `json:"sample,omitempty"`    // the answer to command.Sample
	End      *outcome `json:"end,omitempty"`       // the last
}

// moment is what was done since the last one.
type moment struct {
	Connections int    `json:"connections"` // open now
	Count       int64  `json:"count"`
	Times       sparse `json:"times"`
	Seen        seen   `json:"seen"`               // since the run began
	Orphaned    int    `json:"orphaned,omitempty"` // publishers that are gone
	Settled     []byte `json:"settled,omitempty"`  // see publication.tellParent
}

// outcome is what a child did, besides the steps taken.
type outcome struct {
	Loops  []counted `json:"loops"`
	Memory int64     `json:"memory"` // resident bytes at the end of the measured window

	Settled       []byte  `json:"settled,omitempty"`        // see publication.tellParent
	GivenUp       int64   `json:"given_up,omitempty"`       // see publication.givenUp
	PublishWindow float64 `json:"publish_window,omitempty"` // seconds of publication.window
}

// counted is a meter as it is sent.
type counted struct {
	Opened   int              `json:"opened"`
	Failed   int              `json:"failed"`
	Lost     int              `json:"lost"`
	Cut      int              `json:"cut"`
	Waiting  time.Duration    `json:"waiting"`
	Peak     int              `json:"peak"`
	Count    int64            `json:"count"`
	Bytes    int64            `json:"bytes"`
	Latency  *result.Latency  `json:"latency"`
	Service  *result.Latency  `json:"service"`
	Late     *result.Latency  `json:"late"`
	Connect  *result.Latency  `json:"connect"`
	Troubles []result.Trouble `json:"troubles"`
	Notes    []string         `json:"notes"`
	Extras   extras           `json:"extras"`
}

func (m *meter) counted() counted {
	return counted{
		m.opened, m.failed, m.lost, m.cut, m.waiting, m.peak, m.count, m.bytes,
		m.latency, m.service, m.late, m.connect, m.troubles, m.notes, m.extras,
	}
}

func (c *counted) meter() *meter {
	return &meter{
		opened: c.Opened, failed: c.Failed, lost: c.Lost, cut: c.Cut, waiting: c.Waiting, peak: c.Peak, count: c.Count, bytes: c.Bytes,
		latency: c.Latency, service: c.Service, late: c.Late, connect: c.Connect, troubles: c.Troubles, notes: c.Notes, extras: c.Extras,
	}
}

// await waits for the other processes at a barrier, and gives the sums of all. A
// process that is the only one has them already.
func (r *run) await(b barrier) barrier {
	if r.group == nil {
		return b
	}
	return r.group.await(b)
}

// noneOpen tells whether no process has a connection open.
func (r *run) noneOpen() bool { return r.openNow() == 0 && (r.group == nil || r.group.noneOpen()) }

// addOthers makes a step's figures those of all processes.
func (s *step) addOthers(r *run) {
	all := r.await(barrier{
		At:   "step " + s.Name,
		Step: &taken{s.count, s.bytes, s.Latency, s.service, s.late, s.wire, s.waiting},
	}).Step
	s.count, s.bytes, s.Latency, s.service, s.late = all.Count, all.Bytes, all.Latency, all.Service, all.Late
	s.wire, s.waiting = all.Wire, all.Waiting
}
