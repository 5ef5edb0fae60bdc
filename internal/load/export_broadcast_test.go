package load

import "github.com/millrace/millrace/bench/result"

// Bounds of what is known of a broadcast's messages.
const (
	MaxPending = maxPending
	MaxTracked = maxTracked
)

// Settling is what a process knows of the messages of one publisher, without a network.
type Settling struct{ run *run }

// NewSettling has the publisher's loop and another one, with so many connections each.
func NewSettling(connections int) *Settling {
	p := &plan{result.Plan{Publishers: 1, Rate: 1, Connections: 2 * connections, Loops: 2}}
	r := &run{shared: &shared{plan: p}, result: newResult(p)}
	r.publication = newPublication(r)
	r.publication.until.Store(int64(never))
	for first := range 2 {
		l := &loop{shared: r.shared, conns: make([]conn, connections), meter: newMeter(), behaviour: quiet{}}
		for i := range l.conns {
			l.conns[i].number, l.conns[i].state = uint32(first*connections+i), open
		}
		l.behaviour = newPublishing(l, r.publication, make([]uint32, 1))
		r.loops = append(r.loops, l)
	}
	return &Settling{r}
}

// Receive has a loop's connection receive the publisher's message of that number.
func (s *Settling) Receive(loop, slot int, number uint32) {
	l := s.run.loops[loop]
	c := &l.conns[slot]
	l.now += 1000
	c.in.of = head{0, number, 1}
	l.behaviour.received(l, c)
}

// Kept is how many messages some loops have and others not.
func (s *Settling) Kept() (n int) {
	for range s.run.publication.pending.all() {
		n++
	}
	return n
}

// Report is what the result says.
func (s *Settling) Report() *result.Result {
	s.run.publication.report(s.run.result, extras{})
	return s.run.result
}
