package load

import (
	crand "crypto/rand"
	"net/netip"
	"slices"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// share is a child's part of the load: the Index-th of Plan.Processes.
type share struct {
	Plan  result.Plan `json:"plan"` // of all
	Index int         `json:"index"`
	// Address is the server's: all load the same.
	Address netip.AddrPort `json:"address"`
}

// checkProcesses says what is wrong with sharing a plan.
func (p *plan) checkProcesses() error {
	if p.Processes > 1 && p.Scenario == result.Broadcast && p.InFlight > 0 {
		return wrong("Processes", "%d, but a broadcast with a bound on the messages in flight takes one process", p.Processes)
	}
	return nil
}

// loopsOf is how many loops each of the processes has.
func (p *plan) loopsOf(processes int) int { return max(1, min(p.Loops, p.Connections)/processes) }

// shareOf is which connections a process has.
func (p *plan) shareOf(index int) (first, connections int) {
	loops := p.loopsOf(p.Processes)
	all := loops * p.Processes
	first = p.Connections * index * loops / all
	return first, p.Connections*(index+1)*loops/all - first
}

// startLoops starts the loops of one of the processes that share the load. All
// have equally many; connections and what else there is to share go by loops.
func (r *run) startLoops(index, processes int) error {
	p := r.plan
	r.content, r.sources = newContent(p), newSources(p, r.target.address.Addr())
	r.sources.beginWith(index, processes)
	loops := p.loopsOf(processes)
	all := loops * processes
	for i := index * loops; i < (index+1)*loops; i++ {
		var seed [32]byte
		_, _ = crand.Read(seed[:]) // never fails
		l, err := newLoop(r.shared, p.Connections*i/all, part(p.Connections, all, i), seed)
		if err != nil {
			return err
		}
		l.connects.handshakes = max(1, part(p.Handshakes, all, i))
		if p.ConnectRate > 0 {
			l.connects.gap = time.Duration(float64(time.Second) * float64(all) / p.ConnectRate)
		}
		r.loops = append(r.loops, l)
		r.ended.Go(l.run)
	}
	return nil
}

// part is the i-th of n nearly equal parts of whole.
func part(whole, n, i int) int { return whole*(i+1)/n - whole*i/n }

// beginWith has each process begin with another address, so that they do not all
// look for free ports at the same one.
func (s *sources) beginWith(index, processes int) {
	first := len(s.addresses) * index / processes
	s.addresses = slices.Concat(s.addresses[first:], s.addresses[:first])
}
