// Package addrcount counts something, such as connections, for each client address.
//
//	counts := addrcount.New()
//	if counts.Enter(addr, 100) { // false: there are 100 of addr
//		defer counts.Leave(addr)
//		...
//	}
//
// An IPv6 address counts by its first 64 bits, since one client usually has all
// addresses below such a prefix (RFC 6177). An IPv4 address counts by itself, also when
// it is written as an IPv6 one.
package addrcount

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
)

// Counts holds a number for each address and no memory for addresses at zero. It is safe
// for concurrent use.
type Counts struct {
	seed   maphash.Seed
	shards [64]shard
}

// New returns counts of zero.
func New() *Counts { return &Counts{seed: maphash.MakeSeed()} }

// shard holds some of the addresses, so that goroutines rarely wait for each other.
type shard struct {
	mu     sync.Mutex
	counts map[Key]int32
}

// Key is an address, or a prefix, that is counted as one.
type Key struct {
	bits uint64
	ipv4 bool
}

// KeyOf returns the key that addr counts under.
func KeyOf(addr netip.Addr) Key {
	if addr = addr.Unmap(); addr.Is4() {
		four := addr.As4()
		return Key{uint64(binary.BigEndian.Uint32(four[:])), true}
	}
	sixteen := addr.As16()
	return Key{binary.BigEndian.Uint64(sixteen[:8]), false}
}

func (c *Counts) shard(key Key) *shard {
	return &c.shards[maphash.Comparable(c.seed, key)%uint64(len(c.shards))]
}

// Enter counts one more of addr and reports true, unless there are most already.
func (c *Counts) Enter(addr netip.Addr, most int) bool {
	key := KeyOf(addr)
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.counts[key]
	if int(n) >= most {
		return false
	}
	if s.counts == nil {
		s.counts = make(map[Key]int32)
	}
	s.counts[key] = n + 1
	return true
}

// Leave undoes one Enter of addr that reported true.
func (c *Counts) Leave(addr netip.Addr) {
	key := KeyOf(addr)
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[key]--; s.counts[key] <= 0 {
		delete(s.counts, key)
	}
	if len(s.counts) == 0 {
		s.counts = nil // a map does not shrink by itself
	}
}
