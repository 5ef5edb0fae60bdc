// Package addrcount counts what there is of each client address: an IPv4 address, or
// the first 64 bits of an IPv6 address, of which whoever has one has all (RFC 6177).
package addrcount

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
)

// Counts are what there is of each address. They keep nothing of one of which there is
// nothing. All methods may be called from any goroutine.
type Counts struct {
	seed   maphash.Seed
	shards [64]shard
}

// New is with nothing of any address.
func New() *Counts { return &Counts{seed: maphash.MakeSeed()} }

// shard is a part of them, so that who counts does not wait for others.
type shard struct {
	mu     sync.Mutex
	counts map[Key]int32
}

// Key is what counts as one address.
type Key struct {
	bits uint64
	ipv4 bool
}

// KeyOf is the key of an address.
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

// Enter counts one more of addr, unless there are most already.
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

// Leave takes one of addr off that Enter has counted.
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
