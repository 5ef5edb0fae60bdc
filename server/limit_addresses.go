package server

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
)

// addresses counts the connections of each client address. It is used with
// Limits.ConnsPerAddr only and keeps nothing of an address that has no connection.
type addresses struct {
	seed   maphash.Seed
	shards [64]addressShard
}

// addressShard is a part of them, so that the loops do not wait for each other.
type addressShard struct {
	mu    sync.Mutex
	conns map[addressKey]int32
}

// addressKey is an IPv4 address or the first 64 bits of an IPv6 address, of which
// whoever has one has all (RFC 6177).
type addressKey struct {
	bits uint64
	ipv4 bool
}

func keyOf(addr netip.Addr) addressKey {
	if addr = addr.Unmap(); addr.Is4() {
		four := addr.As4()
		return addressKey{uint64(binary.BigEndian.Uint32(four[:])), true}
	}
	sixteen := addr.As16()
	return addressKey{binary.BigEndian.Uint64(sixteen[:8]), false}
}

func (a *addresses) shard(key addressKey) *addressShard {
	return &a.shards[maphash.Comparable(a.seed, key)%uint64(len(a.shards))]
}

// enter counts a connection from addr, unless there are most already.
func (a *addresses) enter(addr netip.Addr, most int) bool {
	key := keyOf(addr)
	s := a.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.conns[key]
	if int(n) >= most {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[addressKey]int32)
	}
	s.conns[key] = n + 1
	return true
}

// leave takes a connection from addr off.
func (a *addresses) leave(addr netip.Addr) {
	key := keyOf(addr)
	s := a.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[key]--; s.conns[key] <= 0 {
		delete(s.conns, key)
	}
	if len(s.conns) == 0 {
		s.conns = nil // a map does not shrink by itself
	}
}
