package load

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/millrace/millrace/bench/result"
)

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

// sharedBroadcast is a run that two processes share, without loops.
func sharedBroadcast() *run {
	p := &plan{result.Plan{Publishers: 1, Rate: 1, Connections: 4, Loops: 2, Processes: 2}}
	r := &run{shared: &shared{plan: p}, result: newResult(p)}
	r.publication = newPublication(r)
	r.publication.until.Store(int64(never))
	return r
}

// ToldAtTheEnd has so many children end while their parent asks for a sample, and gives
// how many messages the parent hears of, of one of each.
func ToldAtTheEnd(children int) (messages int) {
	r := sharedBroadcast()
	for range children {
		messages += r.toldAtTheEnd()
	}
	return messages
}

func (r *run) toldAtTheEnd() (messages int) {
	one := settled{due: 1, first: 2, last: 3}
	r.publication.told = one.append(nil)
	var said bytes.Buffer
	p := &parent{run: r, out: json.NewEncoder(&said)}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		p.receive(json.NewDecoder(strings.NewReader(`{"sample":true}`)))
	}()
	p.end()
	<-asked
	for in := json.NewDecoder(&said); ; {
		var got report
		switch err := in.Decode(&got); {
		case err != nil:
			return messages
		case got.End != nil && in.More(): // which nobody would hear
			return 0
		case got.End != nil:
			return messages + len(got.End.Settled)/settledSize
		case got.Sample != nil:
			messages += len(got.Sample.Settled) / settledSize
		}
	}
}

// HeardOfTheGone gives how many messages a parent hears of when both of its children are
// gone, after each has told of the same one: while it takes a sample, or later.
func HeardOfTheGone(sampling bool) (inSample, arrivals int64) {
	r := sharedBroadcast()
	r.children.publication = r.publication
	one := settled{due: 1, first: 2, last: 3}
	for range 2 {
		c := &child{commands: json.NewEncoder(io.Discard), moments: make(chan moment, 1), gone: make(chan struct{})}
		c.moments <- moment{Count: 1, Settled: one.append(nil)}
		close(c.gone)
		r.children.all = append(r.children.all, c)
	}
	var s result.Sample
	if sampling {
		r.children.gather(context.Background(), &s, &tally{}, &seen{})
	}
	r.awaitChildren(true)
	return s.Count, r.publication.last.Count()
}
