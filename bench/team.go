package bench

import "time"

// A run may be shared among child processes, since one process may hold only so
// many descriptors. The parent runs the scenario like each of its children, but
// has no connections: it watches the server, decides, and puts the result
// together. Where the order of things matters all of them meet. A child says
// that it is there and what it has, and goes on when the parent says what all
// have together; so they decide alike.
//
// A child is told orders on its standard input and gives reports on its standard
// output, as JSON. It stops when its input ends.

// team is the other processes of a run.
type team interface {
	// meet waits until all processes are at a point of the run, and gives what
	// they have together. A process that has ended holds nobody up.
	meet(meeting) meeting
	// empty is called while this process has no connection open, in a phase that
	// needs some. It says whether the run is over, since no process has.
	empty() bool
}

// meeting is what a process has at a point of the run, or all have together.
type meeting struct {
	At      string        `json:"at"`
	Open    int           `json:"open"`              // connections
	Left    int           `json:"left,omitempty"`    // of what was waited for
	Loops   int           `json:"loops,omitempty"`   // that had a window, which ends here
	Windows time.Duration `json:"windows,omitempty"` // how long those were, in sum
	CPU     time.Duration `json:"cpu,omitempty"`     // that the load generator used in that time
	Step    *taken        `json:"step,omitempty"`    // that ends here
}

// taken is what is counted in a step.
type taken struct {
	Count   int64    `json:"count"`
	Bytes   int64    `json:"bytes"`
	Latency *Latency `json:"latency"`
	Service *Latency `json:"service"`
	Late    *Latency `json:"late"`
}

// add adds what another process has.
func (m *meeting) add(other meeting) {
	m.Open += other.Open
	m.Left += other.Left
	m.Loops += other.Loops
	m.Windows += other.Windows
	m.CPU += other.CPU
	if m.Step != nil && other.Step != nil {
		m.Step.Count += other.Step.Count
		m.Step.Bytes += other.Step.Bytes
		m.Step.Latency.Merge(other.Step.Latency)
		m.Step.Service.Merge(other.Step.Service)
		m.Step.Late.Merge(other.Step.Late)
	}
}

// order is what a child is told: one of these.
type order struct {
	Begin  *share   `json:"begin,omitempty"` // the first
	Met    *meeting `json:"met,omitempty"`   // all are where it said it is
	Sample bool     `json:"sample,omitempty"`
}

// report is what a child says: one of these.
type report struct {
	Met    *meeting `json:"met,omitempty"`
	Empty  bool     `json:"empty,omitempty"`  // no connection is open, until the next meeting
	Sample *moment  `json:"sample,omitempty"` // the answer to order.Sample
	End    *outcome `json:"end,omitempty"`    // the last
}

// moment is what was done since the last one.
type moment struct {
	Connections int      `json:"connections"` // open now
	Count       int64    `json:"count"`
	Latency     *Latency `json:"latency"`
}

// outcome is what a child did, besides the steps taken.
type outcome struct {
	Loops  []counted `json:"loops"`
	Memory int64     `json:"memory"` // resident bytes at the end of the measured window
}

// counted is a meter as it is sent.
type counted struct {
	Opened   int       `json:"opened"`
	Failed   int       `json:"failed"`
	Lost     int       `json:"lost"`
	Cut      int       `json:"cut"`
	Peak     int       `json:"peak"`
	Count    int64     `json:"count"`
	Bytes    int64     `json:"bytes"`
	Latency  *Latency  `json:"latency"`
	Service  *Latency  `json:"service"`
	Late     *Latency  `json:"late"`
	Connect  *Latency  `json:"connect"`
	Troubles []Trouble `json:"troubles"`
	Notes    []string  `json:"notes"`
}

func (m *meter) counted() counted {
	return counted{
		m.opened, m.failed, m.lost, m.cut, m.peak, m.count, m.bytes,
		m.latency, m.service, m.late, m.connect, m.troubles, m.notes,
	}
}

func (c *counted) meter() *meter {
	return &meter{
		opened: c.Opened, failed: c.Failed, lost: c.Lost, cut: c.Cut, peak: c.Peak, count: c.Count, bytes: c.Bytes,
		latency: c.Latency, service: c.Service, late: c.Late, connect: c.Connect, troubles: c.Troubles, notes: c.Notes,
	}
}

// meet is where all processes of a run meet; one alone has all there is.
func (r *run) meet(m meeting) meeting {
	if r.team == nil {
		return m
	}
	return r.team.meet(m)
}

// noneOpen tells whether no process has a connection open.
func (r *run) noneOpen() bool { return r.openNow() == 0 && (r.team == nil || r.team.empty()) }

// addOthers makes a step's figures those of all processes.
func (s *step) addOthers(r *run) {
	all := r.meet(meeting{
		At: "step " + s.Name, Step: &taken{Count: s.count, Bytes: s.bytes, Latency: s.Latency, Service: s.service, Late: s.late},
	}).Step
	s.count, s.bytes, s.Latency, s.service, s.late = all.Count, all.Bytes, all.Latency, all.Service, all.Late
}
