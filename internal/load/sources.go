package load

import (
	"net/netip"
	"sync/atomic"
)

// loopbackSources is how many addresses of 127.0.0.0/8 are connected from, at
// most: about 28,000 connections each.
const loopbackSources = 250

// sources are the local addresses to connect from. An address serves until its
// ports are used up, then the next one. It is safe for use from all loops.
type sources struct {
	addresses []netip.Addr // the zero Addr is the system's choice
	current   atomic.Int32
}

func newSources(p *plan, server netip.Addr) *sources {
	s := &sources{addresses: p.Sources}
	if len(s.addresses) > 0 {
		return s
	}
	s.addresses = []netip.Addr{{}}
	if server.Is4() && server.IsLoopback() {
		for i := byte(2); i < loopbackSources; i++ {
			s.addresses = append(s.addresses, netip.AddrFrom4([4]byte{127, 0, 0, i}))
		}
	}
	return s
}

// get gives the address to connect from now, and its place in the order.
func (s *sources) get() (netip.Addr, int32) {
	at := s.current.Load()
	return s.addresses[int(at)%len(s.addresses)], at
}

// usedUp goes on to the next address after the one at that place, unless another
// loop did. Once each was used up it begins anew, since ports come free again;
// false says that this was the end of a round.
func (s *sources) usedUp(at int32) (more bool) {
	s.current.CompareAndSwap(at, at+1)
	return (int(at)+1)%len(s.addresses) != 0
}
